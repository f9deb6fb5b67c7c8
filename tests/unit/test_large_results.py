"""The Git LFS files of kept work, read as data."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

from agent.attempt.large_results import all_of, pack, unpack

CONTENT = b"a large file"
NAME = hashlib.sha256(CONTENT).hexdigest()


def test_what_was_packed_is_unpacked(tmp_path: Path) -> None:
    """By the same names."""
    there = tmp_path / "a.git" / "lfs" / "objects" / NAME[:2] / NAME[2:4]
    there.mkdir(parents=True)
    (there / NAME).write_bytes(CONTENT)

    assert pack(tmp_path / "a.git", tmp_path / "kept.tar")
    unpack(tmp_path / "b.git", tmp_path / "kept.tar")

    assert [file.relative_to(tmp_path / "b.git") for file in all_of(tmp_path / "b.git")] == [
        (there / NAME).relative_to(tmp_path / "a.git")
    ]
    assert not pack(tmp_path / "none.git", tmp_path / "none.tar")


def test_what_is_not_what_its_name_says_is_left_out(tmp_path: Path) -> None:
    """Other content, links, and names that are none."""
    with tarfile.open(tmp_path / "kept.tar", "w") as tar:
        for name, content in {"0" * 64: CONTENT, f"../../{NAME[:-1]}": CONTENT, "x": CONTENT}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo(f"objects/{NAME}")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)

    unpack(tmp_path / "b.git", tmp_path / "kept.tar")

    assert all_of(tmp_path / "b.git") == []
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["kept.tar"]
