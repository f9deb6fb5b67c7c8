"""A script's Git directory, read as data in bounded time."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from agent.attempt.git_directory import GitDirectory, submodule_paths
from agent.attempt.workspace_files import Beneath


def test_the_paths_of_submodules() -> None:
    """As Git reads them, whatever is around them; other settings are none."""
    text = (
        b'[submodule "a"]\n\tpath = lib/a\n\turl=../a\n[submodule "b"]\r\n  Path="lib/b c" \r\n'
        b"path=d=e\nxpath = f\npath\n"
    )

    assert submodule_paths(text) == {b"lib/a", b"lib/b c", b"d=e"}


@pytest.mark.parametrize(
    "text", [b"\n" * (1 << 20), b"path = x" + b" " * (1 << 20) + b"y", b" " * (1 << 20), b"path=a\n" * 150_000]
)
def test_submodules_are_read_in_bounded_time(text: bytes) -> None:
    """A file of blanks or empty lines holds no other thread up."""
    began = time.process_time()

    submodule_paths(text)

    assert time.process_time() - began < 1


def test_many_refs_that_lead_to_packed_ones_cost_one_reading(tmp_path: Path) -> None:
    """A symbolic ref costs a small file's reading, not that of all packed refs."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    names = [f"refs/tags/t{number:06}" for number in range(20_000)]
    (tmp_path / ".git" / "packed-refs").write_text("".join(f"{'a' * 40} {name}\n" for name in names))
    heads = tmp_path / ".git" / "refs" / "heads"
    for number in range(500):
        (heads / f"b{number}").write_text(f"ref: {names[number]}\n")
    began = time.process_time()

    with Beneath(tmp_path) as files:
        found = GitDirectory(files).branches()

    assert len(found) == 500
    assert set(found.values()) == {"a" * 40}
    assert time.process_time() - began < 5
