"""Storage of dependency caches' entries: a directory that no script can write to, one for each repository.

An entry is a directory with an archive and its record. It is made beside its place and renamed there, so it is whole or
absent, and of two that are made at once the first stays. An entry never changes; what was used least recently goes.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

from keruta import metrics, structs
from keruta.domain.catalog.caches import CacheRecord
from keruta.domain.naming import new_id

log = logging.getLogger(__name__)

ARCHIVE, RECORD = "archive.tar.gz", "record.json"
PART_PREFIX = "part-"
PART_SECONDS = 3600  # a part that is older was left behind by an agent that died
_BLOCK_BYTES = 1 << 20
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST)


class BadEntryError(Exception):
    """An entry is not what its record says; the message says how."""


class DependencyStore(Protocol):
    """The entries of one repository."""

    def candidates(self, space: str, key: str, beginnings: Sequence[str]) -> Iterator[CacheRecord]:
        """Yield the entry of the key, then those whose keys begin so: by the order of the beginnings, newest first.

        Args:
            space: which entries are alike: of one image, with the same paths.
        """
        ...

    def open(self, space: str, record: CacheRecord, check: Callable[[], None]) -> BinaryIO:
        """Open an entry's archive, whose content was verified. A bad one is removed.

        Raises:
            BadEntryError, OSError, and what `check` raises.
        """
        ...

    def drop(self, space: str, record: CacheRecord, why: str) -> None:
        """Remove an entry that can't be restored, so that another one takes its place."""
        ...

    def part(self) -> AbstractContextManager[Path]:
        """Give an empty directory to make an archive in; it is gone in the end."""
        ...

    def keep(self, space: str, part: Path, record: CacheRecord, check: Callable[[], None]) -> bool:
        """Store the archive in that directory as an entry. Return False where there is one already. Raises OSError."""
        ...

    @property
    def limit_bytes(self) -> int: ...


class LocalStore:
    """`DependencyStore` in a directory of this machine, or of a shared volume.

    Args:
        root: holds the directories of all repositories that this agent may use; in a Job Pod, one.
        scope: this repository's directory.
        limit_bytes: the size of everything under `root`.
    """

    def __init__(self, root: Path, scope: str, limit_bytes: int) -> None:
        self._root, self._own, self.limit_bytes = root, root / scope, limit_bytes

    def candidates(self, space: str, key: str, beginnings: Sequence[str]) -> Iterator[CacheRecord]:
        yield from candidates(self.records(space), key, beginnings)

    def open(self, space: str, record: CacheRecord, check: Callable[[], None]) -> BinaryIO:
        directory = self._own / space / entry_name(record.key)
        try:
            file = _open(directory / ARCHIVE)
        except FileNotFoundError:
            raise  # another agent removed it
        except OSError as error:
            self._drop(directory, str(error))
            raise BadEntryError("its archive can't be opened") from error
        try:
            verify(file, record, check)
            with suppress(OSError):  # written by another user, or mounted to be read only
                os.utime(directory / RECORD)  # what is used is kept
        except BadEntryError as error:
            file.close()
            self._drop(directory, str(error))
            raise
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return file

    def drop(self, space: str, record: CacheRecord, why: str) -> None:
        self._drop(self._own / space / entry_name(record.key), why)

    def open_named(self, space: str, name: str) -> BinaryIO:
        """Open an entry's archive by the entry's name; its reader verifies it. Raises OSError."""
        file = _open(self._own / space / name / ARCHIVE)
        with suppress(OSError):
            os.utime(self._own / space / name / RECORD)
        return file

    @contextmanager
    def part(self) -> Iterator[Path]:
        directory = self._own / f"{PART_PREFIX}{new_id()}"
        directory.mkdir(mode=0o700, parents=True)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def keep(self, space: str, part: Path, record: CacheRecord, check: Callable[[], None] = lambda: None) -> bool:
        (part / RECORD).write_bytes(msgspec.json.encode(record))
        for path in (part / ARCHIVE, part / RECORD, part):
            _flush(path)
        within = self._own / space
        within.mkdir(mode=0o700, exist_ok=True)
        try:
            os.rename(part, within / entry_name(record.key))
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            raise
        _flush(within)
        prune(self._root, self.limit_bytes)
        return True

    def records(self, space_name: str) -> list[CacheRecord]:
        """Return what is on record of all whole entries."""
        space = self._own / space_name
        try:
            names = [name for name in os.listdir(space) if not name.startswith(PART_PREFIX)]
        except OSError:
            return []
        found = []
        for name in names:
            try:
                with _open(space / name / RECORD) as file:
                    record = structs.from_json(file.read(1 << 16), type=CacheRecord)
            except FileNotFoundError:
                continue  # being removed
            except (OSError, msgspec.MsgspecError, ValueError) as error:
                self._drop(space / name, f"its record can't be read: {type(error).__name__}")
                continue
            if entry_name(record.key) == name:
                found.append(record)
            else:
                self._drop(space / name, "its record is of another entry")
        return found

    def _drop(self, directory: Path, why: str) -> None:
        metrics.DEPENDENCY_CACHE.labels("bad").inc()
        told = {"action": "dependency_cache_bad", "entry": str(directory.relative_to(self._root))}
        log.error("dependency cache entry removed: %s", why, extra=told)
        _remove(directory)


def candidates(found: Sequence[CacheRecord], key: str, beginnings: Sequence[str]) -> Iterator[CacheRecord]:
    """Yield the entry of the key, then those whose keys begin so: by the order of the beginnings, newest first."""
    if (exact := next((one for one in found if one.key == key), None)) is not None:
        yield exact
    newest = sorted(found, key=lambda one: one.created_at, reverse=True)
    given = {key}
    for beginning in beginnings:
        for one in newest:
            if one.key.startswith(beginning) and one.key not in given:
                given.add(one.key)
                yield one


def prune(root: Path, limit_bytes: int) -> None:
    """Remove what was used least recently until everything fits the limit; and parts that were left behind."""
    found = sorted(_entries(root))
    total = sum(size for _, size, _ in found)
    for used_at, size, directory in found:
        stale = directory.name.startswith(PART_PREFIX) and used_at < time.time() - PART_SECONDS
        if (total > limit_bytes and not directory.name.startswith(PART_PREFIX)) or stale:
            _remove(directory)
            total -= size


def _entries(root: Path) -> Iterator[tuple[float, int, Path]]:
    """Yield each entry's and each part's time of last use, size and directory."""
    for scope in _directories(root):
        for inner in _directories(scope):
            if inner.name.startswith(PART_PREFIX):
                yield from _measured(inner)
            else:
                for entry in _directories(inner):
                    yield from _measured(entry)


def _measured(directory: Path) -> Iterator[tuple[float, int, Path]]:
    try:
        with os.scandir(directory) as files:
            found = {one.name: one.stat(follow_symlinks=False) for one in files}
        used_at = found[RECORD] if RECORD in found else directory.stat(follow_symlinks=False)
    except FileNotFoundError:
        return
    yield used_at.st_mtime, sum(one.st_size for one in found.values()), directory


def _directories(root: Path) -> Iterator[Path]:
    try:
        with os.scandir(root) as entries:
            found = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return
    yield from found


def _remove(directory: Path) -> None:
    """Remove an entry; a reader that has opened it reads on, and no other finds a part of it."""
    gone = directory.parent / f"{PART_PREFIX}{new_id()}"
    try:
        os.rename(directory, gone)
    except OSError:
        return  # another agent removed it
    if gone.is_dir() and not gone.is_symlink():
        shutil.rmtree(gone, ignore_errors=True)
    else:
        gone.unlink(missing_ok=True)


def entry_name(key: str) -> str:
    """Return the name of an entry's directory."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _open(path: Path) -> BinaryIO:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def verify(file: BinaryIO, record: CacheRecord, check: Callable[[], None]) -> None:
    """Read an archive from where it stands. Raises BadEntryError, and what `check` raises."""
    if os.fstat(file.fileno()).st_size != record.size_bytes:
        raise BadEntryError("its archive has another size than its record says")
    found = hashlib.sha256()
    while block := file.read(_BLOCK_BYTES):
        check()
        found.update(block)
    if found.hexdigest() != record.sha256:
        raise BadEntryError("its archive has another SHA-256 than its record says")


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
