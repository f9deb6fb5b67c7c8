"""Gives queued tasks to workers, and lets time do its work. Idempotent and re-entrant: events are hints."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import flask
import msgspec

from keruta.domain.events import TICKS
from keruta.http.function import AuthenticatedRequest
from keruta.ports import AssignmentStore, EventDecoder, Nudges, Outbox, PeopleVerifier, Verifying
from keruta.services.scheduler import assign
from keruta.settings import Settings

log = logging.getLogger(__name__)

EVENT_LIMIT_BYTES = 64 * 1024


class Expiry(Protocol):
    """What time does to tasks."""

    def tick(self, *, reports_arrive: bool) -> int: ...


class SweptOutbox(Outbox, Protocol):
    """An outbox that can also send what other processes left behind."""

    def send_left(self) -> int: ...


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """What this function needs from the world."""

    settings: Settings
    decode_event: EventDecoder
    verifier: PeopleVerifier
    deliveries: Verifying
    assignment: AssignmentStore
    expiry: Expiry
    outbox: SweptOutbox
    nudges: Nudges
    reports_arrive: Callable[[], bool]
    size_pool: Callable[[], None]
    check: Callable[[], None]


def dispatch(ports: Ports, asked: AuthenticatedRequest) -> flask.Response:
    """All that waits and fits is assigned; a tick lets leases expire, too, sends what was left, and sizes the pool.

    The answer is 204 whatever there was to do. 422 (not 404) for what is no event: Knative retries a 404.
    """
    event = ports.decode_event(dict(asked.request.headers), asked.request.get_data(as_text=False)[:EVENT_LIMIT_BYTES])
    if event.type in TICKS:
        ports.expiry.tick(reports_arrive=ports.reports_arrive())
    assign(ports.assignment, ports.outbox, ports.nudges)
    if event.type in TICKS:
        ports.outbox.send_left()
        ports.size_pool()
    return flask.Response(status=204)
