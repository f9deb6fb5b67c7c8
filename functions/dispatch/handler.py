"""Gives queued tasks to workers, and lets time do its work. Idempotent and re-entrant: events are hints."""

from __future__ import annotations

import logging
from collections.abc import Callable

import flask
import msgspec

from keruta.domain.events import TICKS
from keruta.http.function import AuthenticatedRequest
from keruta.ports import EventDecoder, PeopleVerifier, Verifying
from keruta.services.scheduler import assign
from keruta.services.ticks import TickPorts, tick
from keruta.settings import Settings

log = logging.getLogger(__name__)

EVENT_LIMIT_BYTES = 64 * 1024


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """The ports and settings that this function needs."""

    settings: Settings
    decode_event: EventDecoder
    verifier: PeopleVerifier
    deliveries: Verifying
    ticks: TickPorts
    check: Callable[[], None]


def dispatch(ports: Ports, asked: AuthenticatedRequest) -> flask.Response:
    """All that waits and fits is assigned; a tick lets leases expire, too, sends what was left, and sizes the pool.

    The answer is 204 whatever there was to do. 422 (not 404) for what is no event: Knative retries a 404.
    """
    event = ports.decode_event(dict(asked.request.headers), asked.request.get_data(as_text=False)[:EVENT_LIMIT_BYTES])
    if event.type in TICKS:
        tick(ports.ticks)
    else:
        assign(ports.ticks.assignment, ports.ticks.outbox, ports.ticks.nudges)
    return flask.Response(status=204)
