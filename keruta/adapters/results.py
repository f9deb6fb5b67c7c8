"""The shared storage: what attempts leave behind, as files in a directory per attempt.

Names come from scripts: they are hostile. Every path is opened beneath its attempt's
directory, and no link is followed.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from keruta.domain.file_names import as_bytes
from keruta.domain.messages import message
from keruta.domain.naming import new_id, parse_attempt_id
from keruta.errors import InvalidRequest, NotFound, TooLarge
from keruta.ports import Readable

FILE_LIMIT_BYTES = 1024 * 1024 * 1024
PATH_LIMIT_BYTES = 2048  # as long as fits into an address with all of it escaped
LOG_NAME = "log.gz"


def safe_parts(path: str) -> tuple[str, ...] | None:
    """A relative path's parts, or None if it could lead anywhere else.

    Args:
        path: as `keruta.domain.file_names` writes it; the parts are what the file system calls them.
    """
    try:
        return _parts(as_bytes(path))
    except UnicodeEncodeError:
        return None


def _parts(path: bytes) -> tuple[str, ...] | None:
    parts = path.split(b"/")
    if len(path) > PATH_LIMIT_BYTES or b"\0" in path:
        return None
    return (
        None if any(part in (b"", b"..", b".") or len(part) > 255 for part in parts) else tuple(map(os.fsdecode, parts))
    )


class Results:
    """Files by attempt and path.

    Args:
        root: the shared volume's directory.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def directory(self, attempt: str) -> Path:
        """Return the directory of an attempt's files. Raises NotFound for a name that is not an attempt's."""
        try:
            task, number = parse_attempt_id(attempt)
        except ValueError as error:
            raise NotFound(message("attempt_missing")) from error
        return self._root / task / str(number)

    def open(self, attempt: str, path: str) -> BinaryIO:
        """Opens a file for reading. Raises NotFound when there is none, or when a link is on the way."""
        for parts in (safe_parts(path), _parts(path.encode("utf-8", "surrogateescape"))):
            if parts is not None and (file := self._open(attempt, parts)) is not None:
                return file
        raise NotFound(message("file_missing"))

    def _open(self, attempt: str, parts: tuple[str, ...]) -> BinaryIO | None:
        try:
            directory = os.open(self.directory(attempt), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                for part in parts[:-1]:
                    inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
                    os.close(directory)
                    directory = inner
                file = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
            finally:
                os.close(directory)
        except OSError:
            return None
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            return None
        return os.fdopen(file, "rb")

    def store(self, attempt: str, path: str, content: Readable, length: int | None) -> None:
        """Stores a file, whole or not at all.

        Raises:
            InvalidRequest: the path leads elsewhere, or what was sent is not as long as was said.
            TooLarge: more than 1 GiB.
        """
        parts = safe_parts(path)
        if parts is None:
            raise InvalidRequest(message("file_path"))
        if length is None:
            problem = InvalidRequest(message("file_length_required"), reason="LengthRequired")
            problem.status = 411
            raise problem
        if length > FILE_LIMIT_BYTES:
            raise TooLarge(message("file_too_large", limit=FILE_LIMIT_BYTES))
        target = self.directory(attempt).joinpath(*parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{new_id()}")
        try:
            with part.open("wb") as file:
                left = length
                while left and (block := content.read(min(left, 1 << 20))):
                    file.write(block)
                    left -= len(block)
                file.flush()
                os.fsync(file.fileno())
            if left:
                raise InvalidRequest(message("file_cut_short"))
            part.rename(target)
        finally:
            part.unlink(missing_ok=True)
