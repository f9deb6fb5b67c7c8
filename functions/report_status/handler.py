"""Requests of agents: registration, reports, specifications, files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, BinaryIO

import flask
import msgspec

from keruta.domain.catalog.caches import CacheEntries, CacheRecord
from keruta.domain.messages import message
from keruta.domain.naming import WORKER_ID, attempt_id
from keruta.domain.reports import (
    KEPT_WORK,
    REPORT_LIMIT_BYTES,
    Attempts,
    RawReport,
    Registration,
    ReportAnswer,
    Session,
)
from keruta.domain.specification import SnapshotKeys, Specification
from keruta.domain.uploads import read_part
from keruta.errors import Forbidden, InvalidRequest, NotFound
from keruta.http.answers import json_answer
from keruta.http.function import AgentRequest, AuthenticatedRequest
from keruta.http.requests import read_batch, read_body
from keruta.ports import AgentAccess, AgentSessions, DependencyFiles, FileStore, PeopleVerifier, SnapshotStore
from keruta.services import reports
from keruta.services.reports import ReportPorts
from keruta.settings import Settings

RENEW_WHEN_LEFT_SECONDS = 1800
_ENTRY = re.compile("[0-9a-f]{32}")


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """The ports and settings that this function needs."""

    settings: Settings
    verifier: PeopleVerifier
    sessions: AgentSessions
    access: AgentAccess
    reports: ReportPorts
    results: FileStore
    snapshots: SnapshotStore
    dependencies: DependencyFiles
    mint: Callable[[Specification], Specification]
    document_text: Callable[[str, int], str | None]
    check: Callable[[], None]


def register_worker(ports: Ports, asked: AuthenticatedRequest) -> flask.Response:
    """The worker may be given tasks, and has a session of an hour."""
    worker = asked.parameters["id"]
    if not WORKER_ID.fullmatch(worker):
        raise InvalidRequest(message("worker_name"))
    registration = read_body(asked.request, Registration, REPORT_LIMIT_BYTES)
    session = reports.register(ports.reports, worker, registration)
    return json_answer(_session(ports, worker, session))


def leave_worker(ports: Ports, asked: AgentRequest) -> flask.Response:
    """Release a worker's attempts at its own request; the next tick gives them to others."""
    reports.leave(ports.reports, asked.sender, asked.parameters["id"])
    return flask.Response(status=204)


def check_attempts(ports: Ports, asked: AgentRequest) -> flask.Response:
    """Answer which of the attempts are over."""
    ports.access.check_session(asked.sender)
    wanted = read_batch(asked.request, Attempts, REPORT_LIMIT_BYTES)
    return json_answer(Attempts(attempts=reports.over(ports.reports, asked.sender, wanted.attempts)))


def report(ports: Ports, asked: AgentRequest) -> flask.Response:
    """Each entry has its outcome; a worker with a free slot has, in the same answer, what was assigned to it."""
    batch, bad = read_batch(asked.request, RawReport, REPORT_LIMIT_BYTES).read()
    answer = reports.take_report(ports.reports, asked.sender, batch)
    outcomes = list(answer.outcomes)
    for place in sorted(bad):
        outcomes.insert(place, bad[place])
    session = None
    worker = asked.sender.worker
    if (
        worker is not None
        and not batch.entries
        and ports.sessions.seconds_left(asked.request.headers["Authorization"]) < RENEW_WHEN_LEFT_SECONDS
    ):
        session = _session(ports, worker, asked.sender.session or "")
    return json_answer(ReportAnswer(outcomes=outcomes, assigned=answer.assigned, session=session))


def specification(ports: Ports, asked: AgentRequest) -> flask.Response:
    """All that the attempt needs, with a token that speaks for this attempt alone."""
    task, number = _attempt(ports, asked)
    found = reports.specification(ports.reports, asked.sender, task, number)
    if asked.request.args.get("minted") != "false":
        found = ports.mint(found)
    token = ports.sessions.for_attempt(
        attempt_id(task, number), timeout_seconds=found.timeout_seconds, lease_seconds=ports.settings.lease_seconds
    )
    keys = None
    if asked.request.args.get("minted") != "false":
        keys = SnapshotKeys(
            own=ports.sessions.snapshot_key(attempt_id(task, number)),
            resumed=ports.sessions.snapshot_key(resumed) if (resumed := found.resumed_attempt) is not None else None,
        )
    return json_answer(msgspec.structs.replace(found, token=token, snapshot_keys=keys))


def put_snapshot(ports: Ports, asked: AgentRequest) -> flask.Response:
    """The session of the attempt's coding agent is stored, sealed, whole or not at all."""
    task, number = _attempt(ports, asked)
    length = asked.request.content_length
    if length is None:
        problem = InvalidRequest(message("file_length_required"), reason="LengthRequired")
        problem.status = 411
        raise problem
    ports.snapshots.store(attempt_id(task, number), asked.request.stream, length)
    return flask.Response(status=204)


def get_snapshot(ports: Ports, asked: AgentRequest) -> flask.Response:
    """The session that the attempt resumes; of another attempt there is none."""
    task, number = _attempt(ports, asked)
    resumed = reports.specification(ports.reports, asked.sender, task, number).resumed_attempt
    content = ports.snapshots.read(resumed) if resumed is not None else None
    if content is None:
        raise NotFound(message("session_missing"), reason="SessionMissing")
    return flask.Response(content, content_type="application/octet-stream")


def attempt_document(ports: Ports, asked: AgentRequest) -> flask.Response:
    """A document that the attempt has, at its version."""
    task, number = _attempt(ports, asked)
    wanted = reports.specification(ports.reports, asked.sender, task, number).documents
    version = next((one.version for one in wanted if one.name == asked.parameters["name"]), None)
    text = ports.document_text(asked.parameters["name"], version) if version is not None else None
    if text is None:
        raise NotFound(message("attempt_no_document"))
    return flask.Response(text, content_type="text/plain; charset=utf-8")


def put_artifact(ports: Ports, asked: AgentRequest) -> flask.Response:
    """The file is stored, whole or not at all; or a part of it, until its last part makes it whole."""
    task, number = _attempt(ports, asked)
    request, length = asked.request, asked.request.content_length
    part = read_part(request.headers.get("Content-Range"), request.headers.get("Repr-Digest"), length or 0)
    ports.results.store(attempt_id(task, number), asked.parameters["path"], request.stream, length, part)
    return flask.Response(status=204)


def delete_artifacts(ports: Ports, asked: AgentRequest) -> flask.Response:
    """Forget what an interrupted try to store the attempt's files has left."""
    task, number = _attempt(ports, asked)
    ports.results.forget(attempt_id(task, number))
    return flask.Response(status=204)


def cache_entries(ports: Ports, asked: AgentRequest) -> flask.Response:
    """The entries of the attempt's repository that are alike."""
    scope, _ = _cache(ports, asked)
    return json_answer(CacheEntries(entries=ports.dependencies.records(scope, _hex(asked, "space"))))


def cache_archive(ports: Ports, asked: AgentRequest) -> flask.Response:
    """The archive of one of these entries, which the agent verifies."""
    scope, _ = _cache(ports, asked)
    return _sent(ports.dependencies.open(scope, _hex(asked, "space"), _hex(asked, "name")))


def keep_cache(ports: Ports, asked: AgentRequest) -> flask.Response:
    """Make an entry of an archive that the attempt has uploaded, where its event may leave any."""
    scope, writes = _cache(ports, asked)
    record = read_body(asked.request, CacheRecord, REPORT_LIMIT_BYTES)
    if not writes:
        raise Forbidden(message("cache_read_only"), reason="CacheReadOnly")
    task, number = _attempt(ports, asked)
    ports.dependencies.keep(scope, _hex(asked, "space"), attempt_id(task, number), record)
    return flask.Response(status=204)


def _cache(ports: Ports, asked: AgentRequest) -> tuple[str, bool]:
    """Return the scope of the attempt's entries, and whether it may leave any. Raises NotFound without a cache."""
    task, number = _attempt(ports, asked)
    caches = reports.specification(ports.reports, asked.sender, task, number).caches
    if not caches.scope:
        raise NotFound(message("file_missing"))
    return caches.scope, caches.writes


def _hex(asked: AgentRequest, name: str) -> str:
    value = asked.parameters[name]
    if not _ENTRY.fullmatch(value):
        raise NotFound(message("file_missing"))
    return value


def kept_work(ports: Ports, asked: AgentRequest) -> flask.Response:
    """The bundle of the earlier attempt whose work this attempt pushes."""
    task, number = _attempt(ports, asked)
    kept = reports.specification(ports.reports, asked.sender, task, number).kept_work
    if kept is None:
        raise NotFound(message("file_missing"))
    return _sent(ports.results.open(attempt_id(task, kept.attempt), KEPT_WORK))


def _sent(file: BinaryIO) -> flask.Response:
    """Answer with a file, which is closed at the end."""
    answer = flask.Response(iter(lambda: file.read(1 << 20), b""), content_type="application/octet-stream")
    answer.content_length = os.fstat(file.fileno()).st_size
    answer.call_on_close(file.close)
    return answer


def _attempt(ports: Ports, asked: AgentRequest) -> tuple[str, int]:
    """The attempt that is asked for, if the sender may ask for it now. Raises NotFound, Forbidden, Unauthenticated."""
    number = asked.parameters["n"]
    if not number.isascii() or not number.isdigit() or len(number) > 7:
        raise NotFound(message("attempt_missing"))
    task = asked.parameters["id"]
    ports.access.check_attempt(asked.sender, task, int(number))
    return task, int(number)


def _session(ports: Ports, worker: str, session: str) -> Session:
    token, expires_at = ports.sessions.for_worker(worker, session)
    settings = ports.settings
    return Session(
        token=token, expires_at=expires_at, heartbeat_seconds=settings.heartbeat, lease_seconds=settings.lease_seconds
    )


HANDLERS: dict[str, Callable[[Ports, Any], flask.Response]] = {
    "register_worker": register_worker,
    "leave_worker": leave_worker,
    "check_attempts": check_attempts,
    "report": report,
    "specification": specification,
    "attempt_document": attempt_document,
    "put_snapshot": put_snapshot,
    "get_snapshot": get_snapshot,
    "put_artifact": put_artifact,
    "delete_artifacts": delete_artifacts,
    "kept_work": kept_work,
    "cache_entries": cache_entries,
    "cache_archive": cache_archive,
    "keep_cache": keep_cache,
}
