"""Taking reports, on stores in memory: chunks before state, one outcome per entry, leases of what is held."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY

from keruta.domain.decisions.reports import LOG_SLACK_BYTES
from keruta.domain.lifecycle import Status
from keruta.domain.messages import fields_of, message
from keruta.domain.principal import Sender
from keruta.domain.reports import (
    Ended,
    Held,
    Left,
    LogChunk,
    Lost,
    Outcome,
    Preparing,
    Pushing,
    Registration,
    Running,
    Waiting,
)
from keruta.errors import Forbidden, NotFound
from keruta.services import reports
from keruta.services.reports import BROKEN, LATE
from tests.support.memory import LANE
from tests.support.memory_world import LEASE_SECONDS, LOG_LIMIT_BYTES, MemoryWorld

WORKER = Sender(worker="w1", session="s")
OK, AGAIN = Outcome(accepted=True), Outcome(accepted=True, repeat=True)


@pytest.fixture
def world() -> MemoryWorld:
    return MemoryWorld()


def own(task: str) -> Sender:
    return Sender(attempt=f"{task}-1")


def chunk(world: MemoryWorld, task: str, sequence: int = 0, data: bytes = b"line\n", **more: Any) -> LogChunk:
    fields = {"attempt": 1, "offset_bytes": 5 * sequence, "at": world.clock.now, **more}
    return LogChunk(task=task, sequence=sequence, data=data, **fields)


def ended(task: str, status: Any = "succeeded", **more: Any) -> Ended:
    return Ended(**{"task": task, "attempt": 1, "execution": "x1", "status": status, **more})


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


# ---------------------------------------------------------------- workers


def test_a_worker_that_registers_gets_what_waits(world: MemoryWorld) -> None:
    """No nudge is sent: the worker gets its answer now."""
    task = world.add()

    assert reports.register(world.reports, "w1", Registration(slots=2)) == "session of w1"

    assert world.status(task) == "assigned"
    assert world.nudges.nudged == []


def test_a_worker_without_slots_gets_nothing(world: MemoryWorld) -> None:
    """The worker is registered, and nothing more."""
    task = world.add()

    reports.register(world.reports, "w1", Registration(slots=0))

    assert world.status(task) == "queued"


def test_a_worker_leaves_for_itself_only(world: MemoryWorld) -> None:
    """Another's session is refused."""
    with pytest.raises(Forbidden) as raised:
        reports.leave(world.reports, WORKER, "w2")
    assert raised.value.message.code == "worker_other_session"
    assert world.reports_store.left == []

    reports.leave(world.reports, WORKER, "w1")
    assert world.reports_store.left == ["w1"]


def test_only_workers_ask_which_attempts_are_over(world: MemoryWorld) -> None:
    """An attempt knows of itself alone."""
    task = world.add(Status.RUNNING)

    assert reports.over(world.reports, WORKER, [f"{task}-1", f"{task}-2"]) == [f"{task}-2"]
    with pytest.raises(Forbidden) as raised:
        reports.over(world.reports, own(task), [f"{task}-1"])
    assert raised.value.message.code == "worker_only"


# ---------------------------------------------------------------- specifications


def test_a_specification_is_its_workers_and_its_own_attempts(world: MemoryWorld) -> None:
    """Others, and other attempts of the same task, are refused."""
    task = world.add(Status.ASSIGNED)

    for sender in (WORKER, own(task)):
        assert reports.specification(world.reports, sender, task, 1).task == task
    for sender in (Sender(worker="w2"), Sender(attempt=f"{task}-2")):
        with pytest.raises(Forbidden):
            reports.specification(world.reports, sender, task, 1)


@pytest.mark.parametrize("number", [0, 2])
def test_there_is_no_specification_but_of_the_current_attempt(world: MemoryWorld, number: int) -> None:
    """Nor of a task that is not there, or that has no attempt."""
    task = world.add(Status.ASSIGNED)

    for which in (task, "0" * 26, world.add(letter="q")):
        with pytest.raises(NotFound):
            reports.specification(world.reports, WORKER, which, number)


def test_a_specification_that_is_gone_meanwhile_is_missing(world: MemoryWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attempt was another a moment ago."""
    task = world.add(Status.ASSIGNED)
    monkeypatch.setattr(world.reports_store, "specification", lambda *_: None)

    with pytest.raises(NotFound):
        reports.specification(world.reports, WORKER, task, 1)


# ---------------------------------------------------------------- log chunks


def test_chunks_are_stored_and_what_they_say_of_the_log_is_noted(world: MemoryWorld) -> None:
    """Once for the batch, of all its chunks."""
    task = world.add(Status.RUNNING)

    assert world.report(chunk(world, task, 0), chunk(world, task, 1)) == [OK, OK]

    assert [sequence for _, _, sequence in world.logs.chunks] == [0, 1]
    ((noted, attempt, summary),) = world.logs.noted
    assert (noted, attempt, summary.next_sequence, summary.size_bytes) == (task, 1, 2, 10)


def test_a_chunk_again_is_a_repeat(world: MemoryWorld) -> None:
    """The stored chunk stays as it was."""
    task = world.add(Status.RUNNING)
    world.report(chunk(world, task, 0))

    assert world.report(chunk(world, task, 0, b"other"), chunk(world, task, 1)) == [AGAIN, OK]
    assert world.logs.chunks[task, 1, 0].data == b"line\n"


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
def test_after_the_end_only_what_is_on_record_is_repeated(world: MemoryWorld, status: str) -> None:
    """Nothing is added to the log of an attempt that is over."""
    task = world.add(Status.RUNNING)
    world.report(chunk(world, task, 0))
    world.add(Status(status))

    assert world.report(chunk(world, task, 0), chunk(world, task, 1)) == [AGAIN, LATE]
    assert [sequence for _, _, sequence in world.logs.chunks] == [0]


def test_chunks_of_several_tasks_are_stored_each_for_itself(world: MemoryWorld) -> None:
    """One that is over takes nothing from one that runs."""
    task, over = world.add(Status.RUNNING), world.add(Status.FAILED, "f")

    assert world.report(chunk(world, over, 0), chunk(world, task, 0)) == [LATE, OK]
    assert list(world.logs.chunks) == [(task, 1, 0)]


def test_a_chunk_that_is_refused_is_not_stored_nor_noted(world: MemoryWorld) -> None:
    """Beyond the limit, of another attempt, of no task."""
    task = world.add(Status.RUNNING)
    beyond = chunk(world, task, 9, offset_bytes=LOG_LIMIT_BYTES + LOG_SLACK_BYTES)

    outcomes = world.report(beyond, chunk(world, task, attempt=2), chunk(world, "0" * 26))

    assert [one.reason for one in outcomes] == ["LogLimit", "StaleAttempt", "NoSuchTask"]
    assert world.logs.chunks == {}
    assert world.logs.noted == []


def test_what_is_known_of_the_log_goes_with_the_first_change(world: MemoryWorld) -> None:
    """One update instead of two; the chunks are stored before it."""
    task = world.add(Status.RUNNING)
    stored_first: list[int] = []
    world.tasks.before_write.append(lambda: stored_first.append(len(world.logs.chunks)))

    assert world.report(ended(task), chunk(world, task, 0)) == [OK, OK]

    assert stored_first == [1]
    assert world.document(task)["log"]["next_sequence"] == 1
    assert world.logs.noted == []


def test_what_is_known_of_the_log_is_noted_where_no_change_takes_it(world: MemoryWorld) -> None:
    """A repeated start writes nothing."""
    task = world.add(Status.RUNNING)

    assert world.report(Running(task=task, attempt=1, execution="x1"), chunk(world, task, 0)) == [AGAIN, OK]
    assert len(world.logs.noted) == 1


# ---------------------------------------------------------------- state


def test_a_preparation_with_its_start_is_one_update(world: MemoryWorld) -> None:
    """And one event; the time of the preparation is there."""
    task = world.add(Status.ASSIGNED)
    preparing, running = Preparing(task=task, attempt=1), Running(task=task, attempt=1, execution="x")

    assert world.report(preparing, running) == [OK, OK]
    assert world.events() == ["running"]
    assert world.document(task)["attempt"]["preparing_at"] == world.clock.now


@pytest.mark.parametrize("follower", ["another attempt's start", "an end", "nothing"])
def test_a_preparation_without_its_start_is_an_update_of_its_own(world: MemoryWorld, follower: str) -> None:
    """The next entry is not the attempt's start."""
    task = world.add(Status.ASSIGNED)
    followers: dict[str, list[Any]] = {
        "another attempt's start": [Running(task=task, attempt=2, execution="x")],
        "an end": [ended(task, "failed", execution=None, reason="SetupFailed")],
        "nothing": [],
    }

    outcomes = world.report(Preparing(task=task, attempt=1), *followers[follower])

    assert outcomes[0] == OK
    assert world.events()[0] == "preparing"


def test_a_strangers_preparation_is_refused_with_its_start(world: MemoryWorld) -> None:
    """The start does not speak for it."""
    task = world.add(Status.ASSIGNED, worker="w2")
    preparing, running = Preparing(task=task, attempt=1), Running(task=task, attempt=1, execution="x")

    assert [one.reason for one in world.report(preparing, running)] == ["NotYours", "NotYours"]
    assert world.status(task) == "assigned"


def test_entries_of_a_task_are_applied_in_order(world: MemoryWorld) -> None:
    """Each on what the one before has made of it, with other tasks' entries between."""
    task, other = world.add(Status.ASSIGNED), world.add(Status.RUNNING, "o")
    running = Running(task=task, attempt=1, execution="x1")

    outcomes = world.report(running, Waiting(task=other, attempt=1, execution="x1", question="?"), ended(task))

    assert outcomes == [OK, OK, OK]
    assert world.events() == ["running", "succeeded", "waiting"]
    assert world.tasks.reads == 0


def test_one_entry_that_can_not_be_applied_does_not_take_others_with_it(
    world: MemoryWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own outcome says so."""
    bad, good = world.add(Status.RUNNING, "b"), world.add(Status.RUNNING, "g")
    write = world.tasks.write

    def fails(task_id: str, *more: Any) -> Any:
        if task_id == bad:
            raise ValueError("no")
        return write(task_id, *more)

    monkeypatch.setattr(world.tasks, "write", fails)

    assert world.report(ended(bad), ended(good)) == [BROKEN, OK]
    assert world.status(good) == "succeeded"


def test_a_task_that_moves_meanwhile_is_decided_about_anew(world: MemoryWorld) -> None:
    """An end that another has reported first is refused."""
    task = world.add(Status.RUNNING)
    world.tasks.before_write.append(lambda: world.add(Status.FAILED))

    (outcome,) = world.report(ended(task))

    assert outcome.reason == "AlreadyEnded"
    assert world.status(task) == "failed"
    assert world.tasks.reads == 1


def test_refused_entries_are_counted_by_reason(world: MemoryWorld) -> None:
    """Accepted ones are not."""
    task = world.add(Status.RUNNING)
    name = "keruta_reports_refused_total"
    before, accepted = metric(name, reason="StaleAttempt"), metric(name, reason="")

    world.report(ended(task, attempt=2), ended(task))

    assert metric(name, reason="StaleAttempt") == before + 1
    assert metric(name, reason="") == accepted


def test_how_long_a_task_was_queued_and_ran_is_observed(world: MemoryWorld) -> None:
    """From the last time that it was queued to its start, from its start to its end."""
    start = world.clock.now
    queued = [{"status": "queued", "at": start - timedelta(seconds=90)}, {"status": "failed", "at": start}]
    history = [*queued, {"status": "queued", "at": start}]
    task = world.add(Status.ASSIGNED, history=history)
    waited, ran = metric("keruta_task_queue_seconds_sum"), metric("keruta_task_run_seconds_sum")
    count = metric("keruta_attempts_ended_total", status="succeeded", reason="")
    waits = metric("keruta_task_queue_seconds_count")

    world.clock.go_on(5)
    world.report(Running(task=task, attempt=1, execution="x1"))
    world.clock.go_on(7)
    world.report(ended(task))

    assert metric("keruta_task_queue_seconds_sum") == pytest.approx(waited + 5)
    assert metric("keruta_task_queue_seconds_count") == waits + 1
    assert metric("keruta_task_run_seconds_sum") == pytest.approx(ran + 7)
    assert metric("keruta_attempts_ended_total", status="succeeded", reason="") == count + 1


def test_an_end_without_a_start_is_counted_and_has_no_duration(world: MemoryWorld) -> None:
    """Nothing has run."""
    task = world.add(Status.ASSIGNED)
    runs = metric("keruta_task_run_seconds_count")
    counted = metric("keruta_attempts_ended_total", status="failed", reason="ScriptFailed")

    world.report(ended(task, "failed", execution=None, reason="ScriptFailed"))

    assert metric("keruta_task_run_seconds_count") == runs
    assert metric("keruta_attempts_ended_total", status="failed", reason="ScriptFailed") == counted + 1


def test_a_start_of_a_task_without_a_history_is_observed_by_no_time(world: MemoryWorld) -> None:
    """A history is cut after a while, and may lack when it was queued."""
    task = world.add(Status.ASSIGNED)
    count = metric("keruta_task_queue_seconds_count")

    assert world.report(Running(task=task, attempt=1, execution="x1")) == [OK]
    assert metric("keruta_task_queue_seconds_count") == count


def test_what_is_not_an_end_is_not_counted_as_one(world: MemoryWorld) -> None:
    """Going back to the queue, and what was left, are none."""
    task = world.add(Status.ASSIGNED)
    running = world.add(Status.RUNNING, "r")
    before = _ends()

    world.report(
        ended(task, "failed", execution=None, reason="WorkerLost"), Left(task=running, attempt=1, execution="x1")
    )

    assert world.status(task) == "queued"
    assert _ends() == before


def _ends() -> float:
    samples = (sample for family in REGISTRY.collect() for sample in family.samples)
    return sum(sample.value for sample in samples if sample.name == "keruta_attempts_ended_total")


# ---------------------------------------------------------------- circuits


def test_a_failure_is_counted_by_its_reason(world: MemoryWorld) -> None:
    """With what the agent says of it; a success is no failure."""
    task, other = world.add(Status.RUNNING), world.add(Status.RUNNING, "o")

    world.report(ended(task, "failed", reason="CloneFailed", message="no such host"), ended(other))

    assert world.circuits.failures == [(task, "CloneFailed", "no such host")]
    assert world.circuits.successes == [LANE]


def test_a_refused_failure_counts_for_nothing(world: MemoryWorld) -> None:
    """Nor does a repeated success."""
    task, done = world.add(Status.RUNNING), world.add(Status.SUCCEEDED, "d")

    world.report(ended(task, "failed", execution="other", reason="CloneFailed"), ended(done))

    assert world.circuits.failures == []
    assert world.circuits.successes == []


@pytest.mark.parametrize(
    ("end", "works"),
    [
        ({"status": "succeeded"}, True),
        ({"status": "failed", "reason": "ScriptFailed"}, True),
        ({"status": "failed", "reason": "CloneFailed"}, False),
        ({"status": "failed", "reason": "PushRefused"}, False),
        ({"status": "cancelled", "execution": None}, False),
    ],
)
def test_a_script_that_ran_to_its_own_end_says_that_what_it_draws_on_works(
    world: MemoryWorld, end: dict[str, Any], works: bool
) -> None:
    """One that never ran, or failed for what it draws on, does not."""
    task = world.add(Status.RUNNING if end.get("execution", "x1") else Status.ASSIGNED)

    assert world.report(ended(task, **end)) == [OK]
    assert world.circuits.successes == ([LANE] if works else [])


def test_what_fails_behind_a_circuit_goes_back_to_the_queue_at_once(world: MemoryWorld) -> None:
    """The circuit holds it; one that has started is not tried again for it."""
    world.circuits.held.add("CloneAuthFailed")
    world.assignment.slots.clear()
    task, started = world.add(Status.PREPARING), world.add(Status.RUNNING, "s")
    failure = {"status": "failed", "reason": "CloneAuthFailed"}

    world.report(ended(task, **failure, execution=None), ended(started, **failure))

    assert world.status(task) == "queued"
    assert "not_before" not in world.document(task)
    assert world.status(started) == "failed"


def test_what_is_tried_again_waits_for_a_while(world: MemoryWorld) -> None:
    """Longer after each attempt, and no two the same while."""
    task = world.add(Status.PREPARING)

    world.report(ended(task, "failed", execution=None, reason="WorkerLost"))

    assert world.document(task)["not_before"] > world.clock.now


# ---------------------------------------------------------------- what is held


def test_only_what_is_held_and_vouched_for_is_renewed(world: MemoryWorld) -> None:
    """A task that is merely known is not renewed; both are answered as held, so that nothing waits for them."""
    mine, known, other = (world.add(Status.RUNNING, letter) for letter in "mkv")
    world.clock.go_on(10)

    world.report(held=[Held(task=mine, attempt=1), Held(task=known, attempt=1, renew=False)])

    assert world.reports_store.renewed == [[f"{mine}-1"]]
    assert world.document(mine)["lease_until"] == world.clock.now + timedelta(seconds=LEASE_SECONDS)
    assert world.document(other)["lease_until"] < world.clock.now
    assert world.reports_store.unblocked == [("w1", [f"{mine}-1", f"{known}-1"])]


def test_an_attempt_renews_itself_alone(world: MemoryWorld) -> None:
    """Whatever else it says to hold; and it unblocks nothing."""
    mine, other = world.add(Status.RUNNING), world.add(Status.RUNNING, "o")

    world.report(held=[Held(task=mine, attempt=1), Held(task=other, attempt=1)], sender=own(mine))

    assert world.reports_store.renewed == [[f"{mine}-1"]]
    assert world.reports_store.unblocked == []


def test_nothing_is_renewed_at_every_report(world: MemoryWorld) -> None:
    """The store says when it is time."""
    world.reports_store.renews = False
    task = world.add(Status.UNKNOWN)

    world.report(held=[Held(task=task, attempt=1, execution="x1")])

    assert world.status(task) == "unknown"
    assert world.reports_store.renewed == []
    assert world.reports_store.unblocked == []


def test_entries_are_applied_between_two_renewals_too(world: MemoryWorld) -> None:
    """Nothing is renewed, and the end is taken."""
    world.reports_store.renews = False
    task = world.add(Status.RUNNING)

    assert world.report(ended(task), held=[Held(task=task, attempt=1)]) == [OK]
    assert world.reports_store.renewed == []


def test_nobody_who_holds_nothing_renews(world: MemoryWorld) -> None:
    """One write less."""
    world.report()

    assert world.reports_store.renewed == []
    assert world.reports_store.unblocked == [("w1", [])]


def test_an_attempt_that_was_given_up_and_is_still_held_goes_on(world: MemoryWorld) -> None:
    """By its execution; one that is of no task, or of another, changes nothing."""
    task, other = world.add(Status.UNKNOWN), world.add(Status.UNKNOWN, "o")
    held = [Held(task=task, attempt=1, execution="x1"), Held(task=other, attempt=1, execution="y")]

    world.report(held=[*held, Held(task="0" * 26, attempt=1)])

    assert world.status(task) == "running"
    assert world.status(other) == "unknown"
    assert world.events() == ["running"]


def test_only_a_preparation_is_said_by_the_start_that_follows(world: MemoryWorld) -> None:
    """A question before the repeat of a start is applied for itself."""
    task = world.add(Status.RUNNING)
    start = Running(task=task, attempt=1, execution="x1", commit="c" * 40)

    outcomes = world.report(Waiting(task=task, attempt=1, execution="x1", question="?"), start)

    assert outcomes == [OK, AGAIN]
    assert world.status(task) == "waiting"


def test_a_failed_end_of_no_task_is_refused_for_itself(world: MemoryWorld) -> None:
    """The entries of other tasks are applied."""
    task = world.add(Status.RUNNING)

    outcomes = world.report(ended("0" * 26, "failed", reason="ScriptFailed"), ended(task))

    assert (outcomes[0].reason, outcomes[1]) == ("NoSuchTask", OK)


# ---------------------------------------------------------------- the answer


def test_an_answer_lists_all_that_is_the_senders(world: MemoryWorld) -> None:
    """An attempt that the sender does not hold yet comes with its specification."""
    known, new = world.add(Status.RUNNING, "k"), world.add(Status.ASSIGNED, "n")
    world.add(Status.RUNNING, "o", worker="w2")

    answer = world.send(held=[Held(task=known, attempt=1)])

    assert [(one.task, one.specification is None) for one in answer.assigned] == [(known, True), (new, False)]


@pytest.mark.parametrize("entry", ["end", "lost"])
def test_a_slot_that_becomes_free_is_filled_in_the_same_answer(world: MemoryWorld, entry: str) -> None:
    """With the specification of what it gets, and without a nudge."""
    world.assignment.slots["w1"] = 1
    running, waiting = world.add(Status.RUNNING, "r"), world.add(letter="w")
    said = ended(running) if entry == "end" else Lost(task=running, attempt=1, execution="x1")

    answer = world.send(said)

    assert waiting in [one.task for one in answer.assigned]
    assert world.nudges.nudged == []


def test_a_worker_with_nothing_to_say_is_asked_to_do_more(world: MemoryWorld) -> None:
    """A heartbeat of a worker with a free slot."""
    waiting = world.add()

    assert [one.task for one in world.send().assigned] == [waiting]


@pytest.mark.parametrize("case", ["it has new work", "it tells of its work", "it is an attempt"])
def test_nothing_is_assigned_to_one_who_did_not_ask_for_more(world: MemoryWorld, case: str) -> None:
    """The sender has something new to begin with, is in the middle of something, or is not a worker."""
    waiting = world.add()
    running = world.add(Status.RUNNING, "r")
    if case == "it has new work":
        world.add(Status.ASSIGNED, "n")
        world.assignment.slots["w1"] = 3
        world.send(held=[Held(task=running, attempt=1)])
    elif case == "it tells of its work":
        world.send(Waiting(task=running, attempt=1, execution="x1"), held=[Held(task=running, attempt=1)])
    else:
        world.send(ended(running), sender=own(running))

    assert world.status(waiting) == "queued"


def test_the_end_of_an_attempt_in_the_middle_of_others_fills_its_slot(world: MemoryWorld) -> None:
    """Though the worker has just been given something new."""
    running, new, waiting = world.add(Status.RUNNING, "r"), world.add(Status.ASSIGNED, "n"), world.add(letter="w")

    answer = world.send(ended(running))

    assert sorted(one.task for one in answer.assigned) == sorted([new, waiting])


def test_the_time_of_a_chunk_is_its_own(world: MemoryWorld) -> None:
    """Not that of its arrival."""
    task = world.add(Status.RUNNING)
    at: datetime = world.clock.now - timedelta(minutes=1)

    world.report(chunk(world, task, at=at))

    assert world.logs.chunks[task, 1, 0].at == at


# ---------------------------------------------------------------- notes and pushes


def test_notes_of_an_end_follow_those_of_the_start(world: MemoryWorld) -> None:
    """As texts, and with their codes and arguments."""
    task = world.add(Status.RUNNING)
    told = fields_of(message("script_timeout", seconds=9))
    first = {"message": "first", "message_code": None, "message_arguments": None}
    world.tasks.documents[task]["attempt"] |= {"notes": ["first"], "noted": [first]}

    world.report(ended(task, notes=[told["message"]], noted=[told]))

    attempt = world.document(task)["attempt"]
    assert attempt["notes"] == ["first", told["message"]]
    assert attempt["noted"] == [first, told]


def test_a_push_is_on_record_before_it_is_made(world: MemoryWorld) -> None:
    """Of the execution that is on record, as long as it has not ended; the status stays."""
    task, done = world.add(Status.RUNNING), world.add(Status.SUCCEEDED, "d")
    said: dict[str, Any] = {"attempt": 1, "branch": "b", "commit": "c" * 40}

    mine, other, late = world.report(
        Pushing(task=task, execution="x1", **said),
        Pushing(task=task, execution="other", **said),
        Pushing(task=done, execution="x1", **said),
    )

    assert mine == OK
    assert [other.reason, late.reason] == ["StaleAttempt", "StaleAttempt"]
    assert world.document(task)["attempt"]["pushing"] == [{"branch": "b", "commit": "c" * 40}]
    assert world.events() == []
