"""A task's changes on the real database: what is accepted, what is a repeat, what is refused."""

from __future__ import annotations

import random
import threading

import pytest

from keruta.adapters.mongo.client import connect
from keruta.domain.lifecycle import ENDED
from keruta.domain.naming import attempt_id, new_id
from keruta.domain.principal import Principal
from keruta.domain.reports import Ended, Held, Left, LogChunk, Lost, Preparing, Registration, Report, Running
from keruta.domain.task import Artifact, RepositoryAsk, TaskRequest
from keruta.errors import Conflict, InvalidRequest, NotFound, Unauthenticated
from keruta.ports import IdempotencyKey, Sender
from keruta.services import task_commands
from keruta.services.reports import apply
from keruta.services.task_commands import cancel, retry, send_input
from keruta.settings import Settings
from tests.support.world import ANN, BOB, World


def chunk(task: str, sequence: int, data: bytes, offset: int = 0, attempt: int = 1) -> LogChunk:
    from datetime import UTC, datetime

    return LogChunk(task=task, attempt=attempt, sequence=sequence, offset_bytes=offset, data=data, at=datetime.now(UTC))


def test_ten_processes_may_bring_the_schema_at_once(settings: Settings) -> None:
    """Indexes and migrations are applied once, whoever comes first."""
    fresh = Settings(mongo_url=settings.mongo_url, mongo_database=f"t{new_id()}")
    failures: list[Exception] = []

    def one() -> None:
        try:
            connect(fresh).client.close()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=one) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    database = connect(fresh)
    try:
        assert not failures
        assert {"claim", "holder", "outbox_at"} <= set(database["tasks"].index_information())
        assert database["control"].count_documents({}) == 1
    finally:
        database.client.drop_database(database.name)
        database.client.close()


def test_a_task_goes_through_its_life(world: World) -> None:
    """Each step is on record with its time, and each is told by one event."""
    task_id = world.submit()
    worker = world.worker()
    assert world.assign() == 1

    assert world.report(worker, Preparing(task=task_id, attempt=1))[0].accepted
    assert world.start(task_id).accepted
    assert world.end(task_id, exit_code=0, outputs={"$a": "$b"}).accepted

    task = world.task(task_id)
    assert [entry.status for entry in task.history] == ["queued", "assigned", "preparing", "running", "succeeded"]
    assert task.outputs == {"$a": "$b"}
    assert task.attempts[0].commit == "c" * 40
    types = [event.type for sent, event in world.outbox.sent if sent == task_id]
    assert types == [f"dev.keruta.task.{e.status}.v1" for e in task.history]
    assert "lease_until" not in world.document(task_id)
    assert "holder" not in world.document(task_id)


def test_a_name_that_looks_like_an_expression_is_text(world: World) -> None:
    """The database never evaluates text from outside."""
    task_id = world.submit(name="$owner", env={"A": "$$NOW"}, labels={"a": "$name"})

    assert world.document(task_id)["name"] == "$owner"
    assert world.document(task_id)["spec"]["env"] == {"A": "$$NOW"}
    world.worker()
    world.assign()
    world.start(task_id)
    world.end(task_id, status="failed", reason="ScriptFailed", message="$owner failed")
    assert world.task(task_id).message == "$owner failed"


def test_one_idempotency_key_makes_one_task(world: World) -> None:
    """A repeat finds the first; another body under the same key is refused."""
    request = TaskRequest(repository=RepositoryAsk(url="https://example.com/a.git"), script="true")
    key = IdempotencyKey(subject="ann", key="k", body_hash="h")
    first = world.intake.accept(world.new_task(request), key)
    again = world.intake.accept(world.new_task(request), key)

    assert (first.repeated, again.repeated) == (False, True)
    assert first.task.id == again.task.id
    assert world.database["tasks"].count_documents({}) == 1
    other = IdempotencyKey(subject="ann", key="k", body_hash="other")
    with pytest.raises(InvalidRequest, match="another body"):
        world.intake.accept(world.new_task(request), other)


def test_a_key_whose_task_was_not_stored_is_finished_by_the_repeat(world: World) -> None:
    """A crash between the key and the task loses nothing."""
    request = TaskRequest(repository=RepositoryAsk(url="https://example.com/a.git"), script="true")
    key = IdempotencyKey(subject="ann", key="k", body_hash="h")
    first = world.intake.accept(world.new_task(request), key)
    world.database["tasks"].delete_one({"_id": first.task.id})

    again = world.intake.accept(world.new_task(request), key)

    assert again.task.id == first.task.id
    assert world.database["tasks"].count_documents({}) == 1


def test_a_start_is_put_on_record_once(world: World) -> None:
    """The same execution is a repeat, another is refused and starts nothing."""
    task_id = world.submit()
    world.worker()
    world.assign()

    assert world.start(task_id, execution="one").accepted
    assert world.start(task_id, execution="one").repeat
    refusal = world.start(task_id, execution="two")

    assert (refusal.accepted, refusal.reason) == (False, "AlreadyStarted")


def test_a_report_of_an_attempt_that_is_over_is_refused(world: World) -> None:
    """Fencing: only the current attempt speaks for the task."""
    task_id = world.submit()
    world.worker()
    world.assign()
    world.lease_runs_out(task_id)
    assert world.tick() == 1
    world.worker()
    world.assign()

    late = world.end(task_id, attempt=1, execution=None, status="failed", reason="CloneFailed")
    start = world.report("w1", Running(task=task_id, attempt=1, execution="old"))[0]

    assert (late.reason, start.reason) == ("StaleAttempt", "StaleAttempt")
    assert world.document(task_id)["attempt"]["number"] == 2
    assert world.task(task_id).attempts[0].reason == "WorkerLost"


def test_an_end_is_accepted_once_and_then_repeats(world: World) -> None:
    """The same end is a repeat; another end is refused, and the record stays."""
    task_id = world.submit()
    world.worker()
    world.assign()
    world.start(task_id)

    assert not world.end(task_id).repeat
    assert world.end(task_id).repeat
    other = world.end(task_id, status="failed", reason="ScriptFailed")

    assert (other.accepted, other.reason) == (False, "AlreadyEnded")
    assert world.task(task_id).status == "succeeded"


@pytest.mark.parametrize(
    ("policy", "started", "status"),
    [
        ("if_not_started", False, "queued"),
        ("never", False, "queued"),
        ("always", False, "queued"),
        ("if_not_started", True, "unknown"),
        ("never", True, "unknown"),
        ("always", True, "queued"),
    ],
)
def test_a_lease_that_runs_out(world: World, policy: str, started: bool, status: str) -> None:
    """Before the start it may run again; after it, the task's policy decides."""
    task_id = world.submit(retry={"policy": policy})
    world.worker()
    world.assign()
    if started:
        world.start(task_id)

    world.lease_runs_out(task_id)
    world.tick()

    assert world.task(task_id).status == status
    if status == "unknown":
        assert "accept, retry or cancel" in (world.task(task_id).message or "")


def test_attempts_come_to_an_end(world: World) -> None:
    """After max_attempts the task has failed, with the reason of the last one."""
    task_id = world.submit(retry={"policy": "if_not_started", "max_attempts": 2})
    for _ in range(2):
        world.worker()
        world.assign()
        world.lease_runs_out(task_id)
        world.tick()

    task = world.task(task_id)
    assert (task.status, task.reason, len(task.attempts)) == ("failed", "WorkerLost", 2)


def test_word_from_an_attempt_that_was_given_up_brings_it_back(world: World) -> None:
    """Work that went on is never thrown away: holding it is enough, and so is its end."""
    first, second = world.submit(), world.submit()
    world.worker()
    world.assign()
    for task_id in (first, second):
        world.start(task_id, execution=f"x-{task_id}")
        world.lease_runs_out(task_id)
    world.tick()
    assert [world.task(t).status for t in (first, second)] == ["unknown", "unknown"]

    world.database["workers"].update_one({"_id": "w1"}, [{"$set": {"seen_at": {"$subtract": ["$$NOW", 5000]}}}])
    world.report("w1", held=[Held(task=first, attempt=1, execution=f"x-{first}")])
    end = world.end(second, execution=f"x-{second}")

    assert world.task(first).status == "running"
    assert end.accepted
    assert world.task(second).status == "succeeded"


def test_an_outage_of_ours_costs_no_task(world: World) -> None:
    """After a gap in ticks every lease is extended once, and nothing expires for a whole lease."""
    task_id = world.submit()
    world.worker()
    world.assign()
    world.lease_runs_out(task_id)
    hour = {"$subtract": ["$$NOW", 3_600_000]}
    world.database["control"].update_one({"_id": "pulse"}, [{"$set": {"ticks.at": hour}}])

    assert world.tick() == 0
    world.database["tasks"].update_one({"_id": task_id}, [{"$set": {"lease_until": hour}}])
    assert world.tick() == 0

    assert world.task(task_id).status == "assigned"


def test_nothing_expires_while_reports_can_not_arrive(world: World) -> None:
    """Ticks alone are not enough: workers may be at work and unable to say so."""
    task_id = world.submit()
    world.worker()
    world.assign()
    world.lease_runs_out(task_id)
    hour = {"$subtract": ["$$NOW", 3_600_000]}
    world.database["control"].update_one({"_id": "pulse"}, [{"$set": {"reports.at": hour}}])

    assert world.tick(reports_arrive=False) == 0
    assert world.task(task_id).status == "assigned"


def test_always_waits_until_the_last_attempt_is_seen_gone(world: World) -> None:
    """The worker may still be at it: the next attempt starts when it says that it is not."""
    task_id = world.submit(retry={"policy": "always"})
    world.worker()
    world.assign()
    world.start(task_id)
    world.lease_runs_out(task_id)
    world.database["workers"].update_one({"_id": "w1"}, [{"$set": {"seen_at": {"$subtract": ["$$NOW", 5000]}}}])
    world.tick()

    held = Held(task=task_id, attempt=1, execution="x1")
    world.report("w1", held=[held])
    assert world.assign() == 0
    waiting = world.task(task_id).waiting
    assert waiting is not None
    assert waiting.message_code == "waiting_last_attempt"
    world.database["workers"].update_one({"_id": "w1"}, [{"$set": {"seen_at": {"$subtract": ["$$NOW", 5000]}}}])
    world.report("w1")

    assert world.assign() == 1


def test_what_is_ours_is_tried_again_later_and_the_users_is_not(world: World) -> None:
    """The forge was away: back to the queue with a backoff. The script failed: it has failed."""
    ours, theirs = world.submit(), world.submit()
    world.worker()
    world.assign()
    world.start(theirs)

    world.end(ours, execution=None, status="failed", reason="CloneFailed", message="away")
    world.end(theirs, status="failed", reason="ScriptFailed", exit_code=1)

    assert world.task(ours).status == "queued"
    waiting = world.task(ours).waiting
    assert waiting is not None
    assert waiting.message_code == "waiting_backoff"
    assert world.assign() == 0
    world.database["tasks"].update_one({"_id": ours}, [{"$set": {"not_before": "$$NOW"}}])
    world.tick()
    assert world.assign() == 1
    assert world.task(theirs).status == "failed"


def test_cancel_of_a_queued_task_is_its_end(world: World) -> None:
    task_id = world.submit()

    cancel(world.commands, ANN, task_id)
    world.worker()

    assert world.assign() == 0
    assert world.task(task_id).status == "cancelled"
    with pytest.raises(Conflict, match="cancelled"):
        cancel(world.commands, ANN, task_id)
    world.database["tasks"].update_one({"_id": task_id}, {"$set": {"readers": ["user:ann"]}})
    with pytest.raises(NotFound):
        cancel(world.commands, Principal(subject="bob", name="bob"), task_id)


def test_a_cancelled_task_is_not_started_any_more(world: World) -> None:
    """A start that comes after the wish is refused, and the end counts as cancelled."""
    task_id = world.submit()
    world.worker()
    world.assign()
    cancel(world.commands, ANN, task_id)

    assert world.start(task_id).reason == "Cancelled"
    assert world.assigned("w1")[0].stop
    world.end(task_id, execution=None, status="failed", reason="CloneFailed")

    assert world.task(task_id).status == "cancelled"


def test_a_true_end_that_came_first_wins(world: World) -> None:
    """Cancelled while it succeeded: it has succeeded."""
    task_id = world.submit()
    world.worker()
    world.assign()
    world.start(task_id)
    cancel(world.commands, ANN, task_id)

    assert world.end(task_id).accepted
    assert world.task(task_id).status == "succeeded"


def test_cancel_against_every_other_change_at_once_has_one_true_outcome(world: World) -> None:
    """Start, end, expiry and retry race with cancel; the record is one of the true ones, and consistent."""
    rng = random.Random(7)
    for _ in range(40):
        task_id = world.submit(retry={"policy": rng.choice(["never", "if_not_started", "always"])})
        world.worker(slots=100)
        world.assign()
        started = world.start(task_id).accepted if rng.random() < 0.5 else False
        accepted: dict[str, bool] = {}
        execution = "x1" if started else None

        def wish(task_id: str = task_id) -> None:
            try:
                cancel(world.commands, ANN, task_id)
            except Conflict:
                pass

        def end(
            task_id: str = task_id, execution: str | None = execution, accepted: dict[str, bool] = accepted
        ) -> None:
            status = "succeeded" if execution else "failed"
            accepted["end"] = world.end(task_id, execution=execution, status=status, reason=None).accepted

        def start(task_id: str = task_id, accepted: dict[str, bool] = accepted) -> None:
            accepted["start"] = world.start(task_id).accepted

        def expire(task_id: str = task_id) -> None:
            world.lease_runs_out(task_id)
            world.tick()

        threads = [threading.Thread(target=t) for t in (wish, rng.choice([end, start, expire]), expire)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        document = world.document(task_id)
        if document["status"] == "succeeded":
            assert accepted["end"]
        if document["status"] == "cancelled" and "start" in accepted:
            assert not accepted["start"] or document["attempt"]["execution"] == "x1"
        if document["status"] in ENDED:
            assert "holder" not in document
            assert "claim" not in document
        else:
            assert document.get("cancel_requested_at") is not None or document["status"] in ("queued", "unknown")


def test_a_batch_has_one_outcome_per_entry(world: World) -> None:
    """A bad entry is its own outcome; the others are applied, chunks before state."""
    task_id = world.submit()
    world.worker()
    world.assign()
    outcomes = world.report(
        "w1",
        Running(task=task_id, attempt=1, execution="x1"),
        chunk(task_id, 0, b"hello\n"),
        chunk(new_id(), 0, b"whose?"),
        chunk(task_id, 0, b"hello\n"),
        Ended(task=task_id, attempt=1, execution="x1", status="succeeded", exit_code=0),
        Ended(task=new_id(), attempt=1, status="failed"),
    )

    assert [o.accepted for o in outcomes] == [True, True, False, True, True, False]
    assert outcomes[5].reason == "NoSuchTask"
    assert world.task(task_id).log.tail == "hello\n"
    assert [c.data for c in world.reading.chunks(task_id, 1)] == [b"hello\n"]


def test_a_repeated_chunk_is_a_no_op(world: World) -> None:
    task_id = world.submit()
    world.worker()
    world.assign()
    world.start(task_id)
    world.report("w1", chunk(task_id, 0, b"first\n"))

    again = world.report("w1", chunk(task_id, 0, b"another\n"), chunk(task_id, 1, b"second\n", 6))

    assert [o.repeat for o in again] == [True, False]
    assert b"".join(c.data for c in world.reading.chunks(task_id, 1)) == b"first\nsecond\n"


def test_a_worker_reports_only_what_is_its_own(world: World) -> None:
    """Another worker's attempt, and an attempt's token for another attempt, are refused."""
    task_id = world.submit()
    world.worker("w1")
    world.assign()
    world.worker("w2")

    assert world.start(task_id, worker="w2").reason == "NotYours"
    stranger = Sender(attempt=attempt_id(new_id(), 1))
    entry = Running(task=task_id, attempt=1, execution="x")
    assert apply(world.reports, stranger, Report(entries=[entry])).outcomes[0].reason == "NotYours"
    own = Sender(attempt=attempt_id(task_id, 1))
    assert apply(world.reports, own, Report(entries=[entry])).outcomes[0].accepted


def test_an_older_session_of_a_worker_is_void(world: World) -> None:
    """Of two processes with one name, the one that registered last is the worker."""
    world.worker()
    old = Sender(worker="w1", session=world.sessions["w1"])
    world.reports.store.register("w1", Registration(slots=1))

    with pytest.raises(Unauthenticated):
        apply(world.reports, old, Report())


def test_a_lost_end_is_unknown_or_runs_again(world: World) -> None:
    """The agent's own word that an end is not known: as with a lease, the policy decides."""
    waits, again = world.submit(), world.submit(retry={"policy": "always"})
    world.worker()
    world.assign()
    for task_id in (waits, again):
        world.start(task_id)
        world.report("w1", Lost(task=task_id, attempt=1, execution="x1"))

    assert world.task(waits).status == "unknown"
    assert world.task(again).status == "queued"


@pytest.mark.parametrize("decision", ["accept", "retry", "cancel"])
def test_a_person_decides_about_an_unknown_end(world: World, decision: str) -> None:
    """Accepted, run again or discarded; from then on word of the old attempt is refused."""
    task_id = world.submit()
    world.worker()
    world.assign()
    world.start(task_id)
    world.lease_runs_out(task_id)
    world.tick()

    getattr(task_commands, decision)(world.commands, ANN, task_id)

    status = world.task(task_id).status
    assert status == {"accept": "succeeded", "retry": "queued", "cancel": "cancelled"}[decision]
    assert not world.end(task_id, attempt=1, status="failed", reason="ScriptFailed").accepted
    assert world.task(task_id).status == status
    assert world.database["audit"].find_one({"of": task_id, "action": decision, "who": "ann"})


def test_input_is_numbered_and_given_until_it_is_acknowledged(world: World) -> None:
    task_id = world.submit()
    world.worker()
    world.assign()
    with pytest.raises(Conflict):
        send_input(world.commands, ANN, task_id, "too early")
    world.start(task_id)

    for text in ("one", "$two"):
        send_input(world.commands, ANN, task_id, text)

    assert [(i.number, i.text) for i in world.assigned("w1")[0].input] == [(1, "one"), (2, "$two")]
    held = Held(task=task_id, attempt=1, execution="x1", input_acknowledged=1)
    assert [i.number for i in world.assigned("w1", [held])[0].input] == [2]


def test_what_a_person_may_not_see_is_not_there(world: World) -> None:
    """Lists, tasks and logs ask first who may see."""
    task_id = world.submit()
    world.database["tasks"].update_one({"_id": task_id}, {"$set": {"readers": ["user:ann"], "seen_by": ["user:ann"]}})
    from keruta.domain.task_list import TaskFilter

    with pytest.raises(NotFound):
        world.reading.task(BOB, task_id)
    assert world.reading.page(BOB, TaskFilter(), limit=10, cursor=None).items == []
    assert [t.id for t in world.reading.page(ANN, TaskFilter(), limit=10, cursor=None).items] == [task_id]


@pytest.mark.parametrize("ends", ["failed", "lost", "cancelled while unknown", "lease", "tried again"])
def test_an_attempt_keeps_its_own_end(world: World, ends: str) -> None:
    """However it ended and whoever queued the next one, its times, results and log are those of its own end."""
    reason = "CloneFailed" if ends == "tried again" else "ScriptFailed"
    task_id = world.submit()
    world.worker()
    world.assign()
    if ends not in ("lease", "tried again"):
        world.start(task_id)
    world.report("w1", chunk(task_id, 0, b"hello\n"))
    if ends in ("failed", "tried again"):
        execution = "x1" if ends == "failed" else None
        world.end(task_id, execution=execution, status="failed", reason=reason, exit_code=3, outputs={"a": "b"})
    else:
        world.lease_runs_out(task_id)
        world.tick()
    if ends == "cancelled while unknown":
        cancel(world.commands, ANN, task_id)
    known = world.document(task_id)
    if ends not in ("lease", "tried again"):
        retry(world.commands, ANN, task_id)

    first = world.task(task_id).attempts[0]

    end = next(entry["at"] for entry in reversed(known["history"]) if entry["status"] not in ("cancelled",))
    assert first.ended_at == end
    assert first.log_bytes == len(b"hello\n")
    assert world.task(task_id).log.bytes == 0
    if ends in ("failed", "tried again"):
        assert (first.reason, first.exit_code, first.outputs) == (reason, 3, {"a": "b"})
    if ends == "failed":
        assert first.outcome == "failed"
    else:
        assert first.outcome == ("lost" if ends in ("lost", "cancelled while unknown") else "retried")


def test_notes_of_an_end_follow_those_of_the_start(world: World) -> None:
    """Parts of a profile that a worker can't honour are noted at the start, files that it could not keep at the end."""
    task_id = world.submit()
    world.worker()
    world.assign()
    world.report("w1", Running(task=task_id, attempt=1, execution="x1", commit="c" * 40, notes=["before"]))

    world.end(task_id, notes=["after"])

    attempt = world.task(task_id).attempts[-1]
    assert attempt.notes == ["before", "after"]
    assert len(attempt.noted) == 2


def test_what_a_pods_agent_kept_stays_when_the_worker_tells_the_end(world: World) -> None:
    """Files, outputs and use, also of an attempt that is followed by another."""
    task_id = world.submit()
    world.worker()
    world.assign()
    file = Artifact(path="result.bundle", size_bytes=1, sha256="a" * 64)
    left = Left(task=task_id, attempt=1, execution="x1", artifacts=[file], outputs={"$a": "b"}, usage={"cost_usd": 1.0})

    outcomes = world.report(
        "w1",
        Running(task=task_id, attempt=1, execution="x1"),
        left,
        left,
        Ended(task=task_id, attempt=1, execution="x1", status="failed", reason="OutOfMemory", exit_code=137),
        left,
    )

    assert [one.accepted for one in outcomes] == [True, True, True, True, False]
    task = world.task(task_id)
    assert (task.status, task.reason) == ("failed", "OutOfMemory")
    assert (task.artifacts, task.outputs) == ([file], {"$a": "b"})
    assert task.attempts[-1].usage == {"cost_usd": 1.0}
