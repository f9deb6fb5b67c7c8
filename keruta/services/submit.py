"""Taking in a task: looked up, checked, and stored once; the same for the API and for the web admin."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from datetime import UTC, datetime

import msgspec

from keruta.domain.continuation import continued
from keruta.domain.messages import message
from keruta.domain.naming import new_id
from keruta.domain.principal import Principal
from keruta.domain.submission import grant_missing, make_task
from keruta.domain.task import EarlierSession, Origin, TaskRequest, TaskView
from keruta.errors import Forbidden, InvalidRequest
from keruta.ports import Accepted, IdempotencyKey, Intake, Lookup, SubmitTrace
from keruta.settings import Settings


def continue_task(
    task: TaskView, prompt: str, principal: Principal, managers: Collection[str], *, lookup: Lookup, intake: Intake,
    tracing: SubmitTrace, settings: Settings,
) -> Accepted:  # fmt: skip
    """The next task of a conversation with a coding agent is in the queue.

    It resumes the session, if that is still stored, for who submitted the first task; others get what was said as text.

    Args:
        managers: the names of those who may decide about the task.

    Raises:
        Forbidden: the task is not theirs to decide about, or what it needs is not theirs to run on.
        Conflict: it has not ended, or was a script.
        InvalidRequest: what it needs is not there any more.
    """
    if set(managers).isdisjoint(principal.names):
        raise Forbidden(message("continue_not_yours"), reason="GrantMissing")
    request = continued(task, prompt)
    session = None
    if task.attempts and task.owner == principal.subject:
        session = EarlierSession(task=task.id, attempt=task.attempts[-1].number, prompt=prompt)
    return submit(request, principal, lookup=lookup, intake=intake, tracing=tracing, settings=settings, session=session)


def submit(
    request: TaskRequest, principal: Principal, *, lookup: Lookup, intake: Intake, tracing: SubmitTrace,
    settings: Settings, key: str | None = None, identity: str | None = None, origin: Origin | None = None,
    session: EarlierSession | None = None, secrets: Mapping[str, str] | None = None,
) -> Accepted:  # fmt: skip
    """The task is in the queue.

    Args:
        key: of one submit; the same again gives the task of the first.
        identity: the task's id, where it was chosen before; the same again gives that task.
        origin: what a trigger starts it for.
        session: what the task goes on with; of the same submitter.
        secrets: credentials' names by the script's variables; the submitter's right on each was checked.

    Raises:
        InvalidRequest: with every fault of what the request names; or the key was used for another request.
        Forbidden: the repository or the queue is not theirs to run on.
        Unavailable: the database is away.
    """
    began = datetime.now(UTC)
    found = lookup.find(principal.readers, request)
    task, faults = make_task(identity or new_id(), request, principal.subject, found, settings.transports)
    if task is None:
        raise InvalidRequest.of(faults)
    task = msgspec.structs.replace(task, session=session, secrets=dict(secrets or {}))
    if missing := grant_missing(found, principal.names):
        raise Forbidden(missing, reason="GrantMissing")
    task = msgspec.structs.replace(task, origin=origin)
    idempotency = None
    if key is not None:
        body = msgspec.json.encode(request, order="deterministic")
        if secrets:
            body += msgspec.json.encode(dict(secrets), order="deterministic")
        digest = hashlib.sha256(body).hexdigest()
        idempotency = IdempotencyKey(subject=principal.subject, key=key, body_hash=digest)
    accepted = intake.accept(task, idempotency)
    if not accepted.repeated:
        tracing.submitted(accepted.task.id, began, datetime.now(UTC))
    return accepted
