"""The clone cache: verified at every use, whole or absent, and within its size."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.attempt.checkout import checkout
from agent.attempt.clone_cache import CloneCache, prune
from keruta import metrics
from keruta.adapters.git.command import Git
from keruta.domain.specification import Access, Specification
from keruta.domain.task import RepositoryRef
from tests.support.gitservers import GitHttp
from tests.support.repositories import ENV, add_commit, git, make_repository

FILES = {f"d{number % 7}/f{number}": f"{number}\n" * 40 for number in range(120)}


class Bench:
    """One repository on a server, and a cache."""

    def __init__(self, root: Path, http: GitHttp) -> None:
        self.root = root
        self.url = http.url("a.git")
        self.commit = make_repository(http.root / "a.git", FILES)
        self.cache = CloneCache(root=root / "cache", name="one", limit_bytes=1 << 30)
        self.number = 0

    @property
    def entry(self) -> Path:
        return self.cache.root / "one" / f"{self.commit}.pack"

    def checkout(self, cache: CloneCache | None = None, *, parent: Path | None = None) -> Path:
        """Makes a checkout that must be right, and returns its workspace."""
        self.number += 1
        workspace = (parent or self.root) / f"w{self.number}"
        stop, deadline = threading.Event(), time.monotonic() + 60
        found = checkout(
            RepositoryRef(url=self.url, ref="main"),
            workspace,
            lambda directory: Git(directory, ENV, stop, deadline),
            transports=frozenset({"http"}),
            cache=cache or self.cache,
        )
        assert found == git(workspace, "rev-parse", "HEAD")
        assert git(workspace, "status", "--porcelain") == ""
        assert git(workspace, "fsck", "--strict", "--no-dangling") == ""
        return workspace


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    (tmp_path / "git").mkdir()
    with GitHttp(tmp_path / "git") as http:
        yield Bench(tmp_path, http)


def uses(outcome: str) -> float:
    return metrics.CLONE_CACHE.labels(outcome)._value.get()


def test_the_second_checkout_fetches_nothing(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The second checkout asks which commit the ref names, and copies the rest."""
    hits = uses("hit")
    bench.checkout()

    workspace = bench.checkout()

    assert uses("hit") == hits + 1
    assert [path.name for path in bench.entry.parent.iterdir()] == [bench.entry.name]
    assert all(file.stat().st_nlink == 1 for file in (workspace / ".git").rglob("*") if file.is_file())
    assert not caplog.records


def flip(entry: Path) -> None:
    content = bytearray(entry.read_bytes())
    content[len(content) // 2] ^= 0x10
    entry.write_bytes(content)


def foreign(entry: Path) -> None:
    """A pack that is right in itself and holds another repository's content."""
    other = entry.parents[2] / "other"
    commit = make_repository(other, {"README.md": "foreign\n"}, bare=False)
    pack = git(other, "pack-objects", "-q", "--revs", str(other / "pack"), stdin=f"{commit}\n".encode())
    shutil.copyfile(other / f"pack-{pack}.pack", entry)


def incomplete(entry: Path) -> None:
    """A pack with the commit and its trees, and not one of its files."""
    work = next(entry.parents[2].glob("w*"))
    listed = [line.split()[0] for line in git(work, "rev-list", "--objects", "HEAD").splitlines()]
    kept = [name for name in listed if git(work, "cat-file", "-t", name) != "blob"]
    pack = git(work, "pack-objects", "-q", str(entry.parents[2] / "part"), stdin="\n".join(kept).encode() + b"\n")
    shutil.copyfile(entry.parents[2] / f"part-{pack}.pack", entry)


def link(entry: Path) -> None:
    shutil.move(entry, entry.parents[2] / "elsewhere.pack")
    entry.symlink_to(entry.parents[2] / "elsewhere.pack")


def fifo(entry: Path) -> None:
    entry.unlink()
    os.mkfifo(entry)


def not_openable(entry: Path) -> None:
    """A socket: opening it fails, for any user."""
    entry.unlink()
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as made:
        made.bind(f"{short}/s")
        shutil.move(f"{short}/s", entry)


def directory(entry: Path) -> None:
    entry.unlink()
    entry.mkdir()
    (entry / "pack-x.idx").write_text("of an older layout")


def endless(entry: Path) -> None:
    entry.unlink()
    os.mknod(entry, 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: os.truncate(entry, entry.stat().st_size // 2),
        lambda entry: os.truncate(entry, 0),
        lambda entry: entry.write_bytes(b"PACK" + bytes(4096)),
        flip, foreign, incomplete, link, fifo, not_openable, directory, endless,
    ],
    ids=["truncated", "empty", "zeros", "flipped", "foreign", "incomplete", "link", "fifo", "socket", "directory",
         "device"],
)  # fmt: skip
def test_a_bad_entry_is_removed_fetched_again_and_reported(
    bench: Bench, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    """The checkout is right, the log and the metric say it, and the next one finds a good entry."""
    first = bench.checkout()
    bad, hits = uses("bad"), uses("hit")
    damage(bench.entry)

    second = bench.checkout()
    third = bench.checkout()

    assert (second / "d1/f1").read_bytes() == (third / "d1/f1").read_bytes() == (first / "d1/f1").read_bytes()
    assert (uses("bad"), uses("hit")) == (bad + 1, hits + 1)
    reports = [record for record in caplog.records if getattr(record, "action", "") == "clone_cache_bad"]
    assert len(reports) == 1
    assert reports[0].levelno == logging.ERROR
    assert reports[0].exc_info is None
    assert bench.entry.is_file()
    assert not bench.entry.is_symlink()


def test_an_index_beside_an_entry_is_not_used(bench: Bench) -> None:
    """An index that names other content for a hash has no effect: it is made anew from the pack."""
    first = bench.checkout()
    index = next((first / ".git/objects/pack").glob("*.idx")).read_bytes()
    bench.entry.with_suffix(".idx").write_bytes(index[:1032] + index[1032:][::-1])

    bench.checkout()


def test_a_directory_that_is_a_link_is_not_entered(bench: Bench, tmp_path: Path) -> None:
    """The link's target is neither read nor written."""
    bench.checkout()
    shutil.move(bench.entry.parent, tmp_path / "elsewhere")
    bench.entry.parent.symlink_to(tmp_path / "elsewhere")
    before = (tmp_path / "elsewhere" / bench.entry.name).stat()

    bench.checkout()
    bench.checkout()

    assert (tmp_path / "elsewhere" / bench.entry.name).stat().st_mtime == before.st_mtime
    assert not bench.entry.parent.is_symlink()


def test_concurrent_writers_leave_one_whole_entry(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Six checkouts at once into an empty cache: each is right, and one file stays."""
    failed: list[BaseException] = []

    def one(number: int) -> None:
        try:
            parent = bench.root / f"thread{number}"
            parent.mkdir()
            bench.checkout(parent=parent)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not failed
    assert [path.name for path in bench.entry.parent.iterdir()] == [bench.entry.name]
    assert not caplog.records


def test_the_cache_is_on_another_file_system_than_the_workspace(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """As on a cluster, where it is a shared volume: it is filled and used, and nothing is logged."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        if os.stat(elsewhere).st_dev == bench.root.stat().st_dev:
            pytest.skip("SKIPPED LOUDLY: /dev/shm is not a file system of its own")
        cache = CloneCache(root=Path(elsewhere), name="one", limit_bytes=1 << 30)
        hits = uses("hit")
        bench.checkout(cache)
        bench.checkout(cache)

        assert uses("hit") == hits + 1
        assert [path.name for path in (Path(elsewhere) / "one").iterdir()] == [bench.entry.name]
    assert not caplog.records


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("SKIPPED LOUDLY: a small disk needs the right to mount")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_full_disk_of_the_cache_changes_no_checkout(
    bench: Bench, small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The checkout is right, no part stays, and one line of the log says it, without a traceback."""
    (small_disk / "filling").write_bytes(bytes(60 * 1024))
    cache = CloneCache(root=small_disk, name="one", limit_bytes=1 << 30)

    bench.checkout(cache)

    assert list((small_disk / "one").iterdir()) == []
    assert [getattr(record, "action", "") for record in caplog.records] == ["clone_cache_failed"]
    assert caplog.records[0].exc_info is None


def test_a_full_disk_of_the_workspace_is_not_the_entrys_fault(bench: Bench, small_disk: Path) -> None:
    """The attempt fails with its reason, and the entry stays."""
    from keruta.errors import PhaseError

    bench.checkout()
    (small_disk / "filling").write_bytes(bytes(56 * 1024))
    bad = uses("bad")

    with pytest.raises((PhaseError, OSError)):
        bench.checkout(parent=small_disk)

    assert uses("bad") == bad
    assert bench.entry.is_file()


def test_the_least_recently_used_entry_is_removed(tmp_path: Path) -> None:
    """Until what is left fits the limit, over all repositories; parts of agents that died go too."""
    for number, name in enumerate(("a", "b", "c")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.pack").write_bytes(bytes(1000))
        os.utime(tmp_path / name / "x.pack", (number, number))
    (tmp_path / "c" / "part-old").write_bytes(b"")
    os.utime(tmp_path / "c" / "part-old", (5, 5))
    (tmp_path / "c" / "part-new").write_bytes(b"")

    prune(tmp_path, 2000)

    assert sorted(path.parent.name for path in tmp_path.rglob("x.pack")) == ["b", "c"]
    assert [path.name for path in tmp_path.rglob("part-*")] == ["part-new"]


def test_a_use_counts_as_a_use(bench: Bench) -> None:
    """An entry that was used a moment ago outlives one that was written later."""
    bench.checkout()
    os.utime(bench.entry, (1, 1))

    bench.checkout()

    assert bench.entry.stat().st_mtime > 1


def test_an_entry_larger_than_the_limit_is_not_kept(bench: Bench) -> None:
    cache = CloneCache(root=bench.cache.root, name="one", limit_bytes=100)

    bench.checkout(cache)

    assert not bench.entry.exists()


def test_a_new_commit_is_another_entry(bench: Bench, tmp_path: Path) -> None:
    bench.checkout()
    work = tmp_path / "git" / "a.git.work"
    commit = add_commit(work, {"d1/f1": "new\n"}, "second")
    git(work, "push", "-q", "origin", "main")

    workspace = bench.checkout()

    assert git(workspace, "rev-parse", "HEAD") == commit
    assert bench.entry.with_name(f"{commit}.pack").exists()


def test_each_address_and_credential_has_a_directory_of_its_own() -> None:
    """Another credential's value is another directory too, so who lost the right to read finds nothing."""

    def name(url: str, access: Access | None) -> str:
        return Specification(
            task="t", attempt=1, repository=RepositoryRef(url=url), read=access, script="true"
        ).clone_cache_name

    a, b = "https://example.com/a.git", "https://example.com/b.git"
    readers = [None, Access(name="x", revision=1), Access(name="x", revision=2), Access(name="y", revision=1)]
    names = [name(url, access) for url in (a, b) for access in readers]

    assert len(set(names)) == len(names)
    assert name(a, readers[1]) == name(a, Access(name="x", revision=1, sealed=b"z"))
