"""How much of what an attempt left its task's document lists."""

from __future__ import annotations

import pytest

from keruta.domain.decisions.commands import INPUTS_LIMIT, Input, Push, Rerun, on_command
from keruta.domain.decisions.ends import Circumstances
from keruta.domain.decisions.reports import on_report
from keruta.domain.decisions.room import ATTEMPT_BYTES, FULL_BYTES, ROOM_BYTES, listed
from keruta.domain.decisions.values import Attempt, Decision, Standing
from keruta.domain.lifecycle import Status
from keruta.domain.messages import read_message
from keruta.domain.principal import Principal, Sender
from keruta.domain.reports import KEPT_WORK, Left, Outcome, Pushing
from keruta.domain.task import Artifact
from keruta.errors import Conflict

ID = "t" * 26
ANN = Principal(subject="ann", name="Ann")


def left(files: int = 10, outputs: int = 2, length: int = 1000) -> Left:
    """Return an entry with a script's files, and those that keruta put beside them."""
    named = [*(f"{n}-{'あ' * 40}" for n in range(files)), KEPT_WORK, "log.gz"]
    artifacts = [Artifact(path=name, size_bytes=1, sha256="0" * 64) for name in named]
    return Left(
        task=ID, attempt=1, execution="x", artifacts=artifacts, outputs={f"o{n}": "a" * length for n in range(outputs)}
    )


def standing(status: Status, size_bytes: int, inputs: int = 0) -> Standing:
    attempt = Attempt(number=1, id=f"{ID}-1", worker="w", execution="x")
    return Standing(
        id=ID, status=status, attempt=attempt, readers=["user:ann"], managers=["user:ann"], size_bytes=size_bytes,
        inputs=inputs, work_kept_by=1,
    )  # fmt: skip


def test_everything_is_listed_where_there_is_room() -> None:
    """A usual task is told of as it is."""
    entry = left()

    shown = listed(entry, 100_000)

    assert (shown.outputs, shown.artifacts, shown.said) == (entry.outputs, entry.artifacts, [])


def test_a_full_document_lists_keruta_s_own_files_and_says_what_is_missing() -> None:
    """The kept work and the log are found whatever else there is."""
    shown = listed(left(), ROOM_BYTES + 5)

    assert [one.path for one in shown.artifacts] == [KEPT_WORK, "log.gz"]
    assert shown.outputs == {}
    assert [said.text for said in shown.said] == [
        "10 more files are kept with the results and not listed here: a task's record is full.",
        "2 outputs are not kept, since a task's record is full: o0, o1.",
    ]


def test_an_attempt_leaves_room_for_those_after_it() -> None:
    """An attempt gets at most half of the remaining room, and never more than its share."""
    entry = left(files=10_000, outputs=100, length=65_536)

    sizes, size = [], 0
    for _ in range(6):
        shown = listed(entry, size)
        sizes.append(sum(len(value) for value in shown.outputs.values()) + 340 * len(shown.artifacts))
        size += sizes[-1]

    assert all(given <= ATTEMPT_BYTES * 1.1 for given in sizes)
    assert size < ROOM_BYTES
    assert sizes[-1] > 50_000


@pytest.mark.parametrize("command", [Rerun(), Push()])
def test_no_attempt_is_begun_that_a_full_document_could_not_tell_of(command: Rerun | Push) -> None:
    """The person is told what to do instead."""
    assert on_command(standing(Status.FAILED, FULL_BYTES), command, ANN)

    with pytest.raises(Conflict, match="submit it anew") as refused:
        on_command(standing(Status.FAILED, FULL_BYTES + 1), command, ANN)
    assert refused.value.reason == "TaskFull"


@pytest.mark.parametrize(("size", "inputs"), [(FULL_BYTES + 1, 0), (0, INPUTS_LIMIT)])
def test_input_beyond_what_is_kept_is_refused_as_such(size: int, inputs: int) -> None:
    """The task runs, so its status is not what is wrong."""
    with pytest.raises(Conflict) as refused:
        on_command(standing(Status.RUNNING, size, inputs), Input(text="a"), ANN)
    assert refused.value.reason == "TaskFull"


def test_a_full_document_takes_no_more_notes_and_no_announcement_of_a_push() -> None:
    """Both lists grow with every report."""
    sender, calm = Sender(worker="w"), Circumstances(lease_seconds=30)
    full = standing(Status.RUNNING, FULL_BYTES + 1)
    pushing = Pushing(task=ID, attempt=1, execution="x", branch="b", commit="c")

    kept = on_report(full, Left(task=ID, attempt=1, execution="x", notes=["n"]), sender, calm)
    pushed = on_report(full, pushing, sender, calm)

    assert isinstance(kept, Decision)
    assert "notes" not in kept.attempt
    assert isinstance(pushed, Outcome)
    assert pushed.reason == "TaskFull"


def test_a_message_with_very_long_arguments_is_kept_as_its_text() -> None:
    """Arguments within arguments would be hundreds of kilobytes."""
    inner = {"code": "b", "text": "", "arguments": {f"a{n}": "x" * 1000 for n in range(20)}}

    found = read_message("said", "a", {f"a{n}": inner for n in range(20)})

    assert (found.text, found.code, found.arguments) == ("said", "", {})
