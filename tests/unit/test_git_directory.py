"""A script's Git directory, read as data in bounded time."""

from __future__ import annotations

import os
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


@pytest.mark.parametrize("name", [b"b\xff", b"b" * 240, b"/".join([b"long"] * 60), b"refs/x", b"HEAD"])
def test_a_branch_is_found_by_any_name_that_git_takes(tmp_path: Path, name: bytes) -> None:
    """Also by one that no task may ask for: its commits are not lost."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    subprocess.run(["git", "symbolic-ref", "HEAD", b"refs/heads/" + name], cwd=tmp_path, check=True)
    path = os.fsencode(tmp_path) + b"/.git/refs/heads/" + name
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write("a" * 40 + "\n")

    with Beneath(tmp_path) as files:
        found = GitDirectory(files)

        assert found.head() == ("a" * 40, "refs/heads/" + os.fsdecode(name))
        assert found.refs() == {"refs/heads/" + os.fsdecode(name): "a" * 40}


@pytest.mark.parametrize("name", [b"refs/../x", b"refs/heads/.x", b"refs/a.lock", b"refs//x", b"HEAD", b"refs/a b"])
def test_a_name_that_leads_elsewhere_is_no_ref(tmp_path: Path, name: bytes) -> None:
    """The file of that name is not read."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".git" / "HEAD").write_bytes(b"ref: " + name + b"\n")

    with Beneath(tmp_path) as files:
        assert GitDirectory(files).head() == (None, None)


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
        found = GitDirectory(files).refs()

    assert len([name for name in found if name.startswith("refs/heads/")]) == 500
    assert set(found.values()) == {"a" * 40}
    assert time.process_time() - began < 5
