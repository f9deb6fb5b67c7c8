"""A task once more, what differs between two runs, what failed last, and tasks as they change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from keruta.cli import comparison, progress, tasks
from keruta.cli.commands import cli
from keruta.domain.catalog.caches import CacheRule
from keruta.domain.catalog.documents import DocumentRef
from keruta.domain.decode import convert
from keruta.domain.resubmission import request_of
from keruta.domain.task import (
    Artifact,
    AttemptView,
    LogView,
    RepositoryRef,
    ResultBranch,
    RetryPolicy,
    TaskRequest,
    TaskView,
)

OLD, NEW, OTHER = "01jz2a3bcdefghjkmnpqrstvwx", "01jz3a3bcdefghjkmnpqrstvwx", "01jz4a3bcdefghjkmnpqrstvwx"
AT = datetime(2026, 11, 1, tzinfo=UTC)


def attempt(number: int, outcome: str | None) -> AttemptView:
    return AttemptView(number=number, worker="w", assigned_at=AT, outcome=outcome, commit="c" * 40)


def task(identity: str = OLD, **fields: Any) -> TaskView:
    made = TaskView(
        id=identity, status="succeeded", name="nightly", owner="ann", queue="default", priority=0, labels={},
        repository=RepositoryRef(url="https://example.com/a.git"), profile="plain", documents=[], retry=RetryPolicy(),
        timeout_seconds=60, created_at=AT, changed_at=AT, started_at=AT, ended_at=AT + timedelta(seconds=3),
        script="make test\n", attempts=[attempt(1, "succeeded")], log=LogView(bytes=9),
    )  # fmt: skip
    return msgspec.structs.replace(made, **fields)


class FakeClient:
    """Has tasks with logs, and notes what is submitted."""

    address = "https://keruta.example.com"

    def __init__(self, *tasks: TaskView, logs: dict[str, bytes] | None = None) -> None:
        self.all = {one.id: one for one in tasks}
        self.logs_of = logs or {}
        self.submitted: list[Any] = []
        self.asked: list[tuple[str, int | None]] = []

    def me(self) -> Any:
        return type("Me", (), {"name": "ann"})

    def task(self, identity: str) -> TaskView:
        return self.all[identity]

    def tasks(self, **filters: Any) -> Any:
        found = [
            one for one in sorted(self.all.values(), key=lambda one: one.created_at, reverse=True)
            if filters.get("status") in (None, one.status)
            and ("until" not in filters or one.created_at <= datetime.fromisoformat(filters["until"]))
            and (filters.get("q") or "") in one.id
        ]  # fmt: skip
        return type("Page", (), {"items": found, "next": None})

    def submit(self, request: Any) -> TaskView:
        self.submitted.append(request)
        return task(OTHER)

    def logs(self, identity: str, *, kind: str = "text/plain", attempt: int | None = None) -> Iterator[bytes]:
        self.asked.append((identity, attempt))
        yield self.logs_of.get(identity, b"")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def run(client: FakeClient, *arguments: str) -> Any:
        for module in (tasks, comparison, progress):
            monkeypatch.setattr(module, "connect", lambda: client)
        monkeypatch.setattr("time.sleep", lambda _: None)
        return CliRunner().invoke(cli, arguments)

    return run


FULL = task(
    name="夜間", script=None, prompt="Fix it", check="true\n", env={"A": "1"}, labels={"a": "b", "continues": OTHER},
    repository=RepositoryRef(
        url="https://example.com/a.git", name="a", ref="main", submodules=True, depth="full", tags=True, paths=("x",)
    ),
    retry=RetryPolicy(policy="always", max_attempts=5), result=ResultBranch(branch="fix", if_exists="suffix"),
    result_branch="fix", provenance=True, priority=7, timeout_seconds=99, queue="night", profile="claude",
    cache=[CacheRule(paths=["~/.npm"], key=["package-lock.json"])],
)  # fmt: skip


@pytest.mark.parametrize(
    "original",
    [task(), FULL, task(without_secrets=True), task(script=None, command=["make", "test"], result_branch="r")],
)
def test_the_request_of_a_task_asks_for_the_same(original: TaskView) -> None:
    """Every field that a request can have is as it was, and the API takes it."""
    made, faults = convert(request_of(original), TaskRequest)

    assert faults == []
    assert made is not None
    for field in ("script", "command", "prompt", "check", "name", "queue", "profile", "priority", "env", "retry"):
        assert getattr(made, field) == getattr(original, field), field
    assert made.timeout_seconds == original.timeout_seconds
    assert made.labels == {key: value for key, value in original.labels.items() if key != "continues"}
    assert bool(made.provenance) == original.provenance
    assert made.cache == original.cache
    assert made.without_secrets == original.without_secrets
    wanted = made.wanted_result
    assert (wanted.branch if wanted is not None else None) == original.result_branch
    assert not isinstance(made.repository, str)
    asked, known = made.repository, original.repository
    assert (asked.name, asked.ref, asked.submodules or False, asked.depth or 1, asked.tags or False) == (
        known.name, known.ref, known.submodules, known.depth, known.tags,
    )  # fmt: skip
    assert tuple(asked.paths or ()) == known.paths
    covered = {"repository", "result", "result_branch", "labels", "documents", "timeout_seconds"}
    covered |= {"provenance", "cache", "without_secrets"}
    covered |= {"script", "command", "prompt", "check", "name", "queue", "profile", "priority", "env", "retry"}
    assert covered == set(TaskRequest.__struct_fields__)  # a new field of the API belongs here, too


def test_documents_are_asked_for_by_name() -> None:
    original = task(documents=[DocumentRef(name="guide", title="Guide", version=3)])

    assert request_of(original)["documents"] == ["guide"]


def test_rerun_submits_each_task_as_a_new_one(run: Callable[..., Any]) -> None:
    client = FakeClient(task(OLD), task(NEW, name="other"))

    done = run(client, "rerun", OLD, NEW)

    assert done.exit_code == 0, done.exception
    assert [one["name"] for one in client.submitted] == ["nightly", "other"]
    assert done.stdout.split() == [OTHER, OTHER]


def test_diff_shows_each_part_that_differs_from_the_run_before(run: Callable[..., Any]) -> None:
    artifact = Artifact(path="report\x1b.html", size_bytes=3, sha256="a" * 64)
    later = task(
        NEW, status="failed", reason="ScriptFailed", exit_code=2, script="make check\n",
        created_at=AT + timedelta(days=1), outputs={"passed": "8"}, artifacts=[artifact],
    )  # fmt: skip
    between = task(OTHER, name="another", created_at=AT + timedelta(hours=1))
    client = FakeClient(
        task(outputs={"passed": "9"}), between, later, logs={OLD: b"same\nok\n", NEW: b"same\nbroken \x1b[31m\n"}
    )

    done = run(client, "diff", NEW)

    assert done.exit_code == 0, done.exception
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"--- {OLD}  succeeded")
    assert lines[1].startswith(f"+++ {NEW}  failed (ScriptFailed)")
    for part in ("settings", "end", "outputs", "artifacts", "log"):
        assert part in lines
    for line in ("-  make test", "+  make check", "+exit code: 2", "-passed: 9", "+passed: 8", "-ok", " same"):
        assert line in lines
    assert "\x1b" not in done.stdout


def test_diff_of_equal_runs_says_so_and_json_has_one_document_for_each_part(run: Callable[..., Any]) -> None:
    client = FakeClient(task(OLD), task(NEW), task(OTHER, exit_code=3))

    same, different = run(client, "diff", OLD, NEW), run(client, "diff", OLD, OTHER, "--json")

    assert "no difference" in same.stderr
    (one,) = [msgspec.json.decode(line) for line in different.stdout.splitlines()]
    assert one["part"] == "end"
    assert {"sign": "+", "text": "exit code: 3"} in one["lines"]


def test_diff_without_an_earlier_run_says_what_to_do(run: Callable[..., Any]) -> None:
    done = run(FakeClient(task(OLD)), "diff", OLD)

    assert done.exit_code == 1
    assert "name the other task, too" in done.stderr


def test_the_log_of_what_failed_last_is_the_newest_failed_attempt_s(run: Callable[..., Any]) -> None:
    failed = task(NEW, status="failed", attempts=[attempt(1, "lost"), attempt(2, "failed")])
    client = FakeClient(task(OLD), failed, logs={NEW: b"boom\n"})

    done = run(client, "logs", "--failed")

    assert done.stdout == "boom\n"
    assert client.asked == [(NEW, 2)]


def test_a_succeeded_task_s_failed_attempt_has_its_log_and_others_are_told(run: Callable[..., Any]) -> None:
    client = FakeClient(task(OLD, attempts=[attempt(1, "failed"), attempt(2, "succeeded")]), task(NEW))

    assert run(client, "logs", OLD, "--failed").exit_code == 0
    assert client.asked == [(OLD, 1)]
    assert "no attempt" in run(client, "logs", NEW, "--failed").stderr
    assert "none of your tasks has failed" in run(client, "logs", "--failed").stderr
    assert run(client, "logs").exit_code == 2
    assert run(client, "logs", OLD, "--failed", "--follow").exit_code == 2


def test_watch_writes_a_line_for_each_change_until_all_have_ended(run: Callable[..., Any]) -> None:
    class Changing(FakeClient):
        looks = 0

        def task(self, identity: str) -> TaskView:
            self.looks += 1
            return task(identity, status="running" if self.looks < 4 else "succeeded")

    done = run(Changing(task(OLD), task(NEW)), "watch", OLD, NEW)

    assert done.stdout.splitlines() == [
        f"{OLD}  running", f"{NEW}  running", f"{NEW}  succeeded", f"{OLD}  succeeded",
    ]  # fmt: skip


def test_watch_without_an_open_task_says_so(run: Callable[..., Any]) -> None:
    class NoneOpen(FakeClient):
        def tasks(self, **filters: Any) -> Any:
            assert (filters["owner"], filters["status"]) == ("ann", "open")
            return type("Page", (), {"items": [], "next": None})

    assert "no tasks" in run(NoneOpen(), "watch").stderr
