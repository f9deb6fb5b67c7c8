"""Git within little memory, and the sentence when even that did not suffice."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from keruta.adapters.git import memory
from keruta.adapters.git.command import Git
from keruta.adapters.git.faults import fault
from keruta.domain.catalog.circuits import BLAMED
from keruta.domain.catalog.profiles import ProfileSpec
from keruta.domain.catalog.repositories import RepositorySpec
from keruta.domain.retry import REASONS
from keruta.errors import PhaseError


def make_git(directory: Path) -> Git:
    env = {"PATH": os.environ["PATH"], "HOME": str(directory)}
    return Git(directory, env, threading.Event(), time.monotonic() + 60)


KILLED = ["error: index-pack died of signal 9\nfatal: fetch-pack: x", "fatal: Out of memory, malloc failed"]


@pytest.mark.parametrize("said", KILLED)
def test_a_part_of_git_that_was_killed_is_no_fault_of_the_repository(said: str) -> None:
    """Its reason counts for no circuit and is not tried again with as little."""
    found = fault(said, "CloneFailed")

    assert found.reason == "AgentOutOfMemory"
    assert REASONS[found.reason].retried is False
    assert found.reason not in BLAMED


def test_git_that_was_killed_says_so(tmp_path: Path) -> None:
    git = make_git(tmp_path)

    with pytest.raises(PhaseError) as raised:
        git("-c", "alias.killed=!kill -9 $PPID", "killed")

    assert raised.value.reason == "AgentOutOfMemory"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("memory.max", "402653184\n", 402653184),
        ("memory.max", "max\n", None),
        ("memory/memory.limit_in_bytes", "402653184\n", 402653184),
        ("memory/memory.limit_in_bytes", "9223372036854771712\n", None),
    ],
)
def test_a_containers_memory_is_read(tmp_path: Path, name: str, text: str, expected: int | None) -> None:
    """Of both versions of control groups; none where nothing limits it."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)

    assert memory.limit_bytes(tmp_path) == expected
    assert memory.limit_bytes(tmp_path / "nothing") is None


@pytest.mark.parametrize(("given", "faults"), [("64Mi", 1), ("128Mi", 0), ("1G", 0), (None, 0)])
def test_an_agent_needs_some_memory(given: str | None, faults: int) -> None:
    """A profile or a repository that gives it less than it starts with is refused when it is entered."""
    profile = ProfileSpec(name="p", agent_memory=given)
    repository = RepositorySpec(name="r", url="https://example.com/r.git", agent_memory=given)

    assert len(list(profile.faults())) == len(list(repository.faults())) == faults
