"""Stores of an attempt's files: the shared volume, or keruta itself by upload, behind one port."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import quote

import urllib3
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from agent.problem_documents import detail_of
from agent.settings import UPLOAD_SECONDS
from keruta.domain.file_names import as_text
from keruta.domain.messages import Message, message
from keruta.domain.uploads import PART_BYTES, Part, content_range, representation_digest
from keruta.errors import PhaseError

# keruta may be away for a while, or have no session of this worker's: both pass.
_PASSES = frozenset({401, 408, 425, 429, 500, 502, 503, 504})
_WORK_FILE = "earlier.bundle"


class ResultStore(Protocol):
    """The files of one attempt, as keruta keeps them."""

    def begin(self) -> None:
        """Forget what an earlier, interrupted try has stored. Raises OSError."""
        ...

    def put(self, path: bytes, blocks: Iterable[bytes]) -> tuple[int, str]:
        """Store a file, whole or not at all; return its size and its SHA-256. Raises OSError, and what `blocks` does.

        Args:
            path: relative to the attempt's directory, and safe.
        """
        ...

    def work(self, attempt: int, name: str) -> Path:
        """Return a bundle that an earlier attempt of the task has stored. Raises PhaseError: WorkMissing."""
        ...


class VolumeStore:
    """`ResultStore` on the shared volume, which is mounted here.

    Args:
        root: its directory of all results.
    """

    def __init__(self, root: Path, task: str, attempt: int) -> None:
        self._task = root / task
        self._target = self._task / str(attempt)

    def begin(self) -> None:
        shutil.rmtree(self._target, ignore_errors=True)

    def put(self, path: bytes, blocks: Iterable[bytes]) -> tuple[int, str]:
        to = Path(os.fsdecode(os.path.join(os.fsencode(self._target), path)))
        digest, size = hashlib.sha256(), 0
        try:
            to.parent.mkdir(parents=True, exist_ok=True)
            with to.open("wb") as out:
                for block in blocks:
                    digest.update(block)
                    size += out.write(block)
        except OSError:
            to.unlink(missing_ok=True)
            raise
        return size, digest.hexdigest()

    def work(self, attempt: int, name: str) -> Path:
        path = self._task / str(attempt) / name
        if path.is_symlink() or not path.is_file():
            raise _work_missing(attempt)
        return path


class Requests(Protocol):
    """Requests to keruta with the agent's token (`agent.reporter.HttpTransport`); OSError where no answer comes."""

    def request(
        self, method: str, path: str, body: bytes | None, *, headers: dict[str, str] | None = None
    ) -> urllib3.BaseHTTPResponse: ...
    def download(self, path: str, to: BinaryIO) -> int: ...


class _AwayError(OSError):
    """keruta gave no answer, or one that passes."""


class UploadStore:
    """`ResultStore` by upload to report_status, in parts; each is sent again until it is answered, for ten minutes.

    Args:
        directory: where work of an earlier attempt is put.
    """

    def __init__(
        self, requests: Requests, task: str, attempt: int, directory: Path, *, seconds: float = UPLOAD_SECONDS
    ) -> None:
        self._requests = requests
        self._directory = directory
        self._at = f"/agent/v1/tasks/{task}/attempts/{attempt}"
        self._again = Retrying(
            retry=retry_if_exception_type(_AwayError),
            wait=wait_exponential(multiplier=0.2, max=5.0),
            stop=stop_after_delay(seconds),
            reraise=True,
        )

    def begin(self) -> None:
        self._send("DELETE", "artifacts", None, {})

    def put(self, path: bytes, blocks: Iterable[bytes]) -> tuple[int, str]:
        digest, first = hashlib.sha256(), 0
        to = f"artifacts/{quote(as_text(path), safe='/')}"
        for data, is_last in _parts(blocks):
            digest.update(data)
            total = first + len(data) if is_last else None
            headers = {"Content-Range": content_range(Part(first=first, total_bytes=total), len(data))}
            if is_last:
                headers["Repr-Digest"] = representation_digest(digest.hexdigest())
            self._send("PUT", to, data, headers)
            first += len(data)
        return first, digest.hexdigest()

    def work(self, attempt: int, name: str) -> Path:
        path = self._directory / _WORK_FILE
        if not path.exists():
            part = self._directory / f".{_WORK_FILE}"
            try:
                status = self._again(self._download, part)
            except OSError as error:
                raise PhaseError("InternalError", message("attempt_fetch_away", what=_work(attempt))) from error
            if status != 200:
                raise _work_missing(attempt)
            part.rename(path)
        return path

    def _download(self, to: Path) -> int:
        with to.open("wb") as file:
            try:
                status = self._requests.download(f"{self._at}/work", file)
            except OSError as error:
                raise _AwayError(str(error)) from error
        if status in _PASSES:
            raise _AwayError(f"keruta answered {status}")
        return status

    def _send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> None:
        self._again(self._send_once, method, f"{self._at}/{path}", body, headers)

    def _send_once(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> None:
        sent = {"Content-Type": "application/octet-stream", **headers}
        try:
            response = self._requests.request(method, path, body, headers=sent)
        except OSError as error:
            raise _AwayError(f"keruta does not answer: {error}") from error
        if response.status in _PASSES:
            raise _AwayError(f"keruta answered {response.status}")
        if response.status == 507:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if response.status != 204:
            said = detail_of(response.data)
            raise OSError(f"keruta refused it with {response.status}" + (f": {said}" if said else ""))


def _parts(blocks: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Yield parts of the size that is sent at once, each with whether it is the last; an empty file has one."""
    part = bytearray()
    for block in blocks:
        part += block
        while len(part) > PART_BYTES:
            yield bytes(part[:PART_BYTES]), False
            del part[:PART_BYTES]
    yield bytes(part), True


def _work_missing(attempt: int) -> PhaseError:
    return PhaseError("WorkMissing", message("push_work_missing", attempt=attempt))


def _work(attempt: int) -> Message:
    return message("attempt_its_work", attempt=attempt)
