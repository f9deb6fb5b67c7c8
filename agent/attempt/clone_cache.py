"""The clone cache: packs of commits that were fetched before, so that the next checkout spares the transfer.

Each repository has a directory, by its address and the credential that read it. An entry is one file, a pack; its
index is not kept, and is made anew from the content at every use. So what comes out of the cache is what its hashes
say, whoever wrote the file. See docs/decisions/2026-11-26-clone-cache.md.
"""

from __future__ import annotations

import errno
import logging
import mmap
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

from keruta import metrics
from keruta.adapters.git.command import Git
from keruta.domain.messages import message
from keruta.domain.naming import new_id
from keruta.domain.task import RepositoryRef
from keruta.errors import PhaseError

log = logging.getLogger(__name__)

SUFFIX = ".pack"
PART_PREFIX = "part-"
PART_SECONDS = 3600  # a part that is older was left behind by an agent that died
_BLOCK_BYTES = 1 << 20
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class BadEntryError(Exception):
    """An entry does not hold what its name says; the message says why."""


class CloneCache(msgspec.Struct, frozen=True, kw_only=True):
    """The packs of one repository, read with one credential; each holds one commit without its parents.

    Args:
        root: holds the directories of all repositories that this agent may use; in a Job Pod, one.
        name: this repository's directory: `Specification.clone_cache_name`.
        limit_bytes: the size of everything under `root`; what was used least recently is removed.
    """

    root: Path
    name: str
    limit_bytes: int

    @staticmethod
    def serves(repository: RepositoryRef) -> bool:
        """Says whether what is asked for is what an entry holds: one whole commit, no history and no other ref."""
        return repository.depth == 1 and not (repository.tags or repository.submodules or repository.paths)

    def fill(self, git: Git, commit: str) -> bool:
        """Copies the pack of a commit into a repository and verifies it there; returns whether it was there.

        The repository's `shallow` file names the commits whose parents are not expected. An entry that is bad is
        removed, and reported to operators.

        Raises:
            PhaseError: WorkspaceFailed, if the workspace's disk is full.
            Stopped: the job is to end.
        """
        target = Path(git.directory) / ".git" / "objects" / "pack" / f"pack-{commit}.pack"
        try:
            with self._directory() as directory:
                _copy_out(directory, commit + SUFFIX, target)
            _verify(git, target, commit)
        except FileNotFoundError:
            metrics.CLONE_CACHE.labels("miss").inc()
            return False
        except (BadEntryError, OSError) as error:
            _forget(target)
            self._drop(commit, str(error))
            return False
        except BaseException:
            _forget(target)
            raise
        metrics.CLONE_CACHE.labels("hit").inc()
        return True

    def keep(self, git: Git, commit: str) -> None:
        """Copies the pack that was just fetched into the cache. A failure is logged and changes nothing else.

        The part is written in the cache's own file system, flushed to the disk and renamed, so an entry is whole or
        absent, also after a power failure.
        """
        packs = sorted((Path(git.directory) / ".git" / "objects" / "pack").glob("*.pack"))
        if len(packs) != 1 or packs[0].stat().st_size > self.limit_bytes:
            return
        try:
            (self.root / self.name).mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._directory() as directory:
                _copy_in(packs[0], directory, commit + SUFFIX)
            prune(self.root, self.limit_bytes)
        except OSError as error:
            metrics.CLONE_CACHE.labels("failed").inc()
            log.warning("clone cache not written: %s", error.strerror, extra={"action": "clone_cache_failed"})

    @contextmanager
    def _directory(self) -> Iterator[int]:
        """Opens this repository's directory. Raises OSError, also where a link stands in its place."""
        descriptor = os.open(self.root / self.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _drop(self, commit: str, why: str) -> None:
        metrics.CLONE_CACHE.labels("bad").inc()
        log.error(
            "clone cache entry removed, and fetched again: %s", why,
            extra={"action": "clone_cache_bad", "entry": f"{self.name}/{commit}{SUFFIX}"},
        )  # fmt: skip
        try:
            try:
                with self._directory() as directory:
                    _remove(directory, commit + SUFFIX)
            except NotADirectoryError:  # a link or a file in the directory's place
                (self.root / self.name).unlink(missing_ok=True)
        except OSError as error:
            log.warning("clone cache entry not removed: %s", error.strerror, extra={"action": "clone_cache_failed"})


def _copy_out(directory: int, name: str, target: Path) -> None:
    """Copies an entry: never a link to it, since the script may write to its repository.

    Raises:
        FileNotFoundError: there is no such entry.
        BadEntryError: it is not a regular file.
        PhaseError: the workspace's disk is full.
    """
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    with os.fdopen(descriptor, "rb") as source:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BadEntryError("not a regular file")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with target.open("xb") as out:
                shutil.copyfileobj(source, out, _BLOCK_BYTES)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise PhaseError("WorkspaceFailed", message("git_disk_full")) from error
            raise
        try:
            os.utime(descriptor)  # what is used is kept
        except PermissionError:  # written by another user; it can still be read
            pass


def _verify(git: Git, pack: Path, commit: str) -> None:
    """Makes the pack's index from its content: each object's hash is computed, and everything it names must be there.

    Raises:
        BadEntryError, PhaseError (WorkspaceFailed), Stopped.
    """
    try:
        git("index-pack", "--threads=1", "--check-self-contained-and-connected", str(pack))
    except PhaseError as error:
        if error.reason == "WorkspaceFailed":
            raise
        raise BadEntryError(error.message) from error
    if not _holds(pack.with_suffix(".idx"), bytes.fromhex(commit)):
        raise BadEntryError("the commit that its name says is not in it")


def _holds(index: Path, wanted: bytes) -> bool:
    """Says whether an index of version 2 lists an object. Source: gitformat-pack(5)."""
    with index.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        names = 8 + 256 * 4

        def total(first: int) -> int:
            return int.from_bytes(content[8 + first * 4 : 12 + first * 4], "big")

        low, high = total(wanted[0] - 1) if wanted[0] else 0, total(wanted[0])
        while low < high:
            middle = (low + high) // 2
            at = names + middle * len(wanted)
            found = content[at : at + len(wanted)]
            if found == wanted:
                return True
            low, high = (middle + 1, high) if found < wanted else (low, middle)
    return False


def _copy_in(pack: Path, directory: int, name: str) -> None:
    part = f"{PART_PREFIX}{new_id()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(part, flags, 0o600, dir_fd=directory), "wb") as out:
            with pack.open("rb") as source:
                shutil.copyfileobj(source, out, _BLOCK_BYTES)
            _flush(out)
        os.rename(part, name, src_dir_fd=directory, dst_dir_fd=directory)
        os.fsync(directory)
    except BaseException:
        _remove(directory, part)
        raise


def _flush(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _remove(directory: int, name: str) -> None:
    """Removes an entry, whatever it is; a directory too. Raises OSError, but not for one that is gone."""
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        shutil.rmtree(name, dir_fd=directory)


def _forget(pack: Path) -> None:
    """A pack that is not to be used is not left in the workspace."""
    for suffix in (".pack", ".idx", ".rev"):
        pack.with_suffix(suffix).unlink(missing_ok=True)


def prune(root: Path, limit_bytes: int) -> None:
    """Removes what was used least recently, until everything under `root` fits the limit; and parts left behind."""
    found = sorted(_entries(root))
    total = sum(size for _, size, _ in found)
    for used_at, size, path in found:
        stale = path.name.startswith(PART_PREFIX) and used_at < time.time() - PART_SECONDS
        if total <= limit_bytes and not stale:
            continue
        try:
            path.unlink()
        except OSError:
            continue  # another agent removed it
        total -= size


def _entries(root: Path) -> Iterator[tuple[float, int, Path]]:
    """Return each file's time of last use, size and path. Links are listed as links and not followed."""
    with os.scandir(root) as entries:
        directories = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    for directory in directories:
        with os.scandir(directory) as entries:
            files = list(entries)
        for entry in files:
            try:
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(found.st_mode):
                yield found.st_mtime, found.st_size, Path(entry.path)
