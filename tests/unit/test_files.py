"""Small files are replaced whole, and only their owner can read them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from keruta.files import write_private


def test_a_file_is_replaced_by_one_that_only_its_owner_reads(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("old, and longer")
    file.chmod(0o644)

    write_private(file, b"new")

    assert file.read_bytes() == b"new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_cannot_be_replaced_stays_and_nothing_is_left_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk: the content could not be written."""
    file = tmp_path / "secret"
    file.write_text("old")
    monkeypatch.setattr("os.fdopen", lambda *_args: open("/dev/full", "wb", buffering=0))  # noqa: SIM115

    with pytest.raises(OSError, match="No space left"):
        write_private(file, b"new")

    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_no_link_is_followed(tmp_path: Path) -> None:
    """Somebody who can write into the directory can't have another file overwritten."""
    other = tmp_path / "other"
    other.write_text("kept")
    file = tmp_path / "secret"
    file.symlink_to(other)

    write_private(file, b"new")

    assert other.read_text() == "kept"
    assert not file.is_symlink()
