"""Ids, times and several tasks on the command line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner

from keruta.cli import output, progress, task_ids, tasks
from keruta.cli.commands import cli
from keruta.client import ApiError

NEWER, OLDER, OTHER = "01jz2a3bcdefghjkmnpqrstvwx", "01jz2a3bzzzzzzzzzzzzzzzzzz", "01jz9999999999999999999999"


def _task(identity: str, status: str = "succeeded", code: int | None = 0) -> Any:
    return SimpleNamespace(
        id=identity, status=status, name=None, message=None, exit_code=code,
        repository=SimpleNamespace(url="https://example.com/a.git", name=None),
    )  # fmt: skip


class FakeClient:
    """Has three tasks, the caller's two of them, and notes what it is asked."""

    address = "https://keruta.example.com/"

    def __init__(self, ends: dict[str, list[tuple[str, int | None]]] | None = None) -> None:
        self.all = [NEWER, OLDER, OTHER]
        self.asked: list[dict[str, Any]] = []
        self.ends = ends or {}

    def me(self) -> Any:
        return SimpleNamespace(name="ann")

    def tasks(self, **filters: Any) -> Any:
        self.asked.append(filters)
        found = [one for one in self.all if (filters.get("q") or "") in one]
        return SimpleNamespace(items=[_task(one) for one in found][: filters.get("limit", 20)], next=None)

    def task(self, identity: str) -> Any:
        ends = self.ends.get(identity, [("succeeded", 0)])
        return _task(identity, *(ends.pop(0) if len(ends) > 1 else ends[0]))

    def cancel(self, identity: str) -> Any:
        if identity == OTHER:
            raise ApiError("The task has ended.", status=409, reason="TaskEnded")
        return _task(identity, "cancelled")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def run(client: FakeClient, *arguments: str) -> Any:
        for module in (tasks, progress):
            monkeypatch.setattr(module, "connect", lambda: client)
        monkeypatch.setattr("time.sleep", lambda _: None)
        return CliRunner().invoke(cli, arguments)

    return run


@pytest.mark.parametrize(
    ("given", "found"),
    [("last", NEWER), (NEWER, NEWER), (NEWER[:12], NEWER), (NEWER[:12].upper(), NEWER), (OTHER[:5], OTHER)],
)
def test_a_task_is_found_by_the_beginning_of_its_id_or_as_the_last_one(given: str, found: str) -> None:
    client: Any = FakeClient()

    assert task_ids.find(client, given) == found
    if given == "last":
        assert client.asked == [{"owner": "ann", "limit": 1}]


@pytest.mark.parametrize("given", ["abc", "../users", "01jz_", "", "ledger!"])
def test_what_is_no_beginning_of_an_id_is_left_to_the_server(given: str) -> None:
    client: Any = FakeClient()

    assert task_ids.find(client, given) == given
    assert client.asked == []


def test_a_beginning_that_several_ids_share_names_them() -> None:
    client: Any = FakeClient()

    with pytest.raises(click.ClickException, match=f"(?s)type more of it.*{NEWER}.*{OLDER}"):
        task_ids.find(client, NEWER[:8])


def test_a_beginning_without_a_task_and_a_last_task_that_there_is_not_are_told() -> None:
    client: Any = FakeClient()
    client.all = []

    for given, said in (("zzzz", "no task's id begins with zzzz"), ("last", "you have no task yet")):
        with pytest.raises(click.ClickException, match=said):
            task_ids.find(client, given)


def test_several_tasks_are_cancelled_though_one_is_refused(run: Callable[..., Any]) -> None:
    done = run(FakeClient(), "cancel", NEWER, OTHER, OLDER)

    assert done.exit_code == 1
    assert done.stdout.splitlines() == [f"{NEWER}  cancelled", f"{OLDER}  cancelled"]
    assert f"{OTHER}: The task has ended." in done.stderr


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        ({}, 0),
        ({NEWER: [("running", None), ("running", None), ("succeeded", 0)]}, 0),
        ({OLDER: [("failed", 7)]}, 7),
        ({OLDER: [("cancelled", None)]}, 1),
    ],
)
def test_wait_ends_when_all_have_ended_with_the_first_code_that_is_not_0(
    ends: dict[str, list[tuple[str, int | None]]], code: int, run: Callable[..., Any]
) -> None:
    done = run(FakeClient(ends), "wait", NEWER, OLDER)

    assert done.exit_code == code
    assert len(done.stdout.splitlines()) == 2


def test_wait_gives_up_after_its_time(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(100))
    monkeypatch.setattr("time.monotonic", lambda: float(next(now)))

    done = run(FakeClient({NEWER: [("running", None)]}), "wait", NEWER, "--timeout", "3")

    assert done.exit_code == 124
    assert "has not ended within 3 seconds" in done.stderr


def test_list_takes_all_filters_together(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "page", lambda *_, **__: None)
    client = FakeClient()

    done = run(
        client, "list", "--mine", "-q", "led", "--since", "2h", "--label", "a=b", "--status", "failed", "--queue", "q"
    )

    assert done.exit_code == 0, done.output
    (asked,) = client.asked
    since = datetime.fromisoformat(asked.pop("since"))
    assert abs(datetime.now(UTC) - since - timedelta(hours=2)) < timedelta(minutes=1)
    assert {name: value for name, value in asked.items() if value is not None} == {
        "owner": "ann", "q": "led", "label": "a=b", "status": "failed", "queue": "q", "limit": 20,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "good"),
    [("3d", True), ("90min", True), ("2026-11-01", True), ("2026-11-01T09:00+09:00", True), ("yesterday", False),
     ("2 h", False), ("-1h", False), ("9999999d", False), ("999999w", False)],
)  # fmt: skip
def test_since_takes_spans_and_times(
    value: str, good: bool, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "page", lambda *_, **__: None)
    done = run(FakeClient(), "list", "--since", value)

    assert done.exit_code == (0 if good else 2), done.output


def test_mine_and_an_owner_exclude_each_other(run: Callable[..., Any]) -> None:
    assert run(FakeClient(), "list", "--mine", "--owner", "bob").exit_code == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_installed_where_the_shell_looks(
    shell: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)

    printed = CliRunner().invoke(cli, ["completion", shell])
    done = CliRunner().invoke(cli, ["completion", shell, "--install"])

    (file,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert done.exit_code == 0, done.output
    assert file.read_text().strip() == printed.stdout.strip()
    assert "_KERUTA_COMPLETE" in printed.stdout
