"""The contract of every `keruta.ports.TaskStore`. The one in memory and the one on MongoDB run the same tests.

A subclass gives `stored`: a store, and how a test puts a task's document there and reads it again.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from keruta.domain.decisions.assignment import on_assign
from keruta.domain.decisions.commands import Accept, Cancel, Input, Push, Rerun, on_command, on_resource_deleted
from keruta.domain.decisions.ends import Circumstances
from keruta.domain.decisions.leases import on_lease_expired, on_unanswered
from keruta.domain.decisions.reports import on_renewal, on_report
from keruta.domain.decisions.room import FULL_BYTES
from keruta.domain.decisions.values import NOW, UNCHECKED, Counted, Decision, Guard, Kept, Later, LogSummary, Standing
from keruta.domain.lifecycle import ENDED, LEASED, NOT_STARTED, Change, Status, sources, target
from keruta.domain.messages import message
from keruta.domain.principal import Principal, Sender
from keruta.domain.reports import (
    AnyEntry,
    Ended,
    Held,
    ImageSeen,
    Left,
    Lost,
    Preparing,
    Pushing,
    Resumed,
    Running,
    ScriptEnded,
    Suspended,
    Waiting,
)
from keruta.domain.specification import Granted
from keruta.domain.task import Artifact
from keruta.errors import Conflict
from keruta.ports import Document, TaskStore
from tests.support.memory import LANE, MemoryTasks, task_document

ID = "0" * 25 + "t"
ANN = Principal(subject="ann", name="Ann")
PAST = datetime(2026, 1, 2, tzinfo=UTC)
FUTURE = datetime(2126, 1, 2, tzinfo=UTC)


class Stored(msgspec.Struct, kw_only=True):
    """A store, and how its documents are put there and read."""

    store: TaskStore
    put: Callable[[Document], None]
    read: Callable[[str], Document]


def in_status(status: Status, **more: Any) -> Document:
    """A task that has come to a status in the usual way."""
    fields: dict[str, Any] = {"attempt_count": 2, "attempt": None}
    if status is Status.QUEUED:
        fields |= {"claim": LANE, "draws_on": ["queue:default"]}
    else:
        execution = None if status in NOT_STARTED else "x"
        fields["attempt"] = {"number": 2, "id": f"{ID}-2", "worker": "w1", "execution": execution, "assigned_at": PAST}
        fields["holder"] = "w1"
    if status in LEASED:
        fields["lease_until"] = PAST
    if status in ENDED:
        fields["attempt"]["outcome"] = status.value
        del fields["holder"]
    return task_document(ID, status, **fields | more)


def guarded(**guard: Any) -> Decision:
    return Decision(change=None, guard=Guard(**{"statuses": frozenset(Status), **guard}), fields={"name": "written"})


def decisions_about(task: Standing) -> Iterator[Decision]:
    """Every decision that the rules make about a task, whatever happens to it."""
    same: dict[str, Any] = {"task": ID, "attempt": 2}
    for execution in (None, "x"):
        run: dict[str, Any] = {**same, "execution": execution}
        entries: list[AnyEntry] = [
            Preparing(**same), Running(**{**run, "execution": "x"}, commit="c" * 40, notes=["a"]),
            Waiting(**run, question="?"), Resumed(**run), Lost(**run),
            Pushing(**{**run, "execution": "x"}, branch="b", commit="c" * 40),
            ScriptEnded(**{**run, "execution": "x"}, exit_code=0), ImageSeen(**same, image_id="$i"),
            *(
                Suspended(
                    **{**run, "execution": "x"}, question="$q", over=over, outputs={"a": "$b"},
                    granted=Granted(secrets={"A": "$b"}, model="m"),
                )
                for over in (False, True)
            ),
            Left(**run, outputs={"a": "b"}, notes=["kept"], usage={"cpu": 1.5}),
            Ended(**run, status="succeeded", exit_code=0, outputs={"a": "$b"}), Ended(**run, status="cancelled"),
            Ended(**run, status="failed", reason="ScriptFailed", message="no", exit_code=1, notes=["said"]),
            Ended(**run, status="failed", reason="CloneFailed", message="no"),
        ]  # fmt: skip
        for entry, now in itertools.product(entries, (0.0, 7.0)):
            made = on_report(task, entry, Sender(worker="w1"), Circumstances(lease_seconds=30, backoff_seconds=now))
            if isinstance(made, Decision):
                yield made
    for command in (Cancel(), Rerun(), Accept(), Push(branch="$b"), Input(text="$a")):
        with contextlib.suppress(Conflict):
            yield on_command(task, command, ANN)
    if task.status in LEASED:
        yield on_lease_expired(task, 30)
    yield on_unanswered(task)
    if (renewed := on_renewal(task, Held(**same, execution="x"), Sender(worker="w1"), 30)) is not None:
        yield renewed
    yield on_resource_deleted("queue", "default", ANN)
    yield on_assign("w2", 30)


class TaskStoreContract:
    """The tests of a task store."""

    def test_a_document_holds_the_results_of_any_number_of_attempts(self, stored: Stored) -> None:
        """Each leaves as much as a report can tell; MongoDB takes no document of more than 16 MiB."""
        file = "a" * 400
        left: dict[str, Any] = {
            "outputs": {f"o{n}": "x" * 60_000 for n in range(60)},
            "artifacts": [Artifact(path=f"{n}{file}", size_bytes=1, sha256="0" * 64) for n in range(8000)],
        }
        stored.put(in_status(Status.QUEUED, claim=LANE, attempt_count=0))
        sender = Sender(worker="w1")
        now = Circumstances(lease_seconds=30)

        for number in range(1, 9):
            assert stored.store.write(ID, on_assign("w1", 30))
            same: dict[str, Any] = {"task": ID, "attempt": number, "execution": "x"}
            for entry in (Running(**same), Left(**same, **left), Ended(**same, status="failed", **left)):
                task = stored.store.standing(ID)
                made = on_report(task, entry, sender, now)
                assert isinstance(made, Decision)
                assert stored.store.write(ID, made)
            task = stored.store.standing(ID)
            assert task is not None
            assert task.size_bytes < FULL_BYTES
            assert stored.store.write(ID, on_command(task, Rerun(), ANN))

        attempts = stored.read(ID)["past_attempts"]
        assert len(attempts) == 8
        assert all(one["outputs"] and one["notes"] for one in attempts)

    def test_a_task_stands_as_its_document_says(self, stored: Stored) -> None:
        """And one that is not there, or that the names may not see, is none."""
        stored.put(in_status(Status.RUNNING, input=[{"number": 1, "text": "a", "at": PAST}], cancel_requested_at=PAST))

        found = stored.store.standing(ID)

        assert found is not None
        assert (found.id, found.status, found.inputs, found.cancel_requested) == (ID, Status.RUNNING, 1, True)
        assert (found.holder, found.lane, found.managers) == ("w1", LANE, ("user:ann",))
        assert found.attempt is not None
        assert (found.attempt.number, found.attempt.worker, found.attempt.execution) == (2, "w1", "x")
        assert stored.store.standing(ID, ["role:viewer"]) == found
        assert stored.store.standing(ID, ["user:bob"]) is None
        assert stored.store.standing("0" * 26) is None

    @pytest.mark.parametrize(
        ("holding", "not_holding"),
        [
            ({"statuses": frozenset({Status.RUNNING})}, {"statuses": frozenset(Status) - {Status.RUNNING}}),
            ({"attempt": 2}, {"attempt": 1}),
            ({"execution": "x"}, {"execution": "y"}),
            ({"execution": UNCHECKED}, {"execution": None}),
            ({"lease_over": False}, {"lease_over": True}),
            ({"not_cancelled": False}, {"not_cancelled": True}),
            ({"managed_by": ["user:ann"]}, {"managed_by": ["role:viewer"]}),
            ({"managed_by": ["user:ann", "x"]}, {"managed_by": []}),
            ({"fewer_inputs": 2}, {"fewer_inputs": 1}),
            ({"draws_on": "queue:a"}, {"draws_on": "queue:b"}),
            ({"claimable": False}, {"claimable": True}),
            ({"answer_late": False}, {"answer_late": True}),
        ],
    )
    def test_nothing_is_written_where_a_guard_does_not_hold(
        self, stored: Stored, holding: dict[str, Any], not_holding: dict[str, Any]
    ) -> None:
        """Each condition of a guard alone decides."""
        more = {"lease_until": FUTURE, "cancel_requested_at": PAST, "draws_on": ["queue:a"]}
        document = in_status(Status.RUNNING, input=[{"number": 1, "text": "a", "at": PAST}], **more)
        stored.put(document)

        assert stored.store.write(ID, guarded(**not_holding)) is None
        assert stored.read(ID) == document
        assert stored.store.write(ID, guarded(**holding)) is not None
        assert stored.read(ID) == {**document, "name": "written"}

    @pytest.mark.parametrize(
        ("guard", "fields"),
        [
            ({"lease_over": True}, {"lease_until": PAST}),
            ({"not_cancelled": True}, {"cancel_requested_at": None}),
            ({"claimable": True}, {"claim": LANE}),
            ({"answer_late": True}, {"answer_until": PAST}),
            ({"execution": None}, {"attempt": {"number": 2, "id": f"{ID}-2", "worker": "w1", "execution": None}}),
        ],
    )
    def test_a_guard_of_what_is_over_holds(self, stored: Stored, guard: dict[str, Any], fields: dict[str, Any]) -> None:
        """The lease, the cancellation, the claim, the execution that is none."""
        stored.put(in_status(Status.RUNNING, **fields))

        assert stored.store.write(ID, guarded(**guard)) is not None

    def test_no_task_no_write(self, stored: Stored) -> None:
        """A decision about a task that is not there writes nothing."""
        assert stored.store.write("0" * 26, guarded()) is None

    @pytest.mark.parametrize("change", list(Change))
    def test_a_change_of_status_is_told_by_an_event(self, stored: Stored, change: Change) -> None:
        """And has its place in the history, with the attempt's number."""
        status = Status(sources(change)[0])
        stored.put(in_status(status))
        guard = Guard(statuses=frozenset({status}))

        made = stored.store.write(ID, Decision(change=change, guard=guard, fields={"reason": "R"}))

        assert made is not None
        assert made.event is not None
        assert made.task.status is target(change)
        assert made.event.type == f"dev.keruta.task.{target(change)}.v1"
        assert made.event.data == {"task": ID, "status": target(change).value, "attempt": 2}
        (entry,) = made.task.history
        assert (entry.status, entry.attempt) == (target(change).value, 2)
        document = stored.read(ID)
        assert [one["id"] for one in document["outbox"]] == [made.event.id]
        assert document["changed_at"] == document["outbox_at"] == entry.at

    def test_what_is_written_without_a_change_is_told_to_nobody(self, stored: Stored) -> None:
        """The answer has the task and no event."""
        stored.put(in_status(Status.RUNNING))

        made = stored.store.write(ID, guarded())

        assert made is not None
        assert (made.change, made.event, made.task.status) == (None, None, Status.RUNNING)

    def test_values_are_computed_when_they_are_written(self, stored: Stored) -> None:
        """Now, later, kept or otherwise; and text is text, however it looks."""
        stored.put(in_status(Status.RUNNING, question="kept"))
        fields = {
            "ended_at": NOW, "not_before": Later(60), "question": Kept("question", "no"),
            "reason": Kept("nothing", "no"), "name": "$status",
        }  # fmt: skip

        stored.store.write(ID, Decision(change=None, guard=Guard(statuses=frozenset(Status)), fields=fields))

        found = stored.read(ID)
        assert found["not_before"] - found["ended_at"] == timedelta(seconds=60)
        assert (found["question"], found["reason"], found["name"]) == ("kept", "no", "$status")

    def test_a_count_begins_with_one(self, stored: Stored) -> None:
        """Whether or not the field is there."""
        stored.put(in_status(Status.RUNNING))
        decision = Decision(
            change=None, guard=Guard(statuses=frozenset(Status)), fields={"uncounted": Counted("uncounted")}
        )

        counts = [stored.store.write(ID, decision).task.uncounted for _ in range(2)]  # type: ignore[union-attr]

        assert counts == [1, 2]

    def test_an_answer_is_late_once_its_time_has_passed(self, stored: Stored) -> None:
        """Not before."""
        stored.put(in_status(Status.SUSPENDED, answer_until=FUTURE))

        assert stored.store.write(ID, guarded(answer_late=True)) is None

    def test_what_is_known_of_the_log_only_grows(self, stored: Stored) -> None:
        """A summary of earlier chunks changes nothing."""
        stored.put(in_status(Status.RUNNING))
        newer = LogSummary(next_sequence=3, size_bytes=30, tail=b"c\n")

        stored.store.write(ID, guarded(), newer)
        stored.store.write(ID, guarded(), LogSummary(next_sequence=2, size_bytes=20, tail=b"b\n"))

        assert stored.read(ID)["log"] == {"next_sequence": 3, "bytes": 30, "tail": [b"c\n"]}

    def test_queued_tasks_are_found_by_what_they_draw_on(self, stored: Stored) -> None:
        """Not those of another entry, nor those that are no longer queued."""
        stored.put(in_status(Status.QUEUED))
        stored.put({**in_status(Status.QUEUED), "_id": "1" * 26, "draws_on": ["queue:other"]})
        stored.put({**in_status(Status.ASSIGNED), "_id": "2" * 26, "draws_on": ["queue:default"]})

        assert list(stored.store.queued_drawing_on("queue:default")) == [ID]

    def test_an_unknown_worker_is_none(self, stored: Stored) -> None:
        """Nobody can be nudged by a name alone."""
        assert stored.store.worker("nobody") is None

    @pytest.mark.parametrize("policy", ["if_not_started", "always"])
    @pytest.mark.parametrize("status", list(Status))
    def test_every_decision_leaves_the_same_document_as_in_memory(
        self, stored: Stored, status: Status, policy: str
    ) -> None:
        """Whatever happens in whatever status, cancelled or not: the same is written, or nothing by both."""
        written = 0
        for asked, sent in itertools.product((None, PAST), ([], [{"number": 1, "text": "$a", "at": PAST}])):
            document = in_status(
                status, retry={"policy": policy, "max_attempts": 3}, cancel_requested_at=asked, log={"bytes": 4},
                reason="Earlier", work_kept_by=1, push={"attempt": 1}, input=sent, question="$q", **message_fields(),
                **({"answer_until": PAST} if status is Status.SUSPENDED else {}),
            )  # fmt: skip
            memory = MemoryTasks()
            memory.add(document)
            task = memory.standing(ID)
            assert task is not None
            for decision in decisions_about(task):
                memory.add(document)
                stored.put(document)
                here, there = memory.write(ID, decision), stored.store.write(ID, decision)
                assert comparable(memory.documents[ID]) == comparable(stored.read(ID)), decision
                assert (here is None) == (there is None)
                written += here is not None
        assert written or status is Status.SUCCEEDED


def message_fields() -> dict[str, Any]:
    said = message("task_missing")
    return {"message": said.text, "message_code": said.code, "message_arguments": {}}


def comparable(value: Any) -> Any:
    """A document without what differs at each write: times of writing and the identities of events."""
    if isinstance(value, dict):
        return {name: comparable(one) for name, one in value.items() if name != "id" or "status" not in value}
    if isinstance(value, list):
        return [comparable(one) for one in value]
    if isinstance(value, datetime):
        return value if value in (PAST, FUTURE) else "a time"
    return value
