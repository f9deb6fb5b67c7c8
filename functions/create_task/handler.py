"""Accepts a task: checks it, gives it an identity, stores it once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import flask
import msgspec

from keruta.adapters.identity.verifier import Verifier
from keruta.adapters.tracing import Tracing
from keruta.domain.naming import new_id
from keruta.domain.submission import grant_missing, make_task
from keruta.domain.task import BODY_LIMIT_BYTES, TaskRequest
from keruta.edge import Asked, Refusals, json_answer, read_body
from keruta.errors import Forbidden, InvalidRequest
from keruta.ports import IdempotencyKey, Intake, Lookup
from keruta.settings import Settings

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, kw_only=True)
class Ports:
    """What this function needs from the world."""

    settings: Settings
    verifier: Verifier
    lookup: Lookup
    intake: Intake
    tracing: Tracing
    audit: Refusals
    check: Callable[[], None]


def create_task(ports: Ports, asked: Asked) -> flask.Response:
    """The task is in the queue: 201, or 200 when its Idempotency-Key has been here before."""
    assert asked.principal is not None
    began = datetime.now(UTC)
    key = _key(asked)
    request = read_body(asked.request, TaskRequest, BODY_LIMIT_BYTES)
    owner = asked.principal.subject
    found = ports.lookup.find(asked.principal.readers, request)
    task, faults = make_task(new_id(), request, owner, found, ports.settings.transports)
    if task is None:
        raise InvalidRequest.of(faults)
    if missing := grant_missing(found, asked.principal.names):
        raise Forbidden(missing, reason="GrantMissing")
    idempotency = None
    if key is not None:
        digest = hashlib.sha256(msgspec.json.encode(request, order="deterministic")).hexdigest()
        idempotency = IdempotencyKey(subject=owner, key=key, body_hash=digest)
    accepted = ports.intake.accept(task, idempotency)
    if not accepted.repeated:
        ports.tracing.submitted(accepted.task.id, began, datetime.now(UTC))
    location = f"{ports.settings.public_url}/api/v1/tasks/{accepted.task.id}"
    return json_answer(accepted.task, 200 if accepted.repeated else 201, {"Location": location})


def _key(asked: Asked) -> str | None:
    key = asked.request.headers.get("Idempotency-Key")
    if key is not None and not _KEY.fullmatch(key):
        raise InvalidRequest("An Idempotency-Key has 1 to 255 visible ASCII characters.", reason="InvalidHeader")
    return key
