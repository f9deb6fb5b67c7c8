"""Which tasks are runs of the same, and since when they fail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from keruta.domain.same_runs import failing_since, same_facet
from keruta.domain.task import Origin, RepositoryRef, TaskSummary

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def facet(**changes: Any) -> str:
    given: dict[str, Any] = {
        "trigger": None, "repository": "https://example.com/a.git", "name": "build", "script": "make", "command": None,
        "prompt": None,
    }  # fmt: skip
    return same_facet(**{**given, **changes})


def test_another_repository_name_or_script_is_another_task() -> None:
    changes: list[dict[str, Any]] = [
        {}, {"repository": "https://example.com/b.git"}, {"name": None}, {"script": "make test"},
        {"script": None, "command": ["make"]}, {"script": None, "prompt": "make"},
    ]  # fmt: skip
    assert len({facet(**one) for one in changes}) == len(changes)
    assert facet() == facet()


def test_what_one_trigger_started_is_the_same_whatever_it_runs() -> None:
    origin = Origin(trigger="nightly", event="schedule")
    other = Origin(trigger="weekly", event="schedule")
    assert facet(trigger=origin) == facet(trigger=origin, script="other", name="x")
    assert facet(trigger=origin) != facet(trigger=other)


def run(status: str, number: int) -> TaskSummary:
    return TaskSummary(
        id=str(number), status=status, name=None, owner="ann", queue="default", priority=0, labels={},  # type: ignore[arg-type]
        repository=RepositoryRef(url="x"), profile="shell", created_at=NOW + timedelta(hours=number), changed_at=NOW,
    )  # fmt: skip


def test_runs_fail_since_the_first_after_the_last_success() -> None:
    older = [run("cancelled", 4), run("failed", 3), run("running", 2), run("failed", 1), run("succeeded", 0)]
    found = failing_since(run("failed", 5), older)
    assert found is not None
    assert (found.count, found.first, found.good) == (3, "1", "0")


def test_without_a_known_success_the_first_known_failure_counts() -> None:
    found = failing_since(run("failed", 5), [run("failed", 4)])
    assert found is not None
    assert (found.count, found.first, found.good) == (2, "4", None)
    assert failing_since(run("succeeded", 5), [run("failed", 4)]) is None
