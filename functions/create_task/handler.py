"""Accepts a task: checks it, gives it an identity, stores it once."""

from __future__ import annotations

from collections.abc import Callable

import flask
import msgspec

from keruta.domain.task import BODY_LIMIT_BYTES, TaskRequest
from keruta.http.answers import json_answer
from keruta.http.function import AuthenticatedRequest
from keruta.http.requests import idempotency_key, read_body
from keruta.ports import Intake, Lookup, PeopleVerifier, Refusals, SubmitTrace
from keruta.services.submit import submit
from keruta.settings import Settings


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """The ports and settings that this function needs."""

    settings: Settings
    verifier: PeopleVerifier
    lookup: Lookup
    intake: Intake
    tracing: SubmitTrace
    audit: Refusals
    check: Callable[[], None]


def create_task(ports: Ports, asked: AuthenticatedRequest) -> flask.Response:
    """The task is in the queue: 201, or 200 when its Idempotency-Key has been here before."""
    key = idempotency_key(asked.request)
    request = read_body(asked.request, TaskRequest, BODY_LIMIT_BYTES)
    accepted = submit(
        request, asked.principal, lookup=ports.lookup, intake=ports.intake, tracing=ports.tracing,
        settings=ports.settings, key=key,
    )  # fmt: skip
    location = f"{ports.settings.public_url}/api/v1/tasks/{accepted.task.id}"
    return json_answer(accepted.task, 200 if accepted.repeated else 201, {"Location": location})
