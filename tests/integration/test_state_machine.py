"""A state machine drives tasks, events, workers, crashes and time against the real mongod, and holds it to its word.

What the machine itself keeps is what a worker's disk would: which scripts were started, under which execution.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from keruta.adapters.mongo.client import connect
from keruta.domain.lifecycle import ENDED, LEASED
from keruta.domain.naming import new_id
from keruta.domain.reports import Ended, Held, Lost, Preparing, Running
from keruta.errors import Conflict, Unauthenticated
from keruta.services import task_commands
from keruta.settings import Settings
from tests.support.mongod import Mongod
from tests.support.world import ANN, World

WORKERS = ("w1", "w2")
SLOTS = 2


@dataclass
class Script:
    """An attempt on a worker's disk."""

    task: str
    attempt: int
    execution: str
    started: bool = False
    ended: str | None = None


@dataclass
class Disk:
    """A worker's attempts on disk, which survive the worker's process."""

    jobs: dict[tuple[str, int], Script] = field(default_factory=dict)
    registered: bool = False


class Truth(RuleBasedStateMachine):
    world: World

    def __init__(self) -> None:
        super().__init__()
        for name in ("tasks", "logs", "workers", "audit", "keys", "circuits"):
            self.world.database[name].delete_many({})
        self.world.database["control"].delete_one({"_id": "pulse"})
        self.world.database["control"].update_one({"_id": "assigner"}, {"$set": {"until": None}})
        self.disks = {name: Disk() for name in WORKERS}
        self.policies: dict[str, str] = {}
        self.starts: dict[str, list[str]] = defaultdict(list)
        self.successes: dict[str, int] = defaultdict(int)
        self.rerun_by_hand: dict[str, int] = defaultdict(int)
        self.world.at_work_for_long()

    @initialize(policies=st.lists(st.sampled_from(["never", "if_not_started", "always"]), min_size=2, max_size=4))
    def begin(self, policies: list[str]) -> None:
        """Every run begins with something to do and someone to do it."""
        for worker in WORKERS:
            self.register(worker)
        for policy in policies:
            self.submit(policy, 0)
        self.event(nudge_lost=False)

    # ------------------------------------------------------------ what happens

    @rule(policy=st.sampled_from(["never", "if_not_started", "always"]), priority=st.integers(-2, 2))
    def submit(self, policy: str, priority: int) -> None:
        retry = {"policy": policy, "max_attempts": 3}
        self.policies[self.world.submit(retry=retry, priority=priority)] = policy

    @rule(worker=st.sampled_from(WORKERS))
    def register(self, worker: str) -> None:
        self.world.worker(worker, slots=SLOTS)
        self.disks[worker].registered = True

    @rule(nudge_lost=st.booleans())
    def event(self, nudge_lost: bool) -> None:
        self.world.assign()
        if not nudge_lost:
            for worker in WORKERS:
                self._report(worker)

    @rule(worker=st.sampled_from(WORKERS), which=st.integers(0, 3), lose_answer=st.booleans())
    def work(self, worker: str, which: int, lose_answer: bool) -> None:
        """Make the next step of some attempt, the most common event."""
        script = self._pick(worker, which, lambda s: True)
        if script is None:
            self.event(nudge_lost=False)
        elif not script.started:
            self.start(worker, lose_answer, which)
        else:
            self.end(worker, lose_answer, which, "succeeded", "ScriptFailed")

    @rule()
    def tick(self) -> None:
        self.world.tick()
        self.world.assign()

    @rule(worker=st.sampled_from(WORKERS), lose_answer=st.booleans())
    def heartbeat(self, worker: str, lose_answer: bool) -> None:
        self._report(worker, lose_answer=lose_answer)

    @rule(worker=st.sampled_from(WORKERS), lose_answer=st.booleans(), which=st.integers(0, 3))
    def prepare(self, worker: str, lose_answer: bool, which: int) -> None:
        script = self._pick(worker, which, lambda s: not s.started and s.ended is None)
        if script:
            self._report(worker, Preparing(task=script.task, attempt=script.attempt), lose_answer=lose_answer)

    @rule(worker=st.sampled_from(WORKERS), lose_answer=st.booleans(), which=st.integers(0, 3))
    def start(self, worker: str, lose_answer: bool, which: int) -> None:
        script = self._pick(worker, which, lambda s: not s.started and s.ended is None)
        if script is None:
            return
        entry = Running(task=script.task, attempt=script.attempt, execution=script.execution)
        accepted = self._report(worker, entry, lose_answer=lose_answer)
        if accepted:
            script.started = True
            self.starts[script.task].append(script.execution)

    @rule(worker=st.sampled_from(WORKERS), which=st.integers(0, 3))
    def an_agent_that_forgot_starts_again(self, worker: str, which: int) -> None:
        """The same attempt, by another execution: what it is told decides whether it starts anything."""
        script = self._pick(worker, which, lambda s: s.ended is None)
        if script is None:
            return
        entry = Running(task=script.task, attempt=script.attempt, execution=new_id())
        held = [Held(task=s.task, attempt=s.attempt) for s in self.disks[worker].jobs.values()]
        try:
            outcome = self.world.report(worker, entry, held=held)[0]
        except Unauthenticated:
            return
        if outcome.accepted:
            script.execution, script.started = entry.execution, True
            self.starts[script.task].append(entry.execution)

    @rule(
        worker=st.sampled_from(WORKERS),
        lose_answer=st.booleans(),
        which=st.integers(0, 3),
        status=st.sampled_from(["succeeded", "failed"]),
        reason=st.sampled_from(["ScriptFailed", "CloneFailed", "Evicted"]),
    )
    def end(self, worker: str, lose_answer: bool, which: int, status: str, reason: str) -> None:
        script = self._pick(worker, which, lambda s: True)
        if script is None:
            return
        if not script.started and status == "succeeded":
            status = "failed"
        script.ended = script.ended or status
        entry = Ended(
            task=script.task,
            attempt=script.attempt,
            execution=script.execution if script.started else None,
            status=script.ended,  # type: ignore[arg-type]
            reason=None if script.ended == "succeeded" else reason,
        )
        before = self.world.document(script.task)["status"]
        accepted = self._report(worker, entry, lose_answer=lose_answer)
        if accepted and script.ended == "succeeded" and before != "succeeded":
            self.successes[script.task] += 1
        if accepted is not None:
            del self.disks[worker].jobs[script.task, script.attempt]

    @rule(worker=st.sampled_from(WORKERS))
    def machine_goes_down(self, worker: str) -> None:
        """Processes and scripts are gone; the disk stays, and the next worker tells what it finds there."""
        disk = self.disks[worker]
        self.register(worker)
        for script in list(disk.jobs.values()):
            if script.started and script.ended is None:
                self._report(worker, Lost(task=script.task, attempt=script.attempt, execution=script.execution))
            if script.ended is None:
                del disk.jobs[script.task, script.attempt]

    @rule(worker=st.sampled_from(WORKERS))
    def disk_is_lost(self, worker: str) -> None:
        self.disks[worker].jobs.clear()
        self.register(worker)

    @precondition(lambda self: self.policies)
    @rule(data=st.data())
    def lease_runs_out(self, data: Any) -> None:
        task_id = data.draw(st.sampled_from(sorted(self.policies)))
        if self.world.document(task_id)["status"] in LEASED:
            self.world.lease_runs_out(task_id)

    @precondition(lambda self: self.policies)
    @rule(data=st.data(), decision=st.sampled_from(["cancel", "retry", "accept", "input"]))
    def decide(self, data: Any, decision: str) -> None:
        task_id = data.draw(st.sampled_from(sorted(self.policies)))
        try:
            if decision == "input":
                task_commands.send_input(self.world.commands, ANN, task_id, "text")
            else:
                getattr(task_commands, decision)(self.world.commands, ANN, task_id)
        except Conflict:
            return
        if decision == "retry":
            self.rerun_by_hand[task_id] += 1

    @rule()
    def backoffs_are_over(self) -> None:
        self.world.database["tasks"].update_many({"not_before": {"$exists": True}}, [{"$set": {"not_before": "$$NOW"}}])
        self.world.database["circuits"].update_many({"open": True}, [{"$set": {"probe_at": "$$NOW"}}])

    @rule()
    def dead_assigner(self) -> None:
        """A process takes the assigner's lease and dies; the lease runs out."""
        self.world.store.take_assigner()
        self.world.database["control"].update_one({"_id": "assigner"}, [{"$set": {"until": "$$NOW"}}])

    # ------------------------------------------------------------ what always holds

    @invariant()
    def every_task_is_consistent_and_no_worker_has_more_than_its_slots(self) -> None:
        held: Counter[str] = Counter()
        for document in self.world.database["tasks"].find():
            status = document["status"]
            assert ("lease_until" in document) == (status in LEASED), document
            assert ("holder" in document) == (status in LEASED or status == "unknown"), document
            ways_on = [name for name in ("claim", "not_before", "blocked_by") if name in document]
            assert len(ways_on) == (1 if status == "queued" else 0), document
            numbers = [a["number"] for a in document["past_attempts"]]
            if document.get("attempt"):
                numbers.append(document["attempt"]["number"])
            assert numbers == list(range(1, document["attempt_count"] + 1)), document
            if status in LEASED:
                held[document["holder"]] += 1
        assert all(count <= SLOTS for count in held.values()), held

    @invariant()
    def no_script_starts_twice_unless_it_may(self) -> None:
        for task_id, policy in self.policies.items():
            executions = self.starts[task_id]
            assert len(executions) == len(set(executions))
            if policy != "always":
                assert len(executions) <= 1 + self.rerun_by_hand[task_id]

    @invariant()
    def nothing_succeeds_twice(self) -> None:
        assert all(count <= 1 for count in self.successes.values())

    def teardown(self) -> None:
        """Once faults stop, every task comes to an end (with a person deciding about what nobody can know)."""
        for worker in WORKERS:
            self.register(worker)
        for _ in range(40):
            open_ = list(self.world.database["tasks"].find({"status": {"$nin": sorted(ENDED)}}, {"status": 1}))
            if not open_:
                break
            self.backoffs_are_over()
            for row in open_:
                if row["status"] == "unknown":
                    task_commands.accept(self.world.commands, ANN, row["_id"])
            for worker in WORKERS:
                self._finish(worker)
            self.tick()
        left = list(self.world.database["tasks"].find({"status": {"$nin": sorted(ENDED)}}))
        assert not left, [(row["status"], row.get("reason"), row["attempt_count"], row.get("history")) for row in left]
        self.every_task_is_consistent_and_no_worker_has_more_than_its_slots()
        assert self.world.database["tasks"].count_documents({}) == len(self.policies)

    # ------------------------------------------------------------ a worker's side

    def _finish(self, worker: str) -> None:
        self.world.database["workers"].update_one(
            {"_id": worker}, [{"$set": {"seen_at": {"$subtract": ["$$NOW", 5000]}}}]
        )
        self._report(worker)
        for script in list(self.disks[worker].jobs.values()):
            if not script.started:
                entry = Running(task=script.task, attempt=script.attempt, execution=script.execution)
                if self._report(worker, entry):
                    script.started = True
                    self.starts[script.task].append(script.execution)
            if (script.task, script.attempt) in self.disks[worker].jobs:
                execution = script.execution if script.started else None
                status = script.ended or ("succeeded" if script.started else "failed")
                ended = Ended(task=script.task, attempt=script.attempt, execution=execution, status=status)  # type: ignore[arg-type]
                before = self.world.document(script.task)["status"]
                if self._report(worker, ended) and status == "succeeded" and before != "succeeded":
                    self.successes[script.task] += 1
                self.disks[worker].jobs.pop((script.task, script.attempt), None)

    def _report(self, worker: str, entry: Any = None, *, lose_answer: bool = False) -> bool | None:
        """Reports as a worker does. None when the answer was lost: what was recorded is then not known here."""
        disk = self.disks[worker]
        if worker not in self.world.sessions or not disk.registered:
            return None
        held = [
            Held(task=s.task, attempt=s.attempt, execution=s.execution if s.started else None)
            for s in disk.jobs.values()
        ]
        try:
            outcomes = self.world.report(worker, *([entry] if entry else []), held=held)
        except Unauthenticated:
            return None
        if lose_answer:
            return None
        assigned = {(one.task, one.attempt): one for one in self.world.assigned(worker, held)}
        for key in [(h.task, h.attempt) for h in held]:
            script = disk.jobs.get(key)
            if key not in assigned and script is not None and not (entry and (entry.task, entry.attempt) == key):
                del disk.jobs[key]
        for key, one in assigned.items():
            if key in disk.jobs:
                continue
            if one.status in ("assigned", "preparing"):
                disk.jobs[key] = Script(task=one.task, attempt=one.attempt, execution=new_id())
            else:
                self.world.report(worker, Lost(task=one.task, attempt=one.attempt, execution=one.execution), held=held)
        return outcomes[0].accepted if entry else True

    def _pick(self, worker: str, which: int, fits: Any) -> Script | None:
        scripts = [script for script in self.disks[worker].jobs.values() if fits(script)]
        return scripts[which % len(scripts)] if scripts else None


@pytest.fixture(scope="module")
def world(mongod: Mongod) -> Iterator[World]:
    settings_ = Settings(mongo_url=mongod.url, mongo_database=f"t{new_id()}")
    made = World(connect(settings_), settings_)
    yield made
    made.database.client.drop_database(made.database.name)
    made.database.client.close()


@pytest.mark.timeout(300)
def test_no_task_is_lost_doubled_or_left(world: World) -> None:
    """60 runs of up to 50 steps each, the same ones each time."""
    drive(world, runs=60, derandomize=True)


@pytest.mark.release
@pytest.mark.timeout(3600)
def test_no_task_is_lost_doubled_or_left_in_many_runs(world: World) -> None:
    """1,500 runs of up to 50 steps each, new ones each time."""
    drive(world, runs=1500, derandomize=False)


def drive(world: World, *, runs: int, derandomize: bool) -> None:
    Truth.world = world
    run_state_machine_as_test(
        Truth,
        settings=settings(
            max_examples=runs,
            stateful_step_count=50,
            deadline=None,
            database=None,
            derandomize=derandomize,
            suppress_health_check=list(HealthCheck),
        ),
    )
