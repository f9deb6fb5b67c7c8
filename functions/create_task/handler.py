"""Accepts a task: checks it, gives it an identity, stores it once."""

from __future__ import annotations

import re
from collections.abc import Callable

import flask
import msgspec

from keruta.domain.messages import message
from keruta.domain.task import BODY_LIMIT_BYTES, TaskRequest
from keruta.errors import InvalidRequest
from keruta.http.answers import json_answer
from keruta.http.function import AuthenticatedRequest
from keruta.http.requests import read_body
from keruta.ports import Intake, Lookup, PeopleVerifier, Refusals, SubmitTrace
from keruta.services.submit import submit
from keruta.settings import Settings

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


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
    key = _key(asked)
    request = read_body(asked.request, TaskRequest, BODY_LIMIT_BYTES)
    accepted = submit(
        request, asked.principal, lookup=ports.lookup, intake=ports.intake, tracing=ports.tracing,
        settings=ports.settings, key=key,
    )  # fmt: skip
    location = f"{ports.settings.public_url}/api/v1/tasks/{accepted.task.id}"
    return json_answer(accepted.task, 200 if accepted.repeated else 201, {"Location": location})


def _key(asked: AuthenticatedRequest) -> str | None:
    key = asked.request.headers.get("Idempotency-Key")
    if key is not None and not _KEY.fullmatch(key):
        raise InvalidRequest(message("http_idempotency_key"), reason="InvalidHeader")
    return key
