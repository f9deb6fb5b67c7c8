"""Why a task waits, by the same limits and counts as the plan."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keruta.domain.catalog.circuits import CircuitView
from keruta.domain.lifecycle import Status
from keruta.domain.scheduling import Candidate, Lane, Limits, Running, bounds, make_plan, room
from keruta.domain.waiting import Pause, Surroundings, why_not_assigned, why_not_claimed

LANE = Lane(queue="q", submitter="ann", repository="app", profile="shell")
NOON = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def said(**more: Any) -> str:
    fields: dict[str, Any] = {"lane": LANE, "running": Running({}), "limits": Limits(), "slots": [2]}
    return why_not_assigned(Surroundings(**fields | more)).text


def circuit(kind: Any, **more: Any) -> CircuitView:
    fields: dict[str, Any] = {
        "id": "c", "kind": kind, "name": "app", "open": True, "failures": 3, "reason": "CloneFailed",
        "message": "It was away.", "last_task": "t", "probe_at": NOON,
    }  # fmt: skip
    return CircuitView(**fields | more)


@pytest.mark.parametrize(
    ("status", "not_before", "held", "code"),
    [
        (Status.UNKNOWN, None, False, "waiting_unknown"),
        (Status.SUSPENDED, None, False, "waiting_suspended"),
        (Status.QUEUED, NOON, False, "waiting_backoff"),
        (Status.QUEUED, None, True, "waiting_last_attempt"),
        (Status.QUEUED, None, False, "waiting_for_assignment"),
    ],
)
def test_a_task_that_may_not_be_assigned(status: Status, not_before: datetime | None, held: bool, code: str) -> None:
    assert why_not_claimed(status, "CloneFailed", not_before, last_attempt_held=held).code == code


def test_a_backoff_says_why_and_until_when() -> None:
    text = why_not_claimed(Status.QUEUED, "CloneFailed", NOON, last_attempt_held=False).text

    assert "12:00:00 UTC" in text


@pytest.mark.parametrize(
    ("slots", "text"),
    [
        ([], "There is no worker; start one, or find out why it does not register."),
        ([None, None], "Every worker is being drained, so none takes new tasks."),
        ([2, None, 3], "All 5 slots of 3 workers are in use or about to be."),
    ],
)
def test_no_slot_is_free(slots: list[int | None], text: str) -> None:
    assert said(slots=slots) == text


@pytest.mark.parametrize(
    ("free", "position", "code"),
    [
        (0, 0, "waiting_for_slot"),
        (1, 0, "waiting_for_assignment"),
        (1, 1, "waiting_for_slot"),
        (-1, 0, "waiting_for_slot"),
    ],
)
def test_slots_are_said_to_be_in_use_only_where_they_are(free: int, position: int, code: str) -> None:
    """A task for which a slot is free is about to be assigned; one behind as many others is not."""
    around = Surroundings(lane=LANE, running=Running({}), limits=Limits(), slots=[2], free=free)

    assert why_not_assigned(around, position).code == code


@pytest.mark.parametrize("kind", ["queue", "repository", "profile"])
def test_a_limit_is_said_when_it_is_reached(kind: str) -> None:
    """With how many run: those that the plan counts."""
    field, name = {"queue": ("queues", "q"), "repository": ("repositories", "app"), "profile": ("profiles", "shell")}[
        kind
    ]
    limits = Limits(**{field: {name: 2}})

    assert "in use" in said(limits=limits, running=Running({LANE: 1}))
    text = said(limits=limits, running=Running({LANE: 2}))
    assert text == f"Its {kind} runs at most 2 tasks at once, and 2 are running."


def test_others_words_are_left_out() -> None:
    """Of a pause or a circuit whose words the reader may not read, only that it holds the task back is said."""
    paused = said(limits=Limits(queues={"q": 0}), pause=Pause())
    failing = circuit("repository", message="", last_task="")
    broken = said(limits=Limits(repositories={"app": 0}), circuits=[failing])

    assert paused == "The queue q is paused."
    assert broken.startswith("The repository app failed 3 times in a row (")
    assert "). One task is tried at" in broken


def test_a_pause_is_said_with_who_and_why() -> None:
    """Also without a worker: the pause is what holds it back."""
    text = said(limits=Limits(queues={"q": 0}), pause=Pause(by="bob", reason="the release"), slots=[])

    assert text == "The queue q was paused by bob: the release"


def test_the_pause_of_a_queue_does_not_explain_another_limit() -> None:
    limits = Limits(repositories={"app": 0})

    assert said(limits=limits, pause=Pause(by="bob", reason="x")).startswith("Its repository runs")


def test_an_open_circuit_is_said_with_what_failed_and_when_it_is_tried() -> None:
    text = said(limits=Limits(repositories={"app": 0}), circuits=[circuit("queue"), circuit("repository")])

    assert text.startswith("The repository app failed 3 times in a row (")
    assert "It was away." in text
    assert "12:00:00 UTC" in text
    assert "–" in said(limits=Limits(repositories={"app": 0}), circuits=[circuit("repository", probe_at=None)])


def test_a_message_of_a_circuit_can_be_said_in_another_language() -> None:
    stored = {"message_code": "script_timeout", "message_arguments": {"seconds": 9}}
    around = Surroundings(
        lane=LANE, running=Running({}), limits=Limits(profiles={"shell": 0}), circuits=[circuit("profile", **stored)]
    )

    argument = why_not_assigned(around).arguments["message"]

    assert getattr(argument, "code", None) == "script_timeout"


@given(
    limit=st.one_of(st.none(), st.integers(0, 3)),
    repository=st.one_of(st.none(), st.integers(0, 3)),
    running=st.integers(0, 4),
)
def test_what_the_plan_passes_over_is_what_is_explained(
    limit: int | None, repository: int | None, running: int
) -> None:
    """A lane is said to be held back exactly when the plan assigns nothing of it."""
    limits = Limits(
        queues={} if limit is None else {"q": limit}, repositories={} if repository is None else {"app": repository}
    )
    plan = make_plan({LANE: [Candidate(rank=0, id="t")]}, {"w": 1}, Running({LANE: running}), limits)

    text = said(limits=limits, running=Running({LANE: running}))

    assert bool(plan) == ("in use or about to be" in text)


def test_room_is_the_least_of_all_bounds() -> None:
    limits = Limits(queues={"q": 5}, repositories={"app": 3}, profiles={"shell": 4})

    assert [(bound.kind, bound.room) for bound in bounds(LANE, Running({LANE: 1}), limits)] == [
        ("queue", 4), ("repository", 2), ("profile", 3),
    ]  # fmt: skip
    assert room(LANE, Running({LANE: 1}), limits) == 2
    assert room(LANE, Running({LANE: 1}), Limits()) == float("inf")
