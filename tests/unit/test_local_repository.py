"""The repository that a directory is in, as `keruta run --repo .` finds it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from keruta.cli import commands
from keruta.cli.commands import _task
from keruta.cli.local_repository import repository_of

NONE: dict[str, Any] = dict.fromkeys(
    ("ref", "submodules", "script", "check", "prompt", "name", "queue", "profile", "result_branch", "if_exists",
     "priority", "timeout", "retry", "depth", "tags", "provenance")
)  # fmt: skip


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    top = tmp_path / "a b"
    run(tmp_path, "init", "-q", str(top))
    (top / "sub" / "deep").mkdir(parents=True)
    run(top, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "first")
    return top


def run(directory: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=directory, check=True, capture_output=True)


@pytest.mark.parametrize("within", [".", "sub", "sub/deep", ".git", ".git/refs"])
def test_a_directory_in_a_repository_is_that_repository(repository: Path, within: str) -> None:
    assert repository_of(repository / within) == repository


@pytest.mark.parametrize("kind", ["worktree", "bare"])
def test_a_linked_working_tree_and_a_bare_repository_are_repositories(repository: Path, kind: str) -> None:
    top = repository / "sub" / "other"
    if kind == "worktree":
        run(repository, "worktree", "add", "-q", str(top))
        (top / "inner").mkdir()
        assert repository_of(top / "inner") == top
    else:
        run(repository, "clone", "-q", "--bare", ".", str(top))
        assert repository_of(top / "refs") == top


def test_a_directory_in_no_repository(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()  # empty: Git does not take it either
    assert repository_of(tmp_path) is None


def test_the_environment_of_git_does_not_count(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a hook has it, in which `keruta run` may be called."""
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert repository_of(repository / "sub") == repository


def test_a_task_in_a_subdirectory_names_the_repository(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--repo .`, a path and a path through a link are one repository's address."""
    monkeypatch.chdir(repository / "sub")
    (repository.parent / "link").symlink_to(repository / "sub")

    for given in (".", "..", "./deep", str(repository.parent / "link")):
        task = _task(("true",), {**NONE, "repo": given, "document": (), "env": (), "label": ()})
        assert task["repository"] == {"url": repository.as_uri()}


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        (["--depth", "50"], {"depth": 50}),
        (["--depth", "full", "--no-tags"], {"depth": "full", "tags": False}),
        (["--tags"], {"tags": True}),
        ([], {}),
    ],
)
def test_how_much_history_a_task_asks_for(
    monkeypatch: pytest.MonkeyPatch, given: list[str], asked: dict[str, object]
) -> None:
    """What is not said is left to the repository and the profile."""
    sent: list[dict[str, Any]] = []

    class Sending:
        def submit(self, task: dict[str, Any], **_: object) -> Any:
            sent.append(task)
            raise SystemExit

    monkeypatch.setattr(commands, "connect", Sending)
    with pytest.raises(SystemExit):
        commands.cli(["run", "--repo", "app", *given, "--", "true"])

    assert [task["repository"] for task in sent] == [{"name": "app", **asked}]
