"""The shared storage: what attempts leave behind, as files in a directory per attempt.

Names come from scripts: they are hostile. Every path is opened beneath its attempt's
directory, and no link is followed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedReader, FileIO
from pathlib import Path
from typing import BinaryIO

from keruta.domain.file_names import as_bytes
from keruta.domain.messages import message
from keruta.domain.naming import new_id, parse_attempt_id
from keruta.domain.uploads import Part
from keruta.errors import Conflict, InvalidRequest, NotFound, Problem, StorageFull, TooLarge
from keruta.ports import Readable

FILE_LIMIT_BYTES = 1024 * 1024 * 1024
PATH_LIMIT_BYTES = 2048  # as long as fits into an address with all of it escaped
LOG_NAME = "log.gz"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_OTHER_KINDS = (errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENOTEMPTY, errno.EEXIST)


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

    def store(self, attempt: str, path: str, content: Readable, length: int | None, part: Part | None = None) -> None:
        """Stores a file, whole or not at all; or a part of one, which is whole with its last part.

        A part that is sent again, as after a lost answer, changes nothing.

        Raises:
            InvalidRequest: the path leads elsewhere; what was sent is not as long as was said, or not what its digest
                says.
            Conflict: PartMissing, what comes before this part is not there.
            TooLarge: more than 1 GiB.
            StorageFull: the volume has no room for it; nothing of it is left there.
        """
        parts = safe_parts(path)
        if parts is None:
            raise InvalidRequest(message("file_path"))
        if length is None:
            problem = InvalidRequest(message("file_length_required"), reason="LengthRequired")
            problem.status = 411
            raise problem
        part = part or Part(total_bytes=length)
        if part.first + length > FILE_LIMIT_BYTES:
            raise TooLarge(message("file_too_large", limit=FILE_LIMIT_BYTES))
        try:
            self._store(self.directory(attempt), parts, part, content, length)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise StorageFull(message("file_storage_full")) from error
            if error.errno in _OTHER_KINDS:  # a directory has this name, or a file or a link has a directory's
                raise InvalidRequest(message("file_path")) from error
            raise

    def _store(self, directory: Path, parts: tuple[str, ...], part: Part, content: Readable, length: int) -> None:
        whole = part.first == 0 and part.total_bytes is not None
        name = hashlib.sha256(b"/".join(map(os.fsencode, parts))).hexdigest()
        spool = f".{new_id()}" if whole else f".{name}.part"
        directory.mkdir(parents=True, exist_ok=True)
        with _opened(directory) as top:
            try:
                self._write(top, spool, parts, part, content, length)
            except OSError:  # also the room that earlier parts of it take is given back
                _unlink(spool, top)
                raise
            except Problem:
                if whole:
                    _unlink(spool, top)
                raise

    def _write(
        self, top: int, spool: str, parts: tuple[str, ...], part: Part, content: Readable, length: int
    ) -> None:  # fmt: skip
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (0 if part.first else os.O_CREAT)
        try:
            opened = os.open(spool, flags, 0o640, dir_fd=top)
        except FileNotFoundError as error:
            if part.total_bytes is not None and _is(top, parts, part):
                return  # sent again: the answer to the last part was lost
            raise _part_missing(0) from error
        with os.fdopen(opened, "r+b", buffering=0) as file:
            there = os.fstat(file.fileno()).st_size
            if part.first > there:
                raise _part_missing(there)
            # Each byte has its place: a part that arrives twice at once is the same afterwards.
            file.seek(part.first)
            left = length
            while left and (block := content.read(min(left, 1 << 20))):
                _write_all(file, block)
                left -= len(block)
            if left:
                raise InvalidRequest(message("file_cut_short"))
            if part.total_bytes is None:
                return
            file.truncate(part.total_bytes)
            if part.sha256 is not None and _sha256(file) != part.sha256:
                _unlink(spool, top)
                raise InvalidRequest(message("file_damaged"), reason="DigestMismatch")
            os.fsync(file.fileno())
        with _beneath(top, parts[:-1], make=True) as parent:
            os.rename(spool, parts[-1], src_dir_fd=top, dst_dir_fd=parent)

    def forget(self, attempt: str) -> None:
        """Delete all that an attempt has stored."""
        shutil.rmtree(self.directory(attempt), ignore_errors=True)


def _part_missing(there: int) -> Conflict:
    return Conflict(message("file_part_missing", size=there), reason="PartMissing")


def _is(top: int, parts: tuple[str, ...], part: Part) -> bool:
    """Return whether the whole file that ends with this part is there."""
    try:
        with (
            _beneath(top, parts[:-1]) as parent,
            os.fdopen(os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=parent), "rb") as file,
        ):
            size = os.fstat(file.fileno()).st_size
            return size == part.total_bytes and part.sha256 is not None and _sha256(file) == part.sha256
    except OSError:
        return False


@contextmanager
def _opened(path: Path | str, within: int | None = None) -> Iterator[int]:
    """Open a directory, which is no link."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=within)
    try:
        yield directory
    finally:
        os.close(directory)


@contextmanager
def _beneath(top: int, parts: tuple[str, ...], *, make: bool = False) -> Iterator[int]:
    """Open the directory at a path beneath another, with no link on the way."""
    with ExitStack() as opened:
        for part in parts:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=top)
            top = opened.enter_context(_opened(part, top))
        yield top


def _unlink(name: str, within: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=within)


def _write_all(file: FileIO, block: bytes) -> None:
    """Write all of it: a disk that is almost full takes the beginning."""
    while block:
        block = block[file.write(block) or 0 :]


def _sha256(file: FileIO | BufferedReader) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()
