"""Dependency caches that agents without the shared volume fetch and upload, beside the results on that volume."""

from __future__ import annotations

import errno
import os
import stat
import time
from pathlib import Path
from typing import BinaryIO

import msgspec

from keruta.adapters.dependency_store import ARCHIVE, BadEntryError, LocalStore
from keruta.adapters.results import Results
from keruta.domain.catalog.caches import CacheRecord, uploaded_name
from keruta.domain.messages import message
from keruta.errors import Conflict, InvalidRequest, NotFound, StorageFull

DIRECTORY = "dependencies"  # no task's: those are longer


class DependencyUploads:
    """`keruta.ports.DependencyFiles` in a directory of the results' volume.

    Args:
        results_dir: where uploads of attempts lie too, so that one becomes an entry by its name alone.
        limit_bytes: the size of all entries.
    """

    def __init__(self, results_dir: Path, limit_bytes: int) -> None:
        self._root, self._results, self._limit = results_dir / DIRECTORY, Results(results_dir), limit_bytes

    def records(self, scope: str, space: str) -> list[CacheRecord]:
        return self._store(scope).records(space)

    def open(self, scope: str, space: str, name: str) -> BinaryIO:
        try:
            return self._store(scope).open_named(space, name)
        except OSError as error:
            raise NotFound(message("file_missing")) from error

    def keep(self, scope: str, space: str, attempt: str, record: CacheRecord) -> None:
        uploaded = self._results.directory(attempt) / uploaded_name(record)
        store = self._store(scope)
        try:
            with store.part() as part:
                os.rename(uploaded, part / ARCHIVE)
                found = os.stat(part / ARCHIVE, follow_symlinks=False)
                if not stat.S_ISREG(found.st_mode) or found.st_size != record.size_bytes:
                    raise InvalidRequest(message("file_cut_short"))
                wanted = msgspec.structs.replace(record, created_at=time.time())
                kept = store.keep(space, part, wanted) or (
                    _drop_bad(store, space, record.key) and store.keep(space, part, wanted)
                )
        except FileNotFoundError as error:
            raise NotFound(message("file_missing")) from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageFull(message("file_storage_full")) from error
            raise
        if not kept:
            raise Conflict(message("cache_there"), reason="CacheThere")

    def _store(self, scope: str) -> LocalStore:
        return LocalStore(self._root, scope, self._limit)


def _drop_bad(store: LocalStore, space: str, key: str) -> bool:
    """Remove the entry of a key if it is damaged; return whether there is none any more."""
    for one in store.records(space):
        if one.key == key:
            try:
                store.open(space, one, lambda: None).close()
            except (BadEntryError, FileNotFoundError):
                return True
            return False
    return True
