"""A tick: what time does to tasks, in memory."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import REGISTRY

from keruta.domain.lifecycle import Status
from keruta.ports import ClusterWorker
from keruta.services.ticks import expire, refuse_orphans, tick
from tests.support.memory_world import LEASE_SECONDS, MemoryWorld


@pytest.fixture
def world() -> MemoryWorld:
    return MemoryWorld()


def expired(world: MemoryWorld, **more: Any) -> int:
    return expire(world.changes, world.expiry, LEASE_SECONDS, **{"reports_arrive": True, **more})


def counted(status: str) -> float:
    return REGISTRY.get_sample_value("keruta_leases_expired_total", {"status": status}) or 0.0


def test_a_lease_that_runs_out_before_the_start_queues_the_next_attempt(world: MemoryWorld) -> None:
    """The change is announced and counted, and the attempt becomes an earlier one."""
    task = world.add(Status.ASSIGNED)
    before = counted("queued")
    world.clock.go_on(1)

    assert expired(world) == 1

    assert world.status(task) == "queued"
    assert [one["outcome"] for one in world.document(task)["past_attempts"]] == ["retried"]
    assert world.events() == ["queued"]
    assert counted("queued") == before + 1


def test_a_lease_that_has_time_left_is_left_alone(world: MemoryWorld) -> None:
    """And so is what has none."""
    world.add(Status.RUNNING)
    world.add(Status.UNKNOWN, "u")

    assert expired(world) == 0
    assert world.events() == []


def test_a_heartbeat_that_comes_meanwhile_wins(world: MemoryWorld) -> None:
    """A task that was read as expired is neither written nor counted."""
    task = world.add(Status.RUNNING)
    world.clock.go_on(1)
    world.tasks.before_write.append(lambda: world.add(Status.RUNNING))

    assert expired(world) == 0
    assert world.status(task) == "running"


def test_nothing_expires_while_keruta_was_away(world: MemoryWorld) -> None:
    """Backoffs end and attempts are handed over all the same."""
    task = world.add(Status.RUNNING)
    world.clock.go_on(1)
    world.expiry.at_work = False

    assert expired(world, reports_arrive=False) == 0
    assert world.status(task) == "running"
    assert world.expiry.calls == ["release_due", "release_from_lost_workers", "note_tick"]


def test_an_address_that_answers_is_as_good_as_a_report(world: MemoryWorld) -> None:
    """The report is noted before the tick is."""
    expired(world, reports_arrive=True)

    assert world.expiry.calls == ["note_report", "release_due", "release_from_lost_workers", "note_tick"]


def test_tasks_of_a_deleted_queue_are_refused_and_counted(world: MemoryWorld) -> None:
    """Those that wait there, and no others."""
    gone = world.add(Status.QUEUED, "g", draws_on=["queue:gone"], named=["queue:gone"])
    kept = world.add(Status.QUEUED, "k", draws_on=["queue:kept"], named=["queue:kept"])
    world.tasks.deleted.append(("queue", "gone"))

    assert refuse_orphans(world.changes) == 1

    assert (world.status(gone), world.status(kept)) == ("failed", "queued")
    assert world.document(gone)["reason"] == "ResourceDeleted"


def test_nothing_is_read_of_attempts_while_all_workers_are_alive(world: MemoryWorld) -> None:
    """A tick comes every few seconds."""
    world.expiry.cluster = [ClusterWorker(id="w1", alive=True, slots=2)]
    world.expiry.held_by = lambda workers: pytest.fail("attempts were read")  # type: ignore[method-assign]
    expired(world)


def test_the_attempts_of_a_worker_that_is_gone_go_to_those_that_are_there(world: MemoryWorld) -> None:
    """In a cluster, where Jobs go on without it; what others have stays theirs."""
    task = world.add(Status.RUNNING, worker="gone")
    other = world.add(Status.RUNNING, "o", worker="w3")
    world.expiry.cluster = [
        ClusterWorker(id="gone", slots=2, alive=False),
        ClusterWorker(id="w2", slots=2, alive=True),
    ]

    expired(world)

    assert world.document(task)["holder"] == "w2"
    assert world.document(task)["attempt"]["worker"] == "w2"
    assert world.document(other)["holder"] == "w3"
    assert world.expiry.forgotten == ["gone"]


@pytest.mark.parametrize("alive", [True, False])
def test_nothing_is_handed_over_where_all_are_there_or_none_is(world: MemoryWorld, alive: bool) -> None:
    """And nobody is forgotten."""
    task = world.add(Status.RUNNING)
    world.expiry.cluster = [ClusterWorker(id="w1", slots=2, alive=alive)]

    expired(world)

    assert world.document(task)["holder"] == "w1"
    assert world.expiry.forgotten == []


def test_a_worker_that_had_nothing_is_forgotten_in_silence(
    world: MemoryWorld, caplog: pytest.LogCaptureFixture
) -> None:
    """There is nothing to say of attempts."""
    world.expiry.cluster = [
        ClusterWorker(id="gone", slots=2, alive=False),
        ClusterWorker(id="w2", slots=2, alive=True),
    ]

    expired(world)

    assert world.expiry.forgotten == ["gone"]
    assert caplog.records == []


def test_a_tick_assigns_sends_what_was_left_and_sizes_the_pool(world: MemoryWorld) -> None:
    """In this order, so that the pool is sized by what is left to do."""
    task = world.add()
    seen: list[str] = []

    tick(world.ticks(size_pool=lambda: seen.append(world.status(task))))

    assert seen == ["assigned"]
    assert world.nudges.nudged == [("w1", [task])]
    assert world.outbox.sweeps == 1
    assert "note_report" in world.expiry.calls


def test_a_tick_without_an_address_that_answers_notes_no_report(world: MemoryWorld) -> None:
    """Nothing says that agents can report."""
    tick(world.ticks(reports_arrive=lambda: False))

    assert "note_report" not in world.expiry.calls


@pytest.mark.parametrize(("status", "becomes"), [(Status.ASSIGNED, "cancelled"), (Status.RUNNING, "unknown")])
def test_a_task_whose_cancellation_is_asked_for_expires_too(world: MemoryWorld, status: Status, becomes: str) -> None:
    """The task is not run again: before its start it is cancelled, after it its end is unknown."""
    task = world.add(status, cancel_requested_at=world.clock.now, retry={"policy": "always", "max_attempts": 3})
    world.clock.go_on(1)

    assert expired(world) == 1
    assert world.status(task) == becomes


def test_a_push_of_kept_work_is_tried_again_whatever_its_policy(world: MemoryWorld) -> None:
    """Its own pushes are known; a script under the same policy is not run again."""
    never = {"policy": "never", "max_attempts": 3}
    push, script = world.add(Status.RUNNING, "p", retry=never), world.add(Status.RUNNING, "s", retry=never)
    world.tasks.documents[push]["attempt"]["pushes"] = 1
    world.clock.go_on(1)

    expired(world)

    assert [world.status(task) for task in (push, script)] == ["queued", "unknown"]
