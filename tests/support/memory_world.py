"""keruta's services on stores in memory: what unit tests of use cases call."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from keruta.domain.lifecycle import ENDED, LEASED, NOT_STARTED, Status
from keruta.domain.principal import Principal, Sender
from keruta.domain.reports import AnyEntry, Held, Outcome, Report, ReportAnswer
from keruta.ports import Document
from keruta.services.changes import TaskPorts
from keruta.services.reports import ReportPorts, take_report
from keruta.services.task_commands import CommandPorts
from keruta.services.ticks import TickPorts
from keruta.testing import RecordedNudges, RecordedOutbox
from tests.support.memory import (
    LANE,
    Clock,
    MemoryCircuits,
    MemoryExpiry,
    MemoryLogs,
    MemoryReports,
    MemoryTasks,
    RecordedAudit,
    RecordedTracing,
    TaskAssignment,
    task_document,
)

ANN = Principal(subject="ann", name="Ann")
BOB = Principal(subject="bob", name="Bob", roles=frozenset({"viewer"}))
LEASE_SECONDS = 30.0
LOG_LIMIT_BYTES = 100


class SweptOutbox(RecordedOutbox):
    """Counts how often what others left was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sweeps = 0

    def send_left(self) -> int:
        self.sweeps += 1
        return 0


class MemoryWorld:
    """Every port of the services about tasks. Worker `w1` has two slots."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.tasks = MemoryTasks(self.clock)
        self.tasks.addresses["w1"] = "http://w1"
        self.outbox = SweptOutbox()
        self.tracing = RecordedTracing()
        self.nudges = RecordedNudges()
        self.audit = RecordedAudit()
        self.logs = MemoryLogs()
        self.circuits = MemoryCircuits()
        self.reports_store = MemoryReports(self.tasks, LEASE_SECONDS)
        self.expiry = MemoryExpiry(self.tasks)
        self.assignment = TaskAssignment(self.tasks, {"w1": 2}, LEASE_SECONDS)
        self.changes = TaskPorts(tasks=self.tasks, outbox=self.outbox, tracing=self.tracing)
        self.reports = ReportPorts(
            changes=self.changes, store=self.reports_store, logs=self.logs, circuits=self.circuits,
            assignment=self.assignment, nudges=self.nudges, lease_seconds=LEASE_SECONDS,
            log_limit_bytes=LOG_LIMIT_BYTES,
        )  # fmt: skip
        self.commands = CommandPorts(changes=self.changes, audit=self.audit, nudges=self.nudges)

    def ticks(self, **more: Any) -> TickPorts:
        fields: dict[str, Any] = {"reports_arrive": lambda: True, "size_pool": lambda: None}
        fields |= {
            "note_times": lambda: None,
            "process_deliveries": lambda: None,
            "sign_provenance": lambda: None,
            "settle_budgets": lambda: None,
            **more,
        }
        return TickPorts(
            changes=self.changes, expiry=self.expiry, assignment=self.assignment, outbox=self.outbox,
            nudges=self.nudges, lease_seconds=LEASE_SECONDS, **fields,
        )  # fmt: skip

    def add(self, status: Status = Status.QUEUED, letter: str = "t", worker: str = "w1", **more: Any) -> str:
        """A task in a status, with its first attempt where it has one. Returns its id."""
        task_id = "0" * 25 + letter
        fields: dict[str, Any] = {"claim": LANE, "draws_on": ["queue:default"]}
        if status is not Status.QUEUED:
            execution = None if status in NOT_STARTED else "x1"
            attempt = {"number": 1, "id": f"{task_id}-1", "worker": worker, "execution": execution}
            fields = {"attempt_count": 1, "attempt": attempt, "holder": worker, "draws_on": ["queue:default"]}
        if status in LEASED:
            fields["lease_until"] = self.clock.now
        if status in ENDED:
            del fields["holder"]
            fields["attempt"]["outcome"] = status.value
        self.tasks.add(task_document(task_id, status, **fields | more))
        return task_id

    def document(self, task_id: str) -> Document:
        return copy.deepcopy(self.tasks.documents[task_id])

    def status(self, task_id: str) -> str:
        return str(self.tasks.documents[task_id]["status"])

    def send(self, *entries: AnyEntry, held: Sequence[Held] = (), sender: Sender | None = None) -> ReportAnswer:
        sender = sender or Sender(worker="w1", session="s")
        return take_report(self.reports, sender, Report(entries=list(entries), held=list(held)))

    def report(self, *entries: AnyEntry, **more: Any) -> list[Outcome]:
        return self.send(*entries, **more).outcomes

    def events(self) -> list[str]:
        """The statuses that were told, in order."""
        return [str(event.data["status"]) for _, event in self.outbox.sent]
