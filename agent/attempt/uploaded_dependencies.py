"""Dependency caches of an agent without the shared volume: kept by keruta, fetched and uploaded with its token."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from agent.attempt.result_stores import Requests, UploadStore
from keruta import structs
from keruta.adapters.dependency_store import ARCHIVE, BadEntryError, candidates, entry_name, verify
from keruta.adapters.results import FILE_LIMIT_BYTES
from keruta.domain.catalog.caches import CacheEntries, CacheRecord, uploaded_name

SECONDS = 60.0  # as long as one request is made again
_BLOCK_BYTES = 1 << 20


class UploadedStore:
    """`keruta.adapters.dependency_store.DependencyStore` by report_status.

    An archive goes the way of the attempt's files, in parts; then keruta is told of what it is an entry.

    Args:
        directory: of the agent's own, for archives on their way.
    """

    limit_bytes = FILE_LIMIT_BYTES

    def __init__(self, requests: Requests, task: str, attempt: int, directory: Path) -> None:
        self._requests, self._directory = requests, directory
        self._files = UploadStore(requests, task, attempt, directory, seconds=SECONDS)
        self._at = f"/agent/v1/tasks/{task}/attempts/{attempt}/caches"

    def candidates(self, space: str, key: str, beginnings: Sequence[str]) -> Iterator[CacheRecord]:
        answer = self._requests.request("GET", f"{self._at}/{space}", None)
        if answer.status != 200:
            raise OSError(f"keruta answered {answer.status}")
        try:
            found = structs.from_json(answer.data, type=CacheEntries).entries
        except msgspec.MsgspecError as error:
            raise OSError("the answer is none of keruta's") from error
        yield from candidates(found, key, beginnings)

    def open(self, space: str, record: CacheRecord, check: Callable[[], None]) -> BinaryIO:
        descriptor, name = tempfile.mkstemp(prefix="cache-", dir=self._directory)
        os.unlink(name)
        file = os.fdopen(descriptor, "w+b")
        try:
            self._fetch(f"{self._at}/{space}/{entry_name(record.key)}", file)
            file.seek(0)
            verify(file, record, check)
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return file

    def _fetch(self, path: str, to: BinaryIO) -> None:
        status = self._requests.download(path, to)
        if status == 404:
            raise FileNotFoundError(path)
        if status != 200:
            raise OSError(f"keruta answered {status}")

    def drop(self, space: str, record: CacheRecord, why: str) -> None:
        """Leave it to keruta, which looks at an entry when another one is to take its place."""

    @contextmanager
    def part(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="cache-", dir=self._directory) as directory:
            yield Path(directory)

    def keep(self, space: str, part: Path, record: CacheRecord, check: Callable[[], None]) -> bool:
        with (part / ARCHIVE).open("rb") as file:
            size, sha256 = self._files.put(uploaded_name(record).encode(), _blocks(file, check))
        if (size, sha256) != (record.size_bytes, record.sha256):
            raise BadEntryError("the archive changed while it was uploaded")
        sent = {"Content-Type": "application/json"}
        answer = self._requests.request("POST", f"{self._at}/{space}", msgspec.json.encode(record), headers=sent)
        if answer.status not in (204, 409):
            raise OSError(f"keruta answered {answer.status}")
        return answer.status == 204


def _blocks(file: BinaryIO, check: Callable[[], None]) -> Iterator[bytes]:
    while block := file.read(_BLOCK_BYTES):
        check()
        yield block
