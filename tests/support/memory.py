"""Fakes of what the services need, in memory: the tasks, and beside them workers, logs, circuits and the audit record.

The tasks pass the contract tests of those on MongoDB (`tests.support.task_store_contract`): a task's document is the
same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import bson

from keruta.adapters.mongo.decisions import changed, standing
from keruta.domain.catalog.access import Access
from keruta.domain.decisions.assignment import on_assign
from keruta.domain.decisions.values import (
    NOW,
    UNCHECKED,
    Appended,
    Counted,
    Decision,
    Extended,
    Guard,
    Kept,
    Later,
    LogSummary,
    NextNumber,
    Standing,
)
from keruta.domain.lifecycle import HELD, LEASED, Status, target
from keruta.domain.messages import Message
from keruta.domain.naming import attempt_id, new_id
from keruta.domain.principal import Sender
from keruta.domain.reports import Assigned, Held, Input, LogChunk, Registration
from keruta.domain.scheduling import Candidate, Choice, Lane
from keruta.domain.specification import RepositoryRef, Specification
from keruta.ports import Assignments, Changed, ClusterWorker, Document, WorkerSlots
from keruta.testing import MemoryAssignment

LANE = {"queue": "default", "submitter": "ann", "repository": "https://example.com/a.git", "profile": "shell"}
MISSING = object()  # the value of a field that is not there, which sets nothing
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def task_document(task_id: str, status: Status = Status.QUEUED, **fields: Any) -> Document:
    """A task's document with what every task has."""
    return {
        "_id": task_id, "owner": "ann", "readers": ["user:ann", "role:viewer"], "managers": ["user:ann"],
        "status": status.value, "priority": 0, "lane": LANE, "named": ["queue:default"], "attempt_count": 0,
        "retry": {"policy": "if_not_started", "max_attempts": 3}, "past_attempts": [], "input": [], "history": [],
        "changed_at": START, "created_at": START, **fields,
    }  # fmt: skip


class Clock:
    """A time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = START + timedelta(hours=1)

    def go_on(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class MemoryTasks:
    """`keruta.ports.TaskStore` in memory, with a hook to make something happen between reading and writing."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.documents: dict[str, Document] = {}
        self.addresses: dict[str, str | None] = {}
        self.before_write: list[Callable[[], object]] = []
        self.deleted: list[tuple[str, str]] = []  # entries of the catalog that are not there any more
        self.access: dict[str, Access] = {}  # of entries, by kind:name
        self.reads = 0

    def add(self, document: Document) -> None:
        self.documents[document["_id"]] = document

    def standing(self, task_id: str, readers: Sequence[str] | None = None) -> Standing | None:
        self.reads += 1
        found = self.documents.get(task_id)
        if found is None or (readers is not None and set(found["readers"]).isdisjoint(readers)):
            return None
        return _standing(found)

    def write(self, task_id: str, decision: Decision, log: LogSummary | None = None) -> Changed | None:
        if self.before_write:
            self.before_write.pop(0)()
        document = self.documents.get(task_id)
        if document is None or not self._holds(document, decision.guard):
            return None
        if log is not None:
            document = _logged(document, log)
        event_id = new_id()
        document = self._written(document, decision, event_id)
        self.documents[task_id] = document
        inputs = {"inputs": len(document.get("input") or [])}
        return changed({**document, **inputs}, decision.change, event_id)

    def without_entries(self, task_id: str) -> Sequence[tuple[str, str]]:
        named = self.documents[task_id].get("named", ()) if task_id in self.documents else ()
        return [(kind, name) for kind, name in self.deleted if f"{kind}:{name}" in named]

    def grants(self, task_id: str) -> Sequence[tuple[str, str, Access | None]]:
        named = self.documents[task_id].get("named", ())
        found = ((*entry.partition(":")[::2], self.access.get(entry)) for entry in named)
        return [(kind, name, granted) for kind, name, granted in found if kind in ("repository", "queue")]

    def orphans(self) -> Sequence[tuple[str, str]]:
        queues = [name for kind, name in self.deleted if kind == "queue"]
        return [(task, name) for name in queues for task in self.queued_drawing_on(f"queue:{name}")]

    def queued_drawing_on(self, entry: str) -> Sequence[str]:
        rows = self.documents.values()
        return [one["_id"] for one in rows if entry in one.get("draws_on", ()) and one["status"] == Status.QUEUED]

    def worker(self, name: str) -> WorkerSlots | None:
        return WorkerSlots(id=name, address=self.addresses[name], free=0) if name in self.addresses else None

    # ------------------------------------------------------------ one write

    def _holds(self, document: Document, guard: Guard) -> bool:
        attempt = document.get("attempt") or {}
        until = document.get("lease_until")
        return (
            document["status"] in guard.statuses
            and (guard.attempt is UNCHECKED or attempt.get("number") == guard.attempt)
            and (guard.execution is UNCHECKED or attempt.get("execution") == guard.execution)
            and not (guard.not_cancelled and document.get("cancel_requested_at") is not None)
            and not (guard.lease_over and until is not None and until >= self.clock.now)
            and not (guard.answer_late and document.get("answer_until", self.clock.now) >= self.clock.now)
            and not (guard.managed_by is not None and set(document["readers"]).isdisjoint(guard.managed_by))
            and not (guard.managed_by is not None and set(document["managers"]).isdisjoint(guard.managed_by))
            and not (guard.fewer_inputs is not None and len(document["input"]) >= guard.fewer_inputs)
            and not (guard.draws_on is not None and guard.draws_on not in document.get("draws_on", ()))
            and not (guard.claimable and "claim" not in document)
        )

    def _written(self, before: Document, decision: Decision, event_id: str) -> Document:
        if decision.opens_attempt:
            before = {**before, "attempt": None, "attempt_count": before["attempt_count"] + 1}
        after = dict(before)
        for path, value in decision.fields.items():
            _set(after, path, self._value(before, value))
        values = {name: self._value(before, value) for name, value in decision.attempt.items()}
        attempt = {name: value for name, value in values.items() if value is not MISSING}
        if decision.opens_attempt:
            number = before["attempt_count"]
            after["attempt"] = {"number": number, "id": attempt_id(before["_id"], number), **attempt}
        elif decision.closes_attempt:
            if before.get("attempt"):
                log = {name: (before.get("log") or {}).get(name, 0) for name in ("bytes", "next_sequence")}
                closed = {**before["attempt"], **attempt, "log": log}
                after["past_attempts"] = [*before["past_attempts"], closed]
            after["attempt"] = None
        elif attempt:
            after["attempt"] = {**(before.get("attempt") or {}), **attempt}
        if decision.change is not None:
            to, now = target(decision.change).value, self.clock.now
            number = (before.get("attempt") or {}).get("number", before["attempt_count"])
            said = {"status": to, "at": now, "attempt": number}
            after |= {"status": to, "changed_at": now, "outbox_at": before.get("outbox_at", now)}
            after["history"] = [*before["history"], said]
            after["outbox"] = [*before.get("outbox", []), {"id": event_id, **said}]
        for name in decision.removed:
            after.pop(name, None)
        return after

    def _value(self, document: Document, value: Any) -> Any:
        match value:
            case _ if value is NOW:
                return self.clock.now
            case Later(seconds):
                return self.clock.now + timedelta(seconds=seconds)
            case Kept(field, None):
                return _get(document, field)
            case Kept(field, otherwise):
                found = _get(document, field)
                return self._value(document, otherwise) if found in (None, MISSING) else found
            case NextNumber(field):
                return len(document[field]) + 1
            case Counted(field):
                found = _get(document, field)
                return (0 if found in (None, MISSING) else found) + 1
            case Appended(field, entry):
                return [*document[field], {name: self._value(document, one) for name, one in entry.items()}]
            case Extended(field, more):
                there = _get(document, field)
                return [*([] if there in (None, MISSING) else there), *more]
        return value


def _standing(document: Document) -> Standing:
    counted = {"inputs": len(document.get("input") or []), "size_bytes": len(bson.encode(document))}
    return standing({**document, **counted, "history": []})


def _get(document: Document, path: str) -> Any:
    found: Any = document
    for name in path.split("."):
        found = found.get(name, MISSING) if isinstance(found, Mapping) else MISSING
    return found


def _set(document: Document, path: str, value: Any) -> None:
    first, _, rest = path.partition(".")
    if rest:
        inner = dict(document.get(first) or {})
        _set(inner, rest, value)
        document[first] = inner
    elif value is MISSING:
        document.pop(first, None)
    else:
        document[first] = value


def _logged(document: Document, log: LogSummary) -> Document:
    known = document.get("log") or {}
    if log.next_sequence <= known.get("next_sequence", 0):
        return document
    tail = [*known.get("tail", []), *([log.tail] if log.tail else [])]
    fresh = {"next_sequence": log.next_sequence, "bytes": log.size_bytes, "tail": tail}
    return {**document, "log": {**known, **fresh}}


class MemoryReports:
    """`keruta.ports.ReportStore` beside the tasks."""

    def __init__(self, tasks: MemoryTasks, lease_seconds: float) -> None:
        self.tasks = tasks
        self.lease_seconds = lease_seconds
        self.renews = True
        self.left: list[str | None] = []
        self.renewed: list[list[str]] = []
        self.unblocked: list[tuple[str, list[str]]] = []

    def register(self, worker: str, registration: Registration) -> str:
        self.tasks.addresses[worker] = registration.address
        return f"session of {worker}"

    def leave(self, sender: Sender) -> None:
        self.left.append(sender.worker)

    def receive(self, sender: Sender, task_ids: Collection[str]) -> tuple[bool, Mapping[str, Standing]]:
        rows = self.tasks.documents
        return self.renews, {name: _standing(rows[name]) for name in task_ids if name in rows}

    def renew(self, sender: Sender, attempts: Sequence[str]) -> None:
        self.renewed.append(list(attempts))
        for document in self.tasks.documents.values():
            if document["status"] in LEASED and document["attempt"]["id"] in attempts:
                document["lease_until"] = self.tasks.clock.now + timedelta(seconds=self.lease_seconds)

    def unblock(self, worker: str, held: Sequence[str]) -> None:
        self.unblocked.append((worker, list(held)))

    def over(self, attempts: Sequence[str]) -> list[str]:
        rows = self.tasks.documents.values()
        return [name for name in attempts if name not in {one["attempt"]["id"] for one in rows if _is_held(one)}]

    def assigned(self, sender: Sender, known: Iterable[Held]) -> list[Assigned]:
        there = {attempt_id(one.task, one.attempt): one.input_acknowledged for one in known}
        rows = [one for one in self.tasks.documents.values() if _is_held(one) and one.get("holder") == sender.worker]
        return [_assigned(one, there) for one in rows]

    def specification(self, task_id: str, attempt: int) -> Specification | None:
        found = self.tasks.documents.get(task_id)
        return _specification(found) if found and (found["attempt"] or {}).get("number") == attempt else None


def _is_held(document: Document) -> bool:
    return document["status"] in HELD and bool(document.get("attempt"))


def _assigned(document: Document, there: Mapping[str, int]) -> Assigned:
    attempt = document["attempt"]
    passed = there.get(attempt["id"], 0)
    return Assigned(
        task=document["_id"],
        attempt=attempt["number"],
        status=document["status"],
        execution=attempt.get("execution"),
        stop=document.get("cancel_requested_at") is not None,
        input=[Input(number=i["number"], text=i["text"]) for i in document["input"] if i["number"] > passed],
        specification=None if attempt["id"] in there else _specification(document),
    )


def _specification(document: Document) -> Specification:
    where = RepositoryRef(url=document["lane"]["repository"])
    return Specification(task=document["_id"], attempt=document["attempt"]["number"], repository=where, script="true")


class MemoryLogs:
    """`keruta.ports.LogStore` in memory."""

    def __init__(self) -> None:
        self.chunks: dict[tuple[str, int, int], LogChunk] = {}
        self.noted: list[tuple[str, int, LogSummary]] = []

    def store(self, chunks: Sequence[LogChunk]) -> Sequence[LogChunk]:
        repeated = self.known(chunks)
        self.chunks = {**{(one.task, one.attempt, one.sequence): one for one in chunks}, **self.chunks}
        return repeated

    def known(self, chunks: Sequence[LogChunk]) -> list[LogChunk]:
        return [one for one in chunks if (one.task, one.attempt, one.sequence) in self.chunks]

    def note(self, task_id: str, attempt: int, summary: LogSummary) -> None:
        self.noted.append((task_id, attempt, summary))


class MemoryCircuits:
    """`keruta.ports.Circuits`: remembers what it was told, and holds the reasons that it is given."""

    def __init__(self) -> None:
        self.failures: list[tuple[str, str, str]] = []
        self.successes: list[Mapping[str, str]] = []
        self.answers: list[str] = []
        self.held: set[str] = set()

    def failed(self, lane: Mapping[str, str], task_id: str, reason: str, message: Message) -> None:
        self.failures.append((task_id, reason, message.text))

    def succeeded(self, lanes: Iterable[Mapping[str, str]]) -> None:
        self.successes += lanes

    def answered(self, profiles: Iterable[str]) -> None:
        self.answers += profiles

    def holds(self, lane: Mapping[str, str], reason: str) -> bool:
        return reason in self.held


class MemoryExpiry:
    """`keruta.ports.ExpiryStore` beside the tasks."""

    def __init__(self, tasks: MemoryTasks) -> None:
        self.tasks = tasks
        self.at_work = True
        self.cluster: list[ClusterWorker] = []
        self.calls: list[str] = []
        self.forgotten: list[str] = []

    def note_report(self) -> None:
        self.calls.append("note_report")

    def note_tick(self) -> bool:
        self.calls.append("note_tick")
        return self.at_work

    def expired(self) -> Sequence[Standing]:
        now = self.tasks.clock.now
        rows = [one for one in self.tasks.documents.values() if one["status"] in LEASED and one["lease_until"] < now]
        return [_standing(one) for one in rows]

    def unanswered(self) -> Sequence[Standing]:
        now = self.tasks.clock.now
        return [_standing(one) for one in self.tasks.documents.values() if one.get("answer_until", now) < now]

    def release_due(self) -> None:
        self.calls.append("release_due")

    def release_from_lost_workers(self) -> None:
        self.calls.append("release_from_lost_workers")

    def cluster_workers(self) -> Sequence[ClusterWorker]:
        return self.cluster

    def held_by(self, workers: Sequence[str]) -> Sequence[str]:
        rows = self.tasks.documents.values()
        return [one["_id"] for one in rows if _is_held(one) and one.get("holder") in workers]

    def hand_over(self, task_id: str, workers: Sequence[str], heir: str) -> None:
        document = self.tasks.documents[task_id]
        if document["holder"] in workers:
            document |= {"holder": heir, "attempt": {**document["attempt"], "worker": heir}}

    def forget(self, workers: Sequence[str]) -> None:
        self.forgotten += workers


class TaskAssignment(MemoryAssignment):
    """The assignment of these tasks: what is written is a decision about each."""

    def __init__(self, tasks: MemoryTasks, slots: dict[str, int], lease_seconds: float) -> None:
        super().__init__(slots, {})
        self._tasks = tasks
        self._lease_seconds = lease_seconds

    def write(self, epoch: int, choices: Sequence[Choice], *, release: bool = False) -> Assignments:
        written = super().write(epoch, choices, release=release)
        events = []
        for choice in choices:
            made = self._tasks.write(choice.task, on_assign(choice.worker, self._lease_seconds))
            assert made is not None
            assert made.event is not None
            events.append((choice.task, made.event))
        return Assignments(events=events, wanted=written.wanted)

    def free_slots(self, worker: str | None) -> list[WorkerSlots]:
        used = [one.get("holder") for one in self._tasks.documents.values() if one["status"] in LEASED]
        free = {name: count - used.count(name) for name, count in self.slots.items() if worker in (None, name)}
        return [WorkerSlots(id=name, address=None, free=count) for name, count in free.items() if count > 0]

    def _waiting(self) -> dict[Lane, list[Candidate]]:
        found: dict[Lane, list[Candidate]] = {}
        for one in sorted(self._tasks.documents.values(), key=lambda one: (-one["priority"], one["_id"])):
            if "claim" in one:
                lane = Lane(**one["claim"])
                self._lane_of[one["_id"]] = lane
                found.setdefault(lane, []).append(Candidate(rank=-one["priority"], id=one["_id"]))
        return found


class RecordedAudit:
    """Remembers what was put on record."""

    def __init__(self) -> None:
        self.recorded: list[tuple[str, str, str, str, list[str]]] = []

    def record(self, who: str, action: str, kind: str, of: str, *, readers: Sequence[str]) -> None:
        self.recorded.append((who, action, kind, of, list(readers)))

    def refused(self, who: str, route: str, reason: str) -> None:
        self.recorded.append((who, "refused", route, reason, []))


class RecordedTracing:
    """Remembers which tasks' lives were traced."""

    def __init__(self) -> None:
        self.ended_ids: list[str] = []
        self.submitted_ids: list[str] = []

    def ended(self, task: Standing) -> None:
        self.ended_ids.append(task.id)

    def submitted(self, task_id: str, began: datetime, ended: datetime) -> None:
        self.submitted_ids.append(task_id)
