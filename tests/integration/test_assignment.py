"""Assignment on the real database: by many at once, past full heads, by one assigner at a time."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from keruta.adapters.mongo.assignments import MongoAssignment
from keruta.adapters.mongo.client import connect
from keruta.domain.catalog.queues import QueueSpec
from keruta.domain.catalog.repositories import RepositorySpec
from keruta.domain.reports import Ended, Report, Running
from keruta.domain.scheduling import Choice
from keruta.ports import PlanOutdated, Sender
from keruta.services.reports import apply
from keruta.services.scheduler import assign
from keruta.services.task_commands import cancel
from tests.support.world import ANN, World


@pytest.mark.timeout(240)
def test_eight_dispatchers_and_eight_workers_on_500_tasks(world: World) -> None:
    """None is assigned twice, none is left, and one submitter's tasks go by priority and age."""
    ids = [world.submit(priority=number % 3) for number in range(500)]
    workers = [world.worker(f"w{number}", slots=4) for number in range(8)]
    order: list[str] = []
    done = threading.Event()
    lock = threading.Lock()
    failures: list[BaseException] = []

    def dispatch() -> None:
        database = connect(world.settings)
        store = MongoAssignment(database, world.settings)
        while not done.is_set():
            assign(store, world.outbox, world.nudges)
            done.wait(0.01)
        database.client.close()

    def work(name: str) -> None:
        try:
            sender = Sender(worker=name, session=world.sessions[name])
            while not done.is_set():
                mine = world.assigned(name)
                entries: list[Running | Ended] = []
                for one in mine:
                    entries.append(Running(task=one.task, attempt=one.attempt, execution=one.task))
                    entries.append(
                        Ended(task=one.task, attempt=one.attempt, execution=one.task, status="succeeded", exit_code=0)
                    )
                answer = apply(world.reports, sender, Report(entries=list(entries)))
                with lock:
                    assert all(outcome.accepted and not outcome.repeat for outcome in answer.outcomes)
                    order.extend(one.task for one in mine)
                    if len(order) >= len(ids):
                        done.set()
                assign(world.store, world.outbox, world.nudges, only=name)
        except BaseException as error:
            failures.append(error)
            done.set()

    threads = [threading.Thread(target=dispatch) for _ in range(8)]
    threads += [threading.Thread(target=work, args=(name,)) for name in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(200)

    assert not failures
    assert Counter(order) == Counter(ids)
    rows = list(world.database["tasks"].find({}, {"attempt.number": 1, "attempt.assigned_at": 1, "priority": 1}))
    assert {row["attempt"]["number"] for row in rows} == {1}
    by_time = sorted(rows, key=lambda row: row["attempt"]["assigned_at"])
    expected = sorted(rows, key=lambda row: (-row["priority"], row["_id"]))
    # Assigned in one transaction, tasks have one time; order is told between transactions.
    position = {row["_id"]: place for place, row in enumerate(expected)}
    times = [row["attempt"]["assigned_at"] for row in by_time]
    for place, row in enumerate(by_time):
        same = [p for p, at in enumerate(times) if at == row["attempt"]["assigned_at"]]
        assert same[0] <= position[row["_id"]] <= same[-1] or abs(position[row["_id"]] - place) <= 64


def test_a_full_head_starves_nobody(world: World) -> None:
    """5,000 tasks of a repository at its limit wait before one that could run: the one runs at once."""
    world.catalogs["repository"].create(
        ANN, RepositorySpec(name="full", url="https://example.com/full.git", max_running=1)
    )
    first = world.submit(url="https://example.com/full.git", priority=100)
    world.worker(slots=4)
    assert world.assign() == 1
    document = world.document(first)
    copies = []
    from keruta.domain.naming import new_id

    for _ in range(5000):
        copy = {**document, "_id": new_id(), "status": "queued", "claim": document["lane"], "attempt": None}
        for gone in ("holder", "lease_until"):
            copy.pop(gone)
        copies.append(copy)
    world.database["tasks"].insert_many(copies, ordered=False)
    free = world.submit(url="https://example.com/free.git", priority=-100)

    assert world.assign() == 1

    assert world.task(free).status == "assigned"
    waiting = world.task(copies[0]["_id"]).waiting
    assert waiting is not None
    assert waiting.message_code == "waiting_limit"
    assert "Its repository runs" in waiting.why


def test_shares_go_by_submitter(world: World) -> None:
    """A submitter of a hundred tasks does not delay the submitter of one."""
    for _ in range(100):
        world.submit(owner="many")
    one = world.submit(owner="few")
    world.worker(slots=2)

    world.assign()

    assert world.task(one).status == "assigned"


def test_an_assigner_that_was_frozen_writes_nothing(world: World) -> None:
    """Its epoch is over when another has taken over: the transaction fails whole."""
    task_id = world.submit()
    world.worker()
    frozen = world.store.take_assigner()
    assert frozen is not None
    assert world.store.take_assigner() is None
    world.database["control"].update_one({"_id": "assigner"}, [{"$set": {"until": {"$subtract": ["$$NOW", 1]}}}])
    other = world.store.take_assigner()
    assert other not in (None, frozen)

    with pytest.raises(PlanOutdated):
        world.store.write(frozen, [Choice(task=task_id, worker="w1")])

    assert world.task(task_id).status == "queued"
    assert world.store.write(other, [Choice(task=task_id, worker="w1")]).events


def test_a_plan_with_a_task_that_has_moved_is_written_not_at_all(world: World) -> None:
    gone, there = world.submit(), world.submit()
    world.worker()
    epoch = world.store.take_assigner()
    assert epoch is not None
    cancel(world.commands, ANN, gone)

    with pytest.raises(PlanOutdated):
        world.store.write(epoch, [Choice(task=there, worker="w1"), Choice(task=gone, worker="w1")])

    assert world.task(there).status == "queued"


def test_the_one_who_finds_another_at_work_is_seen(world: World) -> None:
    """Having let go, the assigner looks again whether someone wanted it meanwhile."""
    world.worker(slots=1)
    first = world.submit()

    class Busy(MongoAssignment):
        """Something is submitted, and another dispatcher comes, while this one writes."""

        def write(self, epoch: int, choices: Sequence[Choice], *, release: bool = False) -> Any:
            if not hasattr(self, "came"):
                self.came = world.submit(owner="other")
                world.worker("w2", slots=1)
                assert assign(world.store, world.outbox, world.nudges) == 0
            return super().write(epoch, choices, release=release)

    store = Busy(world.database, world.settings)
    assert assign(store, world.outbox, world.nudges) == 2
    assert {world.task(t).status for t in (first, store.came)} == {"assigned"}


def test_a_worker_that_was_not_seen_for_a_lease_is_given_nothing(world: World) -> None:
    world.submit()
    world.worker()
    world.database["workers"].update_one({"_id": "w1"}, [{"$set": {"seen_at": {"$subtract": ["$$NOW", 31_000]}}}])

    assert world.assign() == 0


def test_a_task_whose_end_is_not_known_holds_no_slot_and_none_is_said_of_it(world: World) -> None:
    """The explanation counts as the assignment does: a queue with one slot is free again, and says so."""
    world.catalogs["queue"].create(ANN, QueueSpec(name="one", max_running=1))
    lost, waits = world.submit(queue="one"), world.submit(queue="one")
    world.worker(slots=1)
    world.assign()
    world.start(lost)
    before = world.task(waits).waiting
    world.lease_runs_out(lost)
    world.tick()

    after = world.task(waits).waiting

    assert before is not None
    assert before.message_code == "waiting_limit"
    assert after is not None
    assert after.message_code == "waiting_for_assignment"
    assert world.assign() == 1
