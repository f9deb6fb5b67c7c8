"""Stored sessions as files: sealed so that nobody else reads or changes them, unpacked as if anybody had made them."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from agent.attempt import session_archive
from agent.attempt.session_archive import (
    MANIFEST,
    WORK,
    Manifest,
    TooLargeError,
    UnsafeArchiveError,
    read_archive,
    session_files,
    write_archive,
)
from agent.coding_agents.adapter import Usage
from keruta.adapters.sealed_stream import FRAME_BYTES, UnsealableError, derived_key, seal, unseal

KEY = b"k" * 32
FACTS = Manifest(session="s", reported=Usage(turns=1), spent=Usage(turns=2), head="h", branch="b", work="w")


def sealed(content: bytes, key: bytes = KEY, name: str = "t-1") -> bytes:
    target = io.BytesIO()
    seal(io.BytesIO(content), target, key, name)
    return target.getvalue()


def opened(data: bytes, key: bytes = KEY, name: str = "t-1", limit: int = 1 << 30) -> bytes:
    target = io.BytesIO()
    unseal(io.BytesIO(data), target, key, name, limit)
    return target.getvalue()


@pytest.mark.parametrize("size", [0, 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 2 * FRAME_BYTES])
def test_what_is_sealed_is_opened_again(size: int) -> None:
    content = os.urandom(size)

    assert opened(sealed(content)) == content


def test_equal_files_are_sealed_differently() -> None:
    assert sealed(b"same") != sealed(b"same")
    assert b"secret-text" not in sealed(b"secret-text")


@pytest.mark.parametrize(
    "changed",
    [
        lambda data: data[:-1],
        lambda data: data[: -(FRAME_BYTES // 2)],
        lambda data: data[: 32 + FRAME_BYTES + 16],
        lambda data: data + b"x",
        lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:],
        lambda data: data[:20] + bytes([data[20] ^ 1]) + data[21:],
        lambda data: b"x" + data,
        lambda data: data[:32] + data[32 + FRAME_BYTES + 16 :] + data[32 : 32 + FRAME_BYTES + 16],
        lambda data: b"",
        lambda data: data[:16],
        lambda data: data[:32],
    ],
)
def test_a_sealed_file_that_was_changed_is_not_opened(changed: Callable[[bytes], bytes]) -> None:
    """Cut, longer, with other bits, with its frames in another order, or no sealed file at all."""
    with pytest.raises(UnsealableError):
        opened(changed(sealed(b"a" * FRAME_BYTES + b"b" * FRAME_BYTES)))


def test_a_sealed_file_is_opened_with_its_own_key_and_name() -> None:
    for wrong in ({"key": b"x" * 32}, {"name": "t-2"}):
        with pytest.raises(UnsealableError):
            opened(sealed(b"content"), **wrong)  # type: ignore[arg-type]
    assert derived_key(b"s", "a") != derived_key(b"s", "b") != derived_key(b"t", "b")
    assert len(derived_key(b"s", "a")) == 32


def test_a_sealed_file_of_any_size_fills_no_disk() -> None:
    assert opened(sealed(b"12345"), limit=5) == b"12345"
    with pytest.raises(UnsealableError):
        opened(sealed(b"12345"), limit=4)


# ---------------------------------------------------------------- writing


def home(root: Path) -> Path:
    sessions = root / "home/.agent/sessions/deep"
    sessions.mkdir(parents=True)
    (sessions / "s.jsonl").write_text("one\n")
    (sessions / "other.jsonl").write_text("another session\n")
    return root / "home"


def written(target: Path, source: Path, *patterns: str, work: Path | None = None) -> Path:
    with target.open("wb") as file:
        write_archive(file, FACTS, source, ".agent/sessions", patterns or ("*/s.jsonl",), work)
    return target


def unpacked(archive: Path, target: Path) -> Manifest:
    target.mkdir()
    with archive.open("rb") as file:
        return read_archive(file, target)


def test_a_session_is_stored_and_unpacked(tmp_path: Path) -> None:
    """Its own files, and the bundle of its work; no other session's."""
    bundle = tmp_path / "bundle"
    bundle.write_bytes(b"commits")

    facts = unpacked(written(tmp_path / "a", home(tmp_path), work=bundle), tmp_path / "out")

    assert facts == FACTS
    (one,) = session_files(tmp_path / "out")
    assert (one[0], one[1].read_text()) == (".agent/sessions/deep/s.jsonl", "one\n")
    assert (tmp_path / "out" / WORK).read_bytes() == b"commits"
    assert (tmp_path / "out" / WORK).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("level", [".agent", ".agent/sessions", ".agent/sessions/deep", ".agent/sessions/deep/s.jsonl"])
def test_a_link_in_the_home_is_not_followed(tmp_path: Path, level: str) -> None:
    """At no depth: what it leads to may be another task's."""
    elsewhere = home(tmp_path)
    other = tmp_path / "hostile"
    (other / level).parent.mkdir(parents=True)
    (other / level).symlink_to(elsewhere / level)

    with pytest.raises(OSError):
        written(tmp_path / "a", other)


def test_a_pipe_in_the_home_is_not_opened(tmp_path: Path) -> None:
    source = home(tmp_path)
    os.mkfifo(source / ".agent/sessions/deep/x-s.jsonl")

    unpacked(written(tmp_path / "a", source, "*s.jsonl"), tmp_path / "out")

    assert [path for path, _ in session_files(tmp_path / "out") if "x-s" in path] == []


def test_too_much_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither too many bytes nor too many files."""
    source = home(tmp_path)
    monkeypatch.setattr(session_archive, "FILES_MOST", 1)
    with pytest.raises(TooLargeError):
        written(tmp_path / "a", source, "*")
    monkeypatch.setattr(session_archive, "BYTES_MOST", len(msgspec.json.encode(FACTS)) + 3)
    with pytest.raises(TooLargeError):
        written(tmp_path / "b", source)


def test_no_session_no_archive(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        written(tmp_path / "a", home(tmp_path), "*/missing.jsonl")


# ---------------------------------------------------------------- hostile archives


def made(path: Path, *entries: tarfile.TarInfo, manifest: bool = True) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        if manifest:
            text = msgspec.json.encode(FACTS)
            one = tarfile.TarInfo(MANIFEST)
            one.size = len(text)
            archive.addfile(one, io.BytesIO(text))
        for entry in entries:
            archive.addfile(entry, io.BytesIO(b"x" * entry.size) if entry.isreg() else None)
    return path


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 1) -> tarfile.TarInfo:
    one = tarfile.TarInfo(name)
    one.type, one.linkname, one.size = kind, target, size if kind == tarfile.REGTYPE else 0
    return one


@pytest.mark.parametrize(
    "hostile",
    [
        entry("session/link", tarfile.SYMTYPE, "/etc/passwd"),
        entry("session/link", tarfile.LNKTYPE, MANIFEST),
        entry(WORK, tarfile.SYMTYPE, "/etc/passwd"),
        entry("session/device", tarfile.CHRTYPE),
        entry("session/disk", tarfile.BLKTYPE),
        entry("session/pipe", tarfile.FIFOTYPE),
        entry("session/directory", tarfile.DIRTYPE),
        entry("/etc/cron.d/x"),
        entry("../outside"),
        entry("session/../../outside"),
        entry("session/a/../b"),
        entry("session/./b"),
        entry("session//b"),
        entry("session/"),
        entry("other"),
        entry("sessions/x"),
        entry("session/" + "n" * 256),
    ],
    ids=lambda one: f"{one.name[:20]}-{one.type.decode()}",
)
def test_an_archive_with_anything_but_files_beneath_is_refused(tmp_path: Path, hostile: tarfile.TarInfo) -> None:
    """Links, devices, pipes, directories, absolute paths, `..`, and places that no session has."""
    archive = made(tmp_path / "a", hostile)

    with pytest.raises(UnsafeArchiveError):
        unpacked(archive, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "out"]
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_symlink()] == []


def test_an_archive_that_names_a_file_twice_is_refused(tmp_path: Path) -> None:
    """The second could otherwise be written through what the first made."""
    with pytest.raises(UnsafeArchiveError):
        unpacked(made(tmp_path / "a", entry("session/a"), entry("session/a")), tmp_path / "out")


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its bytes, whatever it is packed to, and by its number of files."""
    size = len(msgspec.json.encode(FACTS))
    monkeypatch.setattr(session_archive, "BYTES_MOST", size + 100_000)
    unpacked(made(tmp_path / "a", entry("session/a", size=100_000)), tmp_path / "fits")
    with pytest.raises(UnsafeArchiveError):
        unpacked(made(tmp_path / "b", entry("session/a", size=100_001)), tmp_path / "bytes")
    monkeypatch.setattr(session_archive, "FILES_MOST", 2)
    unpacked(made(tmp_path / "c", *(entry(f"session/{n}") for n in range(3))), tmp_path / "few")
    with pytest.raises(UnsafeArchiveError):
        unpacked(made(tmp_path / "d", *(entry(f"session/{n}") for n in range(4))), tmp_path / "many")


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b" + b"x" * 40])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)

    with pytest.raises(UnsafeArchiveError):
        unpacked(tmp_path / "a", tmp_path / "out")


def test_an_archive_without_its_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafeArchiveError):
        unpacked(made(tmp_path / "a", entry("session/a"), manifest=False), tmp_path / "out")
