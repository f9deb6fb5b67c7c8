"""The ports on a real database, and short ways to make tasks go through them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keruta.adapters.encryption import Sealer
from keruta.adapters.mongo.assignments import MongoAssignment
from keruta.adapters.mongo.audit import MongoAudit
from keruta.adapters.mongo.catalog_kinds import Catalogs
from keruta.adapters.mongo.catalog_lookup import MongoLookup
from keruta.adapters.mongo.circuits import MongoCircuits
from keruta.adapters.mongo.client import Database
from keruta.adapters.mongo.deliveries import MongoDeliveries
from keruta.adapters.mongo.expiry import MongoExpiry
from keruta.adapters.mongo.logs import MongoLogs
from keruta.adapters.mongo.reports import MongoReportStore
from keruta.adapters.mongo.seen_deliveries import MongoSeenDeliveries
from keruta.adapters.mongo.submissions import MongoIntake
from keruta.adapters.mongo.task_queries import MongoReading
from keruta.adapters.mongo.task_store import MongoTaskStore
from keruta.adapters.mongo.users import editors
from keruta.adapters.tracing import SILENT
from keruta.domain.naming import new_id
from keruta.domain.principal import Principal
from keruta.domain.reports import AnyEntry, Assigned, Ended, Held, Outcome, Registration, Report, Running
from keruta.domain.repository import DEFAULT_TRANSPORTS
from keruta.domain.submission import make_task
from keruta.domain.task import NewTask, RepositoryAsk, RetryPolicy, TaskRequest, TaskView
from keruta.ports import Sender
from keruta.services.changes import TaskPorts
from keruta.services.deliveries import DeliveryPorts
from keruta.services.reports import ReportPorts, apply
from keruta.services.scheduler import assign
from keruta.services.task_commands import CommandPorts
from keruta.services.ticks import expire
from keruta.settings import Settings
from keruta.testing import RecordedNudges, RecordedOutbox


def person(name: str, *roles: str) -> Principal:
    return Principal(subject=name, name=name, roles=frozenset(roles or ("admin", "developer")))


ANN, BOB = person("ann"), person("bob")
READERS = ANN.names


def closed(task: dict[str, Any]) -> dict[str, Any]:
    """A task's document to make copies of, without what would have keruta do something about each of them."""
    return {name: value for name, value in task.items() if name not in ("claim", "outbox", "outbox_at", "draws_on")}


class World:
    """keruta without HTTP: what the functions' handlers call, on one database."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings
        self.outbox = RecordedOutbox()
        self.nudges = RecordedNudges()
        self.lookup = MongoLookup(database)
        self.intake = MongoIntake(database, self.outbox)
        self.sealer = Sealer(settings.credentials_key)
        self.catalogs = Catalogs(
            database, self.sealer, keeps_values=True, editors=editors(database, settings),
            coding_agent_images=settings.images_of_coding_agents,
        )  # fmt: skip
        self.store = MongoAssignment(database, settings)
        self.expiry = MongoExpiry(database, settings)
        self.changes = TaskPorts(tasks=MongoTaskStore(database), outbox=self.outbox, tracing=SILENT)
        self.reports = ReportPorts(
            changes=self.changes, store=MongoReportStore(database, settings),
            logs=MongoLogs(database, settings.log_days), circuits=MongoCircuits(database), assignment=self.store,
            nudges=self.nudges, lease_seconds=settings.lease_seconds, log_limit_bytes=settings.log_limit_bytes,
        )  # fmt: skip
        self.commands = CommandPorts(changes=self.changes, audit=MongoAudit(database), nudges=self.nudges)
        self.reading = MongoReading(database, settings)
        self.deliveries = MongoDeliveries(database, self.sealer, editors(database, settings))
        self.seen_deliveries = MongoSeenDeliveries(database, self.deliveries)
        self.delivery_ports = DeliveryPorts(
            settings=settings, store=self.deliveries, lookup=self.lookup, intake=self.intake, tracing=SILENT,
            commands=self.commands,
        )  # fmt: skip
        self.sessions: dict[str, str] = {}

    def submit(self, *, owner: str = "ann", url: str = "https://example.com/a.git", **fields: Any) -> str:
        retry = RetryPolicy(**fields.pop("retry")) if "retry" in fields else None
        ask = fields.pop("repository", None) or RepositoryAsk(url=url)
        fields.setdefault("script", None if "prompt" in fields else "true")
        names = fields.pop("lookup_as", READERS)
        request = TaskRequest(repository=ask, retry=retry, **fields)
        return self.intake.accept(self.new_task(request, owner, names), None).task.id

    def new_task(self, request: TaskRequest, owner: str = "ann", names: Sequence[str] = READERS) -> NewTask:
        task, faults = make_task(new_id(), request, owner, self.lookup.find(names, request), DEFAULT_TRANSPORTS)
        assert task is not None, faults
        return task

    def worker(self, name: str = "w1", slots: int = 2) -> str:
        self.sessions[name] = self.reports.store.register(name, Registration(slots=slots, boot=new_id()))
        return name

    def assign(self) -> int:
        return assign(self.store, self.outbox, self.nudges)

    def task(self, task_id: str) -> TaskView:
        return self.reading.task(ANN, task_id)

    def document(self, task_id: str) -> dict[str, Any]:
        found = self.database["tasks"].find_one({"_id": task_id})
        assert found is not None
        return found

    def report(self, worker: str, *entries: AnyEntry, held: Sequence[Held] = ()) -> list[Outcome]:
        sender = Sender(worker=worker, session=self.sessions[worker])
        return apply(self.reports, sender, Report(entries=list(entries), held=list(held))).outcomes

    def assigned(self, worker: str, known: Sequence[Held] = ()) -> list[Assigned]:
        return self.reports.store.assigned(Sender(worker=worker), known)

    def start(self, task_id: str, worker: str = "w1", execution: str = "x1") -> Outcome:
        number = self.document(task_id)["attempt_count"]
        return self.report(worker, Running(task=task_id, attempt=number, execution=execution, commit="c" * 40))[0]

    def end(
        self, task_id: str, worker: str = "w1", execution: str | None = "x1", status: str = "succeeded", **more: Any
    ) -> Outcome:
        number = more.pop("attempt", self.document(task_id)["attempt_count"])
        entry = Ended(task=task_id, attempt=number, execution=execution, status=status, **more)  # type: ignore[arg-type]
        return self.report(worker, entry)[0]

    def lease_runs_out(self, task_id: str) -> None:
        """As if a lease's time had passed for this task, while keruta was at work all along."""
        past = {"$subtract": ["$$NOW", 1000]}
        self.database["tasks"].update_one({"_id": task_id}, [{"$set": {"lease_until": past}}])
        self.at_work_for_long()

    def at_work_for_long(self) -> None:
        long_ago = {"$subtract": ["$$NOW", int(self.settings.lease_seconds * 2000)]}
        beat = {"at": "$$NOW", "since": long_ago, "gaps": 0}
        pulse = {"ticks": beat, "reports": beat, "extended": 0}
        self.database["control"].update_one({"_id": "pulse"}, [{"$set": pulse}], upsert=True)

    def tick(self, *, reports_arrive: bool = True) -> int:
        return expire(self.changes, self.expiry, self.settings.lease_seconds, reports_arrive=reports_arrive)
