"""Decisions about a task when its agent reports: every entry in every status."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from keruta.domain.decisions.ends import REPEAT, STALE, Circumstances
from keruta.domain.decisions.reports import ACCEPTED, LOG_SLACK_BYTES, on_chunk, on_renewal, on_report, summary_of
from keruta.domain.decisions.values import NOW, Attempt, Decision, Kept, Later, LogSummary, Standing
from keruta.domain.lifecycle import ENDED, HELD, NOT_STARTED, STARTED, Change, Status
from keruta.domain.messages import Message
from keruta.domain.principal import Sender
from keruta.domain.reports import (
    AnyEntry,
    Ended,
    Held,
    ImageSeen,
    Left,
    LogChunk,
    Lost,
    Outcome,
    Preparing,
    Resumed,
    Running,
    Waiting,
)
from keruta.domain.retry import REASONS
from keruta.domain.task import Artifact, Policy, RetryPolicy

ID = "t" * 26
WORKER = Sender(worker="w1", session="s")
CALM = Circumstances(lease_seconds=30, backoff_seconds=7)
SAME: dict[str, Any] = {"task": ID, "attempt": 2}
POLICIES: tuple[Policy, ...] = ("never", "if_not_started", "always")
WITH_ATTEMPT = [status for status in Status if status is not Status.QUEUED]


def every(*values: Iterable[Any]) -> list[tuple[Any, ...]]:
    return list(itertools.product(*values))


def task(status: Status, execution: str | None = "default", **more: Any) -> Standing:
    if execution == "default":
        execution = None if status in NOT_STARTED else "x"
    outcome = status.value if status in ENDED else None
    attempt = Attempt(number=2, id=f"{ID}-2", worker="w1", execution=execution, outcome=outcome)
    fields: dict[str, Any] = {"attempt": attempt, "retry": RetryPolicy(policy="if_not_started", max_attempts=3)}
    return Standing(id=ID, status=status, **fields | more)


def decided(standing: Standing, entry: AnyEntry, now: Circumstances = CALM) -> Decision:
    found = on_report(standing, entry, WORKER, now)
    assert isinstance(found, Decision), found
    return found


def refusal(standing: Standing | None, entry: AnyEntry, sender: Sender = WORKER) -> tuple[str | None, str | None]:
    found = on_report(standing, entry, sender, CALM)
    assert isinstance(found, Outcome)
    assert not found.accepted
    assert not found.repeat
    return found.reason, found.message_code


# ---------------------------------------------------------------- fencing

ENTRIES: list[AnyEntry] = [
    Preparing(**SAME), Running(**SAME, execution="x"), Waiting(**SAME, execution="x"), Resumed(**SAME, execution="x"),
    Ended(**SAME, execution="x", status="succeeded"), Ended(**SAME, execution="x", status="failed"),
    Lost(**SAME, execution="x"), Left(**SAME, execution="x"),
]  # fmt: skip


@pytest.mark.parametrize("entry", ENTRIES)
def test_only_the_sender_of_the_current_attempt_is_heard(entry: AnyEntry) -> None:
    """No task, no attempt, an earlier one, another worker's, another attempt's: each refused for its own reason."""
    standing = task(Status.RUNNING)
    other = Attempt(number=3, id=f"{ID}-3", worker="w1")

    assert refusal(None, entry) == ("NoSuchTask", "task_missing")
    assert refusal(task(Status.QUEUED, attempt=None), entry) == ("StaleAttempt", "attempt_not_current")
    assert refusal(task(Status.RUNNING, attempt=other), entry) == ("StaleAttempt", "attempt_not_current")
    for sender in (Sender(worker="w2"), Sender(attempt=f"{ID}-1"), Sender(worker="w1", attempt=f"{ID}-1")):
        assert refusal(standing, entry, sender) == ("NotYours", "attempt_not_senders")
    for sender in (WORKER, Sender(attempt=f"{ID}-2")):
        assert getattr(on_report(standing, entry, sender, CALM), "reason", None) not in ("StaleAttempt", "NotYours")


@pytest.mark.parametrize(("status", "entry"), every(WITH_ATTEMPT, ENTRIES))
def test_every_decision_is_guarded_by_attempt_and_execution(status: Status, entry: AnyEntry) -> None:
    """And made only in a status that allows its change."""
    execution = getattr(entry, "execution", None)
    for known in (None, "x"):
        found = on_report(task(status, known), entry, WORKER, CALM)
        if isinstance(found, Decision):
            assert (found.change is None) == isinstance(entry, Left)
            assert status in found.guard.statuses
            assert found.guard.attempt == 2
            if not isinstance(entry, Preparing):
                assert found.guard.execution == (None if isinstance(entry, Running) else execution) == known


# ---------------------------------------------------------------- preparing, starting, waiting


@pytest.mark.parametrize("status", WITH_ATTEMPT)
def test_preparing(status: Status) -> None:
    """Recorded once; later it is a repeat."""
    found = on_report(task(status), Preparing(**SAME), WORKER, CALM)

    if status is Status.ASSIGNED:
        assert isinstance(found, Decision)
        assert (found.change, dict(found.fields)) == (Change.PREPARE, {"lease_until": Later(30)})
        assert found.attempt == {"preparing_at": NOW}
        assert found.guard.statuses == {Status.ASSIGNED}
    else:
        assert found is REPEAT


@pytest.mark.parametrize(("status", "execution", "cancelled"), every(WITH_ATTEMPT, (None, "x", "other"), (False, True)))
def test_a_start(status: Status, execution: str | None, cancelled: bool) -> None:
    """Recorded once, of one execution, and not when the task was cancelled."""
    standing = task(status, execution, cancel_requested=cancelled)

    found = on_report(standing, Running(**SAME, execution="x"), WORKER, CALM)

    if execution == "x" and status not in ENDED:
        assert found is REPEAT
    elif execution is not None:
        assert isinstance(found, Outcome)
        assert (found.accepted, found.reason, found.message_code) == (
            False, "AlreadyStarted", "attempt_started_elsewhere",
        )  # fmt: skip
    elif cancelled:
        assert isinstance(found, Outcome)
        assert (found.reason, found.message_code) == ("Cancelled", "attempt_cancelled_before_start")
    elif status in NOT_STARTED:
        assert isinstance(found, Decision)
        assert found.change is Change.START
        assert found.guard.statuses == NOT_STARTED
        assert (found.guard.execution, found.guard.not_cancelled) == (None, True)
    else:
        assert found is STALE


def test_a_start_records_what_the_agent_says_of_it() -> None:
    """With the time of the preparation, if that was not reported."""
    entry = Running(**SAME, execution="x", commit="c", profile_revision=4, image="python:3.12", notes=["n"])

    found = decided(task(Status.ASSIGNED), entry)

    assert found.fields == {"lease_until": Later(30)}
    assert found.attempt == {
        "execution": "x",
        "commit": "c",
        "started_at": NOW,
        "preparing_at": Kept("attempt.preparing_at", NOW),
        "profile_revision": 4,
        "image": "python:3.12",
        "notes": ["n"],
        "noted": [{"message": "n", "message_code": None, "message_arguments": None}],
    }
    assert not found.closes_attempt


@pytest.mark.parametrize("status", WITH_ATTEMPT)
def test_the_image_is_recorded_once(status: Status) -> None:
    """In every status of its attempt, also after the end: a short script is over before the cluster shows the image."""
    standing = task(status, "x")
    entry = ImageSeen(**SAME, image_id="i@sha256:1")

    found = decided(standing, entry)

    assert (found.change, found.fields, found.attempt) == (None, {}, {"image_id": "i@sha256:1"})
    assert status in found.guard.statuses
    assert found.guard.attempt == 2
    assert standing.attempt is not None
    known = msgspec.structs.replace(standing, attempt=msgspec.structs.replace(standing.attempt, image_id="other"))
    assert on_report(known, entry, WORKER, CALM) is REPEAT


def test_the_image_is_taken_from_the_worker_alone() -> None:
    """An attempt's own token speaks for its script's side of the Pod."""
    found = on_report(task(Status.RUNNING, "x"), ImageSeen(**SAME, image_id="i"), Sender(attempt=f"{ID}-2"), CALM)

    assert isinstance(found, Outcome)
    assert (found.accepted, found.reason) == (False, "NotYours")


@pytest.mark.parametrize(("status", "asks"), every(WITH_ATTEMPT, (False, True)))
def test_waiting_and_going_on(status: Status, asks: bool) -> None:
    """A question makes a task wait, and going on makes it run again; also one whose attempt was given up."""
    entry: AnyEntry = Waiting(**SAME, execution="x", question="$why?") if asks else Resumed(**SAME, execution="x")
    allowed = {Status.RUNNING, Status.UNKNOWN} if asks else {Status.WAITING, Status.UNKNOWN}
    gone = dict.fromkeys(["reason", "message", "message_code", "message_arguments"])

    found = on_report(task(status, "x", question="$why?"), entry, WORKER, CALM)

    if status in allowed:
        assert isinstance(found, Decision)
        assert found.change is (Change.ASK if asks else Change.RESUME)
        said = {"lease_until": Later(30), "question": "$why?" if asks else None}
        assert found.fields == said | (gone if status is Status.UNKNOWN else {})
    else:
        assert found is REPEAT
    assert on_report(task(status, "other"), entry, WORKER, CALM) is STALE


def test_a_new_question_takes_the_place_of_the_one_that_waits() -> None:
    """The script may ask another before it had an answer; the same again is a repeat."""
    standing = task(Status.WAITING, "x", question="one?")

    found = on_report(standing, Waiting(**SAME, execution="x", question="two?"), WORKER, CALM)

    assert isinstance(found, Decision)
    assert (found.change, found.fields["question"]) == (None, "two?")
    assert found.guard.statuses == {Status.WAITING}
    assert on_report(standing, Waiting(**SAME, execution="x", question="one?"), WORKER, CALM) is REPEAT


def test_an_attempt_that_waited_when_it_was_given_up_waits_again() -> None:
    """Its agent tells a question once; a heartbeat afterwards must not make the task run without it."""
    held = Held(task=ID, attempt=2, execution="x")

    found = on_renewal(task(Status.UNKNOWN, "x", question="why?"), held, WORKER, 30)

    assert found is not None
    assert found.change is Change.ASK
    assert "question" not in found.fields


# ---------------------------------------------------------------- ends


@pytest.mark.parametrize(
    ("status", "end", "execution", "cancelled"),
    every(WITH_ATTEMPT, ("succeeded", "failed", "cancelled"), (None, "x"), (False, True)),
)
def test_an_end(status: Status, end: Any, execution: str | None, cancelled: bool) -> None:
    """Recorded once; the same end is a repeat and another is refused."""
    entry = Ended(**SAME, status=end, execution=execution, reason="ScriptFailed")
    standing = task(status, execution, cancel_requested=cancelled)
    change = {"succeeded": Change.SUCCEED, "failed": Change.FAIL, "cancelled": Change.END_CANCELLED}[end]
    if execution is None and cancelled:
        change = Change.END_CANCELLED
    allowed = HELD if change is not Change.SUCCEED else STARTED | {Status.UNKNOWN}

    found = on_report(standing, entry, WORKER, CALM)

    if status in allowed:
        assert isinstance(found, Decision)
        assert found.change is change
        assert found.guard.statuses == allowed
        assert not found.guard.not_cancelled
        assert not found.closes_attempt
    elif status in ENDED and status.value == end:
        assert found is REPEAT
    else:
        assert isinstance(found, Outcome)
        assert (found.accepted, found.reason) == (False, "AlreadyEnded")
        assert found.message == f"This attempt is on record as {status}."


@pytest.mark.parametrize("on_record", [None, "x"])
@pytest.mark.parametrize(("policy", "change"), [("if_not_started", Change.RETRY), ("never", Change.FAIL)])
def test_a_start_that_was_asked_for_and_not_made_counts_as_no_start(
    on_record: str | None, policy: Policy, change: Change
) -> None:
    """Whether keruta has recorded the start or not; the agent had to stop before it was answered."""
    status = Status.PREPARING if on_record is None else Status.RUNNING
    standing = task(status, on_record, retry=RetryPolicy(policy=policy, max_attempts=3))
    entry = Ended(**SAME, status="failed", reason="WorkerStopped", execution="x", never_started=True)

    found = on_report(standing, entry, WORKER, CALM)

    assert isinstance(found, Decision)
    assert (found.change, found.guard.execution) == (change, on_record)


@pytest.mark.parametrize("on_record", [None, "x"])
def test_a_cancelled_start_that_was_asked_for_ends_the_task(on_record: str | None) -> None:
    standing = task(Status.PREPARING if on_record is None else Status.RUNNING, on_record, cancel_requested=True)
    entry = Ended(**SAME, status="cancelled", reason="Cancelled", execution="x", never_started=True)
    found = on_report(standing, entry, WORKER, CALM)
    assert isinstance(found, Decision)
    assert (found.change, found.guard.execution) == (Change.END_CANCELLED, on_record)


def test_the_start_of_another_execution_is_not_ended_by_one_that_was_not_made() -> None:
    entry = Ended(**SAME, status="failed", reason="WorkerStopped", execution="other", never_started=True)
    assert refusal(task(Status.RUNNING, "x"), entry)[0] == "AlreadyEnded"


@pytest.mark.parametrize(("status", "end"), every(WITH_ATTEMPT, ("succeeded", "failed")))
def test_the_end_of_another_execution_is_refused(status: Status, end: Any) -> None:
    """Whatever the reason, and whatever is on record."""
    for reason in ("ScriptFailed", "CloneFailed"):
        entry = Ended(**SAME, status=end, execution="other", reason=reason)
        always = RetryPolicy(policy="always", max_attempts=3)
        assert refusal(task(status, "x", retry=always), entry)[0] == "AlreadyEnded"


def test_an_end_keeps_all_that_the_agent_says() -> None:
    """Of the attempt everything, of the task what lists show; texts are taken as they are."""
    entry = Ended(
        **SAME, status="failed", execution="x", reason="ScriptFailed", message="$no", exit_code=3, signal=9,
        commit="c", result_branch="b", result_commit="d", outputs={"$a": "$b"}, usage={"cost_usd": 1.5},
        artifacts=[Artifact(path="p", size_bytes=1, sha256="h")],
    )  # fmt: skip

    found = decided(task(Status.RUNNING), entry)

    told = {"message": "$no", "message_code": None, "message_arguments": None}
    assert found.fields == {
        "reason": "ScriptFailed",
        **told,
        "exit_code": 3,
        "question": None,
        "ended_at": NOW,
        "work_kept_by": None,
    }
    assert found.attempt == {
        "outcome": "failed", "reason": "ScriptFailed", **told, "exit_code": 3, "signal": 9, "result_branch": "b",
        "result_commit": "d", "outputs": {"$a": "$b"}, "usage": {"cost_usd": 1.5}, "commit": "c",
        "artifacts": [{"path": "p", "size_bytes": 1, "sha256": "h"}], "ended_at": NOW,
    }  # fmt: skip


def test_an_end_without_a_commit_keeps_the_one_of_the_start() -> None:
    assert "commit" not in decided(task(Status.RUNNING), Ended(**SAME, status="succeeded", execution="x")).attempt


@pytest.mark.parametrize(("asked", "waited"), [(None, 7), (3, 7), (3600, 3600)])
def test_a_models_limit_is_waited_for(asked: float | None, waited: float) -> None:
    """A task that is tried again waits as long as its model's server says, and never less than others."""
    standing = task(Status.RUNNING, retry=RetryPolicy(policy="always", max_attempts=3))
    entry = Ended(**SAME, status="failed", execution="x", reason="ModelRateLimited", retry_after_seconds=asked)

    found = on_report(standing, entry, WORKER, CALM)

    assert isinstance(found, Decision)
    assert found.change is Change.RETRY
    assert found.fields["not_before"] == Later(waited)


@pytest.mark.parametrize(
    ("policy", "execution", "reason", "number", "held_back", "cancelled"),
    every(POLICIES, (None, "x"), ("CloneFailed", "ScriptFailed", "New"), (2, 3), (False, True), (False, True)),
)
def test_which_failures_are_tried_again(
    policy: Policy, execution: str | None, reason: str, number: int, held_back: bool, cancelled: bool
) -> None:
    """After a while if keruta is to blame and the policy allows it; at once, behind a circuit, if it is open."""
    attempt = Attempt(number=number, id=f"{ID}-{number}", worker="w1", execution=execution)
    retry = RetryPolicy(policy=policy, max_attempts=3)
    standing = task(Status.PREPARING, attempt=attempt, retry=retry, cancel_requested=cancelled)
    entry = Ended(
        task=ID, attempt=number, status="failed", execution=execution, reason=reason, message="m", exit_code=3,
        outputs={"a": "b"},
    )  # fmt: skip
    now = Circumstances(lease_seconds=30, held_back=held_back, backoff_seconds=7)
    left = number < 3 and policy != "never" and not cancelled
    behind_circuit = left and held_back and execution is None
    again = left and reason == "CloneFailed" and (execution is None or policy == "always")

    found = on_report(standing, entry, WORKER, now)

    assert isinstance(found, Decision)
    assert (found.change is Change.RETRY) == (behind_circuit or again)
    if found.change is Change.RETRY:
        assert found.guard.statuses == HELD
        assert (found.guard.attempt, found.guard.execution, found.guard.not_cancelled) == (number, execution, True)
        assert found.closes_attempt
        assert (found.attempt["outcome"], found.attempt["reason"]) == ("retried", reason)
        assert (found.attempt["message"], found.attempt["exit_code"]) == ("m", 3)
        assert (found.attempt["outputs"], found.attempt["ended_at"]) == ({"a": "b"}, NOW)
        assert found.fields["reason"] == reason
        assert found.fields["message"] == "m"
        assert found.fields.get("not_before") == (None if behind_circuit else Later(7))
        assert found.fields.get("claim") == (Kept("lane") if behind_circuit else None)


def test_a_failure_without_a_reason_is_not_tried_again() -> None:
    found = decided(task(Status.PREPARING), Ended(**SAME, status="failed"))

    assert found.change is Change.FAIL
    assert (found.fields["reason"], found.fields["message"]) == (None, None)


def test_a_failure_that_is_on_record_is_not_tried_again() -> None:
    """A task that has ended stays ended."""
    entry = Ended(**SAME, status="failed", execution=None, reason="CloneFailed")

    assert on_report(task(Status.FAILED, None), entry, WORKER, CALM) is REPEAT


def test_only_a_failure_is_tried_again() -> None:
    entry = Ended(**SAME, status="cancelled", execution=None, reason="CloneFailed")

    assert decided(task(Status.PREPARING), entry).change is Change.END_CANCELLED


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_every_reason_is_tried_again_before_the_start_as_the_table_of_reasons_says(reason: str) -> None:
    found = decided(task(Status.PREPARING), Ended(**SAME, status="failed", reason=reason))

    assert (found.change is Change.RETRY) == REASONS[reason].retried


# ---------------------------------------------------------------- lost


@pytest.mark.parametrize(
    ("status", "policy", "maximum", "cancelled", "execution"),
    every(WITH_ATTEMPT, POLICIES, (2, 3), (False, True), ("x", "other")),
)
def test_a_lost_attempt(status: Status, policy: Policy, maximum: int, cancelled: bool, execution: str) -> None:
    """Run again if the policy allows it, else it waits for a person; a repeat where it was recorded already."""
    retry = RetryPolicy(policy=policy, max_attempts=maximum)
    standing = task(status, "x", retry=retry, cancel_requested=cancelled)

    found = on_report(standing, Lost(**SAME, execution=execution), WORKER, CALM)

    again = policy == "always" and maximum == 3 and not cancelled
    if execution == "other" or status not in HELD or (not again and status not in STARTED):
        assert found is REPEAT
    else:
        assert isinstance(found, Decision)
        assert found.change is (Change.RETRY if again else Change.LOSE)
        assert found.guard.statuses == (HELD if again else STARTED)
        assert (found.guard.execution, found.guard.not_cancelled) == ("x", again)
        assert found.closes_attempt == again
        assert found.fields["reason"] == "EndNotKnown"
        assert found.fields["message_code"] == ("attempt_machine_down_retried" if again else "attempt_machine_down")
        if again:
            assert (found.attempt["outcome"], found.attempt["reason"]) == ("retried", "EndNotKnown")
            assert (found.attempt["ended_at"], found.attempt["message_code"]) == (NOW, "attempt_machine_down_retried")
        else:
            assert found.attempt == {}
        assert found.fields.get("claim") == (Kept("lane") if again else None)


# ---------------------------------------------------------------- what is held, and logs


@pytest.mark.parametrize("status", list(Status))
def test_holding_an_attempt_brings_back_a_task_that_was_given_up(status: Status) -> None:
    """Only from unknown, and only by the same execution; its reason and message go."""
    found = on_renewal(task(status, "x"), Held(task=ID, attempt=2, execution="x"), WORKER, 30)

    if status is Status.UNKNOWN:
        assert found is not None
        assert found.change is Change.RESUME
        assert (found.guard.attempt, found.guard.execution) == (2, "x")
        assert found.guard.statuses == {Status.UNKNOWN}
        assert found.fields == {
            "reason": None, "message": None, "message_code": None, "message_arguments": None,
            "lease_until": Later(30),
        }  # fmt: skip
    else:
        assert found is None


@pytest.mark.parametrize("sender", [Sender(worker="w2", session="s"), Sender(attempt=f"{ID}-1"), Sender(attempt="o-2")])
def test_nobody_else_brings_back_a_task_that_was_given_up(sender: Sender) -> None:
    """Neither another worker, nor an agent of another attempt, whatever they know of it."""
    held = Held(task=ID, attempt=2, execution="x")

    assert on_renewal(task(Status.UNKNOWN, "x"), held, sender, 30) is None
    assert on_renewal(task(Status.UNKNOWN, "x"), held, Sender(attempt=f"{ID}-2"), 30) is not None


def test_an_earlier_attempt_and_no_task_are_not_brought_back() -> None:
    """What is held is not the current attempt, or of no task."""
    earlier = Held(task=ID, attempt=1, execution="x")

    assert on_renewal(task(Status.UNKNOWN, "x"), earlier, WORKER, 30) is None
    assert on_renewal(None, earlier, WORKER, 30) is None


def chunk(sequence: int, data: bytes, offset: int = 0, *, system: bool = False) -> LogChunk:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return LogChunk(**SAME, sequence=sequence, offset_bytes=offset, data=data, at=at, system=system)


def test_a_chunk_is_taken_from_whoever_has_the_attempt() -> None:
    standing = task(Status.RUNNING)

    assert on_chunk(standing, chunk(0, b"x"), WORKER, 10) is ACCEPTED
    assert on_chunk(standing, chunk(0, b"x"), Sender(worker="w2"), 10).reason == "NotYours"
    assert on_chunk(None, chunk(0, b"x"), WORKER, 10).reason == "NoSuchTask"


def test_a_chunk_beyond_the_limit_is_refused() -> None:
    """The limit, and some room for what the agent itself has to say at the end."""
    standing, last = task(Status.RUNNING), 10 + LOG_SLACK_BYTES

    assert on_chunk(standing, chunk(9, b"x", last - 1), WORKER, 10) is ACCEPTED
    found = on_chunk(standing, chunk(9, b"x", last), WORKER, 10)
    assert (found.reason, found.message_code) == ("LogLimit", "log_limit")
    assert LOG_SLACK_BYTES == 128 * 1024


def test_chunks_say_how_long_the_log_is_and_how_it_ends() -> None:
    """In the order of their numbers; what keruta itself says is none of the last lines."""
    chunks = [chunk(2, b"c", 20), chunk(1, b"b", 10), chunk(3, b"said", 21, system=True), chunk(1, b"B", 10)]

    assert summary_of(chunks) == LogSummary(next_sequence=4, size_bytes=25, tail=b"Bc")
    assert summary_of([]) is None
    assert summary_of([chunk(0, b"x" * 5000)]) == LogSummary(next_sequence=1, size_bytes=5000, tail=b"x" * 4096)


def test_a_message_with_a_code_is_stored_with_its_code() -> None:
    """And with its arguments, so that it can be said in another language."""
    entry = Ended(
        **SAME, status="failed", execution="x", reason="ScriptFailed", message="old words",
        message_code="script_timeout", message_arguments={"seconds": 9},
    )  # fmt: skip

    found = decided(task(Status.RUNNING), entry)

    assert found.attempt["message_code"] == found.fields["message_code"] == "script_timeout"
    assert found.attempt["message_arguments"] == {"seconds": 9}
    assert isinstance(entry.said, Message)


def test_an_outcome_says_whether_an_entry_was_accepted() -> None:
    assert (ACCEPTED.accepted, ACCEPTED.repeat) == (True, False)
    assert (REPEAT.accepted, REPEAT.repeat) == (True, True)


def test_a_refusal_names_the_attempts_own_end_before_the_tasks() -> None:
    """An attempt that failed, of a task that was cancelled later."""
    attempt = Attempt(number=2, id=f"{ID}-2", worker="w1", execution="x", outcome="failed")

    found = on_report(
        task(Status.CANCELLED, attempt=attempt), Ended(**SAME, execution="x", status="succeeded"), WORKER, CALM
    )

    assert isinstance(found, Outcome)
    assert found.message == "This attempt is on record as failed."


def test_what_was_left_is_kept_by_an_end_that_another_tells() -> None:
    """The agent in a Pod has kept it; the worker, which tells the end, knows nothing of it."""
    left = Left(**SAME, execution="x", artifacts=[Artifact(path="p", size_bytes=1, sha256="h")], outputs={"a": "b"})

    found = decided(task(Status.RUNNING), left)
    end = decided(task(Status.RUNNING), Ended(**SAME, execution="x", status="failed", reason="OutOfMemory"))

    assert (found.change, found.fields) == (None, {})
    assert found.attempt == {
        "artifacts": [{"path": "p", "size_bytes": 1, "sha256": "h"}], "outputs": {"a": "b"}, "usage": {},
    }  # fmt: skip
    assert end.attempt["artifacts"] == Kept("attempt.artifacts", [])
    assert end.attempt["outputs"] == Kept("attempt.outputs", {})


@pytest.mark.parametrize("status", ENDED)
def test_what_was_left_changes_no_attempt_that_has_ended(status: Status) -> None:
    assert refusal(task(status), Left(**SAME, execution="x")) == ("AlreadyEnded", "attempt_on_record")
