"""Dependency caches' rules, keys, archives and entries."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.attempt import dependency_archive, lock_files
from agent.attempt.dependency_archive import (
    Place,
    Restoration,
    TooLargeError,
    UnsafeArchiveError,
    link_stays,
    write_archive,
)
from agent.attempt.lock_files import TooMuchError, digest
from keruta.adapters.dependency_store import ARCHIVE, PART_PREFIX, LocalStore, prune
from keruta.domain.catalog.caches import CacheRecord, CacheRule
from keruta.domain.decode import convert
from keruta.domain.task import TaskRequest

PATHS = [
    "~/.npm",
    "~/.cache/pip",
    "target/",
    "./node_modules",
    "services/api/target",
    "~/.m2/settings.xml",
    "a b",
    "日本",
]
REFUSED_PATHS = [
    "/etc", "~", "~/", "~root/x", "..", "../x", "a/../b", "~/../x", "~/a/../../x", ".", "./", "a//b", "a/./b", "",
    ".git", ".git/config", "a/.git", ".GIT/hooks", "~/.gitconfig", "~/.gitconfig-origin", "a\nb", "a\0b", "a/*", "[a]",
    "~/.c?che", "x" * 256, "~//x",
]  # fmt: skip
KEYS = ["package-lock.json", "./go.sum", "**/go.sum", "services/*/Cargo.lock", "**", "a[0-9].lock"]
REFUSED_KEYS = ["/etc/passwd", "../x", "a/../x", "~/.npmrc", ".git/HEAD", "**/.git/HEAD", "", "a//b", "a/", "a\0"]


def rule(**changes: Any) -> dict[str, Any]:
    return {"paths": ["target"], "key": ["Cargo.lock"], **changes}


def faults_at(body: dict[str, Any]) -> list[str]:
    wanted = {"repository": "a", "script": "true", "cache": [rule(), body]}
    return [one["at"] for one in convert(wanted, TaskRequest)[1]]


@pytest.mark.parametrize("path", PATHS)
def test_paths_of_the_workspace_and_of_the_home_are_cached(path: str) -> None:
    assert faults_at(rule(paths=[path])) == []


@pytest.mark.parametrize("path", REFUSED_PATHS)
def test_other_paths_are_refused_at_submit(path: str) -> None:
    """Whatever is no path beneath the workspace or the home, or belongs to Git, is named with where it stands."""
    assert faults_at(rule(paths=["ok", path])) == ["/cache/1/paths/1"]


@pytest.mark.parametrize("pattern", KEYS)
def test_files_of_the_workspace_make_a_key(pattern: str) -> None:
    assert faults_at(rule(key=[pattern])) == []


@pytest.mark.parametrize("pattern", REFUSED_KEYS)
def test_files_elsewhere_make_no_key(pattern: str) -> None:
    assert faults_at(rule(key=["ok", pattern])) == ["/cache/1/key/1"]


@pytest.mark.parametrize(
    ("change", "at"),
    [
        ({"key": []}, "/key"), ({"paths": []}, "/paths"), ({"prefix": "a/b"}, "/prefix"),
        ({"restore_keys": ["a", "b c"]}, "/restore_keys/1"), ({"scope": "x"}, ""),
    ],
)  # fmt: skip
def test_other_faults_are_named(change: dict[str, Any], at: str) -> None:
    assert faults_at(rule(**change)) == [f"/cache/1{at}"]


def test_a_path_within_another_is_stored_once() -> None:
    """Spellings of one path are one, and a path in another is part of it."""
    made = msgspec.convert(rule(paths=["target/", "./target", "target/debug", "targets"]), CacheRule)
    assert made.places == ["target", "targets"]


# ---------------------------------------------------------------- keys


def test_the_digest_is_of_names_and_contents(tmp_path: Path) -> None:
    """It changes with a content, a name and a further match, and with nothing else."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "go.sum").write_text("1")
    first = digest(tmp_path, ["**/go.sum"])
    (tmp_path / "README").write_text("1")
    assert first is not None
    assert digest(tmp_path, ["**/go.sum"]) == first
    assert digest(tmp_path, ["**/go.sum", "a/go.sum", "missing"]) == first
    (tmp_path / "go.sum").write_text("1")
    second = digest(tmp_path, ["**/go.sum"])
    assert second != first
    (tmp_path / "go.sum").rename(tmp_path / "a" / "b")
    assert digest(tmp_path, ["**/go.sum"]) == first
    (tmp_path / "a" / "go.sum").write_text("2")
    assert digest(tmp_path, ["**/go.sum"]) not in (first, second)


def test_links_and_git_match_nothing(tmp_path: Path) -> None:
    """Neither a link to a file, nor what lies behind a link to a directory, nor Git's own directory is read."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.lock").write_text("secret")
    workspace = tmp_path / "workspace"
    (workspace / ".git").mkdir(parents=True)
    (workspace / ".git" / "x.lock").write_text("1")
    (workspace / "x.lock").symlink_to(outside / "x.lock")
    (workspace / "inner").symlink_to(outside)
    os.mkfifo(workspace / "pipe.lock")

    for pattern in ("**/*.lock", "x.lock", "inner/x.lock", "*/*", "**", "pipe.lock"):
        assert digest(workspace, [pattern]) is None


def test_many_stars_end_soon(tmp_path: Path) -> None:
    """Each directory is looked at once for each rest of a pattern."""
    (tmp_path / "/".join(["d"] * 30)).mkdir(parents=True)
    assert digest(tmp_path, ["/".join(["**"] * 60) + "/none"]) is None


def test_more_files_than_are_read_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        (tmp_path / f"{number}").write_text("1")
    monkeypatch.setattr(lock_files, "FILES_MOST", 2)
    with pytest.raises(TooMuchError):
        digest(tmp_path, ["*"])


# ---------------------------------------------------------------- archives


@pytest.mark.parametrize(
    ("depth", "target", "stays"),
    [
        (0, "b", True), (0, "b/c", True), (1, "../b", True), (2, "../../b", True), (0, "../b", False), (0, "/b", False),
        (1, "../../b", False), (0, "b/../../c", False), (0, "b/..", False), (1, "./../b", False), (3, "..", True),
    ],
)  # fmt: skip
def test_a_link_climbs_first_and_no_further_than_its_path(depth: int, target: str, stays: bool) -> None:
    assert link_stays(depth, target) is stays


def test_names_that_are_no_text_come_back(tmp_path: Path) -> None:
    """A file's name is bytes, also where they are no UTF-8; times of files, and empty directories, are kept."""
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "d" / "empty").mkdir(parents=True)
    target.mkdir()
    name = os.fsdecode(b"\xff\xfe" + b"n" * 150)
    (source / "d" / name).write_text("content")
    os.utime(source / "d" / name, (1_000_000, 1_000_000))
    archive = io.BytesIO()

    write_archive(archive, [Place(base=source, path="d")])
    archive.seek(0)
    Restoration([Place(base=target, path="x/y")]).read(archive)

    assert (target / "x/y" / name).read_text() == "content"
    assert (target / "x/y" / name).stat().st_mtime == 1_000_000
    assert (target / "x/y/empty").is_dir()


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """Neither a large file, nor a large header of one, nor many small files are unpacked; nothing of them is left."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name in ("0/small", "0/large"):
            entry = tarfile.TarInfo(name)
            entry.size = 10 if name == "0/small" else 100 << 20
            tar.addfile(entry, io.BytesIO(bytes(entry.size)))
    header = io.BytesIO()
    with tarfile.open(fileobj=header, mode="w:gz") as tar:
        entry = tarfile.TarInfo("0/x")
        entry.pax_headers = {"comment": "x" * (1 << 20)}
        tar.addfile(entry)

    for archive in (packed, header):
        archive.seek(0)
        with pytest.raises(UnsafeArchiveError):
            Restoration([Place(base=tmp_path, path="p")], limit_bytes=1000, files_most=1000).read(archive)
        assert list(tmp_path.iterdir()) == []


def test_more_than_is_stored_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "d").mkdir()
    for number in range(3):
        (tmp_path / "d" / f"{number}").write_bytes(bytes(100))
    place = Place(base=tmp_path, path="d")
    with pytest.raises(TooLargeError):
        write_archive(io.BytesIO(), [place], limit_bytes=250)
    monkeypatch.setattr(dependency_archive, "FILES_MOST", 3)
    with pytest.raises(TooLargeError):
        write_archive(io.BytesIO(), [place])


# ---------------------------------------------------------------- entries


def keep(store: LocalStore, key: str, content: bytes, created_at: float = 0.0) -> bool:
    with store.part() as part:
        (part / ARCHIVE).write_bytes(content)
        record = CacheRecord(
            key=key, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content), created_at=created_at
        )
        return store.keep("space", part, record)


def found(store: LocalStore, key: str, *beginnings: str) -> list[str]:
    return [one.key for one in store.candidates("space", key, beginnings)]


def test_of_two_writers_the_first_wins(tmp_path: Path) -> None:
    """Of entries of one key that are stored at once exactly one is kept, whole, and the others hear of it."""
    store = LocalStore(tmp_path, "scope", 1 << 30)
    contents = [bytes([number]) * 100_000 for number in range(8)]
    ready, won = threading.Barrier(8), []

    def write(content: bytes) -> None:
        ready.wait()
        won.append((keep(store, "k", content), content))

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    [winner] = [content for first, content in won if first]
    [record] = store.candidates("space", "k", ())
    with store.open("space", record, lambda: None) as file:
        assert file.read() == winner
    assert not list(tmp_path.rglob(f"{PART_PREFIX}*"))


def test_restore_keys_find_the_newest_in_their_order(tmp_path: Path) -> None:
    """The key's own entry first; then by each beginning, the newest first; each once."""
    store = LocalStore(tmp_path, "scope", 1 << 30)
    for at, key in enumerate(["a-1", "b-1", "a-2", "ab-1"]):
        keep(store, key, b"x", created_at=float(at))

    assert found(store, "a-1", "b-", "a-") == ["a-1", "b-1", "a-2"]
    assert found(store, "none", "a") == ["ab-1", "a-2", "a-1"]
    assert found(store, "none", "") == ["ab-1", "a-2", "b-1", "a-1"]
    assert found(store, "none") == []
    assert found(LocalStore(tmp_path, "other", 1 << 30), "a-1", "") == []


def test_a_use_keeps_an_entry(tmp_path: Path) -> None:
    """What was read last is removed last; parts that were left behind go with the next removal."""
    store = LocalStore(tmp_path, "scope", 1 << 30)
    for key in ("a", "b"):
        keep(store, key, bytes(10_000))
    for record in tmp_path.rglob("record.json"):
        os.utime(record, (1, 1))
    left = tmp_path / "scope" / f"{PART_PREFIX}x"
    left.mkdir()
    os.utime(left, (1, 1))
    [record_a] = list(store.candidates("space", "a", ()))
    store.open("space", record_a, lambda: None).close()

    prune(tmp_path, 15_000)

    assert found(store, "none", "") == ["a"]
    assert not left.exists()
    assert time.time() - max(one.stat().st_mtime for one in tmp_path.rglob("record.json")) < 1000
