"""Dependency caches of real attempts: who restores what, who may store, and what is not restored."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keruta import metrics
from keruta.adapters.dependency_store import ARCHIVE, RECORD, prune
from tests.support.attempts import Ask, Told, run
from tests.support.repositories import add_commit, git, make_repository

SCOPE = "0" * 32
RULE = {"paths": ["~/.npm", "node_modules"], "key": ["package-lock.json"]}
FILL = (
    "mkdir -p ~/.npm node_modules/.bin node_modules/a; echo packed >~/.npm/one; echo code >node_modules/a/index.js; "
    "chmod +x node_modules/a/index.js; ln -s ../a/index.js node_modules/.bin/a"
)
FIND = "cat ~/.npm/one node_modules/.bin/a 2>/dev/null || echo nothing"


class Bench:
    """One repository and one machine's state."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.repository = root / "a.git"
        make_repository(self.repository, {"package-lock.json": "{}\n", "README": "one\n"})

    def commit(self, files: dict[str, str], branch: str = "main") -> None:
        """Somebody pushes a commit."""
        work = self.repository.with_name("a.git.work")
        git(work, "fetch", "-q", "origin")
        git(work, "checkout", "-q", "-B", "new", f"origin/{branch}")
        add_commit(work, files, "next")
        git(work, "push", "-q", "origin", f"HEAD:{branch}")

    @property
    def store(self) -> Path:
        return self.root / "state" / "worker" / "dependencies"

    def entries(self) -> list[Path]:
        return sorted(path.parent for path in self.store.glob(f"*/*/*/{RECORD}"))

    def run(
        self, script: str, *, rule: dict[str, Any] | None = None, ref: str | None = None, scope: str = SCOPE,
        writes: bool = True, pushed_ref: str | None = None, settings: dict[str, Any] | None = None, **fields: Any,
    ) -> Told:  # fmt: skip
        caches = {"rules": [rule or RULE], "scope": scope, "writes": writes, "pushed_ref": pushed_ref}
        repository = {"url": self.repository.as_uri(), "ref": ref}
        told = run(
            Ask(
                state=str(self.root / "state"),
                repository="",
                fields={"script": script, "caches": caches, "repository": repository, **fields},
                settings=settings or {},
            )
        )
        assert told.status == ("failed" if "exit 1" in script else "succeeded"), told.log
        return told


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_later_task_finds_what_an_earlier_one_left(bench: Bench) -> None:
    """Files, modes and links within a cached path come back, in the home and in the workspace."""
    first = bench.run(FILL)
    second = bench.run(f"{FIND}; test -x node_modules/a/index.js && test -L node_modules/.bin/a")

    assert "cache ~/.npm, node_modules: miss" in first.log
    assert "cache ~/.npm, node_modules: saved" in first.log
    assert "cache ~/.npm, node_modules: hit" in second.log
    assert "packed\ncode\n" in second.log
    assert len(bench.entries()) == 1


def test_another_lock_file_is_another_entry(bench: Bench) -> None:
    """An entry is found by the content of the key's files; by a restore key, the newest of the others is."""
    prefixed = {**RULE, "prefix": "npm-", "restore_keys": ["none-", "npm-"]}
    bench.run(FILL, rule=prefixed)
    bench.commit({"package-lock.json": '{"b": 1}\n'})
    missed = bench.run(FIND)
    fallback = bench.run(f"{FIND}; echo newer >~/.npm/one", rule=prefixed)
    bench.commit({"package-lock.json": '{"c": 1}\n'})

    newest = bench.run(FIND, rule=prefixed)

    assert "miss" in missed.log
    assert "nothing" in missed.log
    assert "no entry npm-" in fallback.log
    assert "packed\ncode" in fallback.log
    assert "newer\ncode" in newest.log


@pytest.mark.parametrize("change", [{"prefix": "x-"}, {"paths": ["~/.npm", "node_modules", "target"]}])
def test_another_prefix_or_path_list_is_another_entry(bench: Bench, change: dict[str, Any]) -> None:
    """Entries are of one prefix and one list of paths."""
    bench.run(FILL)

    assert "miss" in bench.run(FIND, rule={**RULE, **change}).log


def test_another_repository_finds_nothing(bench: Bench) -> None:
    """Entries of one repository are not there for another, whose key and paths are the same."""
    bench.run(FILL)

    told = bench.run(FIND, scope="1" * 32)

    assert "miss" in told.log
    assert "nothing" in told.log


def branch(bench: Bench) -> dict[str, Any]:
    git(bench.repository, "branch", "other", "main")
    bench.commit({"README": "two\n"}, branch="other")
    return {"ref": "other"}


def same_tip(bench: Bench) -> dict[str, Any]:
    git(bench.repository, "branch", "other", "main")
    return {"ref": "other"}


def tag(bench: Bench) -> dict[str, Any]:
    git(bench.repository, "tag", "v1", "main")
    return {"ref": "v1"}


def commit_of_a_branch(bench: Bench) -> dict[str, Any]:
    branch(bench)
    return {"ref": git(bench.repository, "rev-parse", "other")}


def earlier_commit(bench: Bench) -> dict[str, Any]:
    before = git(bench.repository, "rev-parse", "main")
    bench.commit({"README": "two\n"})
    return {"ref": before}


def pushed_branch(bench: Bench) -> dict[str, Any]:
    same_tip(bench)
    return {"ref": git(bench.repository, "rev-parse", "main"), "pushed_ref": "other"}


def strangers_event(bench: Bench) -> dict[str, Any]:
    return {"writes": False}


@pytest.mark.parametrize(
    "case", [branch, same_tip, tag, commit_of_a_branch, earlier_commit, pushed_branch, strangers_event]
)
def test_other_refs_and_strangers_events_store_nothing(bench: Bench, case: Callable[[Bench], dict[str, Any]]) -> None:
    """What is not the default branch's tip, or was started by a stranger's event, only restores."""
    fields = case(bench)

    told = bench.run(FILL, **fields)

    assert "not saved: only tasks at the tip of the default branch save" in told.log
    assert bench.entries() == []
    bench.run(FILL)
    assert "packed\ncode" in bench.run(FIND, **fields).log


@pytest.mark.parametrize("pushed_ref", [None, "main", "refs/heads/main"])
def test_the_default_branchs_commit_stores(bench: Bench, pushed_ref: str | None) -> None:
    """A task at a commit, as a push starts it, stores where that is the default branch's tip."""
    told = bench.run(FILL, ref=git(bench.repository, "rev-parse", "main"), pushed_ref=pushed_ref)

    assert "saved" in told.log
    assert len(bench.entries()) == 1


def test_a_failed_script_stores_nothing(bench: Bench) -> None:
    """Only a success leaves an entry; so does a check that fails leave none."""
    bench.run(f"{FILL}; exit 1")
    told = run(
        Ask(
            state=str(bench.root / "state"), repository=bench.repository.as_uri(),
            fields={"script": FILL, "check": "false", "caches": {"rules": [RULE], "scope": SCOPE, "writes": True}},
        )
    )  # fmt: skip

    assert told.reason == "CheckFailed"
    assert bench.entries() == []


def test_an_entry_never_changes(bench: Bench) -> None:
    """A hit is not stored again, whatever the script does to it."""
    bench.run(FILL)
    before = (bench.entries()[0] / ARCHIVE).read_bytes()

    told = bench.run("echo poisoned >~/.npm/one")

    assert "hit" in told.log
    assert "saved" not in told.log
    assert (bench.entries()[0] / ARCHIVE).read_bytes() == before


def test_links_out_and_devices_are_left_out(bench: Bench) -> None:
    """Links that lead out of a cached path, pipes and sockets are not stored, and the log says how many."""
    script = (
        f"{FILL}; ln -s /etc/passwd node_modules/a/out; ln -s ../../.. node_modules/a/up; mkfifo node_modules/pipe; "
        "ln -s a/../../../x node_modules/around; mkdir ~/elsewhere; rm -r ~/.npm; ln -s elsewhere ~/.npm"
    )
    told = bench.run(script)
    later = bench.run("find node_modules ~/.npm; true")

    assert "5 left out" in told.log
    assert "index.js" in later.log
    for gone in ("/out", "/up", "/pipe", "/around", "elsewhere"):
        assert gone not in later.log


def test_what_is_checked_out_stays(bench: Bench) -> None:
    """A cached path that a later commit has, too, keeps the commit's files; a link in its place is not followed."""
    bench.run(FILL)
    bench.commit({"node_modules/a/index.js": "committed\n"})
    assert "packed\ncommitted\n" in bench.run(FIND).log


def test_a_link_in_a_paths_place_is_not_followed(bench: Bench, tmp_path: Path) -> None:
    """Nothing is written behind a link of the commit, and nothing stays of what was restored before it was seen."""
    bench.run(FILL)
    aim = tmp_path / "aim"
    aim.mkdir()
    work = tmp_path / "work"
    git(tmp_path, "clone", "-q", str(bench.repository), str(work))
    (work / "node_modules").symlink_to(aim)
    git(work, "add", "--all")
    git(work, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-qm", "link")
    git(work, "push", "-q", "origin", "HEAD:main")

    told = bench.run("test -e ~/.npm || echo nothing")

    assert "not restored" in told.log
    assert list(aim.iterdir()) == []
    assert "nothing" in told.log


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.size = kind, link, size
    return entry


HOSTILE = {
    "absolute": [member("/etc/x")],
    "no place": [member("7/x")],
    "parent": [member("0/../../x")],
    "device": [member("0/null", tarfile.CHRTYPE)],
    "pipe": [member("0/pipe", tarfile.FIFOTYPE)],
    "hard link": [member("0/a"), member("0/b", tarfile.LNKTYPE, "0/a")],
    "link out": [member("0", tarfile.DIRTYPE), member("0/out", tarfile.SYMTYPE, "/etc")],
    "link up": [member("0", tarfile.DIRTYPE), member("0/up", tarfile.SYMTYPE, "../x")],
    "link around": [member("0/a", tarfile.DIRTYPE), member("0/l", tarfile.SYMTYPE, "a/../../x")],
    "the path itself a link": [member("0", tarfile.SYMTYPE, "x")],
    "git": [member("1/../.git/config")],
}


def forge(entry: Path, members: list[tarfile.TarInfo]) -> None:
    """Put another archive in an entry's place, with a record that fits it."""
    archive = entry / ARCHIVE
    with tarfile.open(archive, "w:gz") as tar:
        for one in [member("0/innocent"), *members]:
            tar.addfile(one, io.BytesIO(b"x" * one.size))
    record = json.loads((entry / RECORD).read_text())
    content = archive.read_bytes()
    record |= {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    (entry / RECORD).write_text(json.dumps(record))


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_archive_is_not_restored(bench: Bench, members: list[tarfile.TarInfo]) -> None:
    """Of an archive that holds anything but safe files nothing is left, and the task goes on."""
    bench.run(FILL)
    forge(bench.entries()[0], members)

    told = bench.run(f"find ~ . -name innocent; {FILL}")

    assert "is not used: it holds" in told.log
    assert "innocent" not in told.log
    assert "saved" in told.log


@pytest.mark.parametrize("part", [ARCHIVE, RECORD])
def test_a_damaged_entry_is_removed_and_stored_again(bench: Bench, part: str) -> None:
    """What is not as its record says is not used, is counted, and the next success stores it anew."""
    bench.run(FILL)
    path = bench.entries()[0] / part
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    bad = metrics.DEPENDENCY_CACHE.labels("bad")._value.get()

    told = bench.run(f"{FIND}; {FILL}")

    assert metrics.DEPENDENCY_CACHE.labels("bad")._value.get() == bad + 1
    assert "nothing" in told.log
    assert "saved" in told.log
    assert "packed\ncode" in bench.run(FIND).log


def test_what_was_used_least_recently_goes(bench: Bench) -> None:
    """Entries are removed by the time of their last use, until all fit the limit."""
    for number in range(3):
        bench.commit({"package-lock.json": f"{number}\n"})
        bench.run("mkdir -p ~/.npm; head -c 100000 /dev/urandom >~/.npm/one")
    entries = sorted(bench.entries(), key=lambda one: json.loads((one / RECORD).read_text())["created_at"])
    for age, entry in zip((200, 100, 300), entries, strict=True):
        os.utime(entry / RECORD, (1_000_000 - age, 1_000_000 - age))

    prune(bench.store, 150_000)

    assert bench.entries() == [entries[1]]


def test_an_entry_larger_than_all_may_be_is_not_stored(bench: Bench) -> None:
    """The limit holds for a single entry, too, and the task succeeds."""
    told = bench.run(
        "mkdir -p ~/.npm; head -c 100000 /dev/urandom >~/.npm/one", settings={"dependency_cache_bytes": 50_000}
    )

    assert "larger than an entry may be" in told.log
    assert bench.entries() == []


def test_a_key_without_files_is_not_used(bench: Bench) -> None:
    """A pattern that matches nothing, or a link only, stores nothing: its entry would never change."""
    told = bench.run(FILL, rule={**RULE, "key": ["missing.lock"]})

    assert "not used: the workspace has no file missing.lock" in told.log
    assert bench.entries() == []


def test_where_nothing_is_kept_the_task_runs_without(bench: Bench) -> None:
    """Where no caches are kept, the log says so and the task succeeds."""
    told = bench.run(FILL, settings={"dependency_cache": False})

    assert "no dependency caches are kept where this task runs" in told.log


def test_a_store_that_can_not_be_written_fails_no_task(bench: Bench) -> None:
    """A file where the store's directory should be is a line in the log."""
    bench.store.parent.mkdir(parents=True)
    bench.store.write_text("in the way")

    assert "not saved" in bench.run(FILL).log


def test_a_script_finds_no_store(bench: Bench) -> None:
    """Inside the fence the store's directory does not exist, nor any of its files."""
    bench.run(FILL)

    told = bench.run(f"find {bench.root} -name '{ARCHIVE}' 2>/dev/null | grep . || echo hidden")

    assert "hidden" in told.log
