"""Opening files where a script can write."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from agent.attempt import beneath
from agent.attempt.beneath import WrongTypeError, is_beneath, open_beneath, read_beneath, write_beneath
from agent.attempt.directory import remove_tree


@pytest.fixture(params=["openat2", "walk"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways, with the kernel's call and without it."""
    if request.param == "walk":
        monkeypatch.setattr(beneath, "_OPENAT2", 100_000)  # no such call: ENOSYS


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("secret")
    root = tmp_path / "root"
    (root / "inner").mkdir(parents=True)
    (root / "inner" / "file").write_text("content")
    (root / "link").symlink_to("../secret")
    (root / "own-link").symlink_to("inner/file")
    (root / "directory-link").symlink_to("..")
    os.mkfifo(root / "pipe")
    return root


def test_a_plain_file_is_opened(place: Path) -> None:
    assert read_beneath(place, "inner/file", 100) == b"content"


@pytest.mark.parametrize(
    "path",
    ["link", "own-link", "directory-link/secret", "../secret", "inner/../../secret", "none", "/etc/passwd", "inner"],
)
def test_nothing_is_opened_through_a_link_or_outside(place: Path, path: str) -> None:
    assert not is_beneath(place, path)
    assert read_beneath(place, path, 100) == b""


@pytest.mark.parametrize("path", ["link", "own-link", "directory-link/secret", "../secret", "pipe"])
def test_nothing_is_written_through_a_link_or_outside(place: Path, path: str) -> None:
    with pytest.raises(OSError):
        write_beneath(place, path, b"overwritten")

    assert (place.parent / "secret").read_text() == "secret"
    assert (place / "inner" / "file").read_text() == "content"


def test_a_pipe_is_no_file_and_a_file_is_no_pipe(place: Path) -> None:
    """And neither is waited for."""
    with pytest.raises(WrongTypeError):
        open_beneath(place, "pipe")
    with pytest.raises(WrongTypeError):
        open_beneath(place, "inner/file", os.O_RDWR, expected=stat.S_ISFIFO)
    os.close(open_beneath(place, "pipe", os.O_RDWR, expected=stat.S_ISFIFO))


def test_a_file_is_written_anew(place: Path) -> None:
    write_beneath(place, "inner/file", b"new")
    write_beneath(place, "other", b"made")

    assert ((place / "inner" / "file").read_bytes(), (place / "other").read_bytes()) == (b"new", b"made")


def test_directories_without_rights_are_removed_and_links_are_not_followed(tmp_path: Path) -> None:
    """As a module cache leaves them: read-only directories, one in the other."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "file").touch()
    (root / "a" / "link").symlink_to(tmp_path / "kept")
    (root / "a" / "b").chmod(0o500)
    (root / "a").chmod(0)

    remove_tree(root)

    assert not root.exists()
    assert (tmp_path / "kept" / "file").exists()


def test_a_deep_directory_is_removed(tmp_path: Path) -> None:
    """Deeper than descriptors are held open for."""
    root = tmp_path / "root"
    deep = root.joinpath(*["d"] * 200)
    deep.mkdir(parents=True)
    (deep / "file").touch()

    remove_tree(root)

    assert not root.exists()
