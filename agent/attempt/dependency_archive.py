"""The archive of a dependency cache: regular files, directories, and symbolic links that stay within one cached path.

What is stored was a script's, so it is opened beneath its place, without links. What is restored is checked as if
anybody could have made it. A link is kept only if it first climbs no further than its own path and never climbs again:
then no link, nor a chain of them, leads out of the cached path.
"""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO

import msgspec

from agent.attempt.workspace_files import Beneath

FILES_MOST = 1_000_000
BYTES_MOST = 10 << 30  # unpacked
DEPTH_MOST = 200  # directories within directories: each is an open descriptor
PACK_LEVEL = 1  # package caches are packed already; a better level costs more time than it saves
_HEADER_BYTES = 64 * 1024
_BLOCK_BYTES = 1 << 20


class UnsafeArchiveError(Exception):
    """An archive that is not restored; the message says why."""


class TooLargeError(Exception):
    """More than is stored in one entry."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A cached path: relative to a directory that no script can replace."""

    base: Path
    path: str

    @property
    def raw(self) -> bytes:
        return os.fsencode(self.path)


class Written(msgspec.Struct, kw_only=True):
    """The amounts of what was stored; `left_out` counts what is neither file, directory nor link that stays within."""

    files: int = 0
    bytes: int = 0
    left_out: int = 0


def link_stays(depth: int, target: str) -> bool:
    """Return whether a link stays within its path: `depth` directories below it, it climbs no further, and only first.

    Where climbing comes first it starts from a real directory, so the count holds whatever else is a link.
    """
    parts = target.split("/")
    climbs = 0
    while climbs < len(parts) and parts[climbs] == "..":
        climbs += 1
    return not target.startswith("/") and "\0" not in target and climbs <= depth and ".." not in parts[climbs:]


# ---------------------------------------------------------------- storing


def write_archive(
    target: BinaryIO, places: Sequence[Place], *, limit_bytes: int = BYTES_MOST,
    check: Callable[[], None] = lambda: None,
) -> Written:  # fmt: skip
    """Write an archive of what is at the places; of what is not there, nothing.

    Args:
        check: called before each file; what it raises ends the writing.

    Raises:
        TooLargeError.
        OSError: a file changed while it was read, or the target's disk is full.
    """
    with (
        gzip.GzipFile(fileobj=target, mode="wb", compresslevel=PACK_LEVEL, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        writer = _Writer(archive, limit_bytes, check)
        for number, place in enumerate(places):
            with Beneath(place.base) as files:
                if files.stat(place.raw) is None:
                    continue
                above, _, name = place.raw.rpartition(b"/")
                with files.directory(above) as descriptor:
                    writer.add(descriptor, os.fsdecode(name), str(number), 0)
        return writer.written


class _Writer:
    def __init__(self, archive: tarfile.TarFile, limit_bytes: int, check: Callable[[], None]) -> None:
        self._archive, self._limit, self._check = archive, limit_bytes, check
        self.written = Written()

    def add(self, directory: int, name: str, stored_as: str, depth: int) -> None:
        """Add what has this name in an open directory, with everything beneath it.

        Args:
            depth: of directories between the cached path and this; 0 for the cached path itself.
        """
        self._check()
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        entry = tarfile.TarInfo(stored_as)
        entry.mtime = int(found.st_mtime)
        entry.mode = found.st_mode & 0o777
        try:
            if stat.S_ISDIR(found.st_mode) and depth < DEPTH_MOST:
                self._add_directory(directory, name, entry, depth)
            elif stat.S_ISREG(found.st_mode):
                self._add_file(directory, name, entry)
            elif stat.S_ISLNK(found.st_mode) and depth and link_stays(depth - 1, os.readlink(name, dir_fd=directory)):
                entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink(name, dir_fd=directory)
                self._count(0)
                self._archive.addfile(entry)
            else:
                self.written.left_out += 1
        except PermissionError:
            self.written.left_out += 1

    def _add_directory(self, directory: int, name: str, entry: tarfile.TarInfo, depth: int) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, dir_fd=directory)
        try:
            entry.type = tarfile.DIRTYPE
            self._count(0)
            self._archive.addfile(entry)
            for inner in sorted(os.listdir(descriptor)):
                self.add(descriptor, inner, f"{entry.name}/{inner}", depth + 1)
        finally:
            os.close(descriptor)

    def _add_file(self, directory: int, name: str, entry: tarfile.TarInfo) -> None:
        opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
        with os.fdopen(opened, "rb") as file:
            found = os.fstat(opened)
            if not stat.S_ISREG(found.st_mode):
                self.written.left_out += 1
                return
            entry.size = found.st_size
            self._count(entry.size)
            self._archive.addfile(entry, file)

    def _count(self, size: int) -> None:
        self.written.files += 1
        self.written.bytes += size
        if self.written.bytes > self._limit or self.written.files > FILES_MOST:
            raise TooLargeError


# ---------------------------------------------------------------- restoring


class _Entry(tarfile.TarInfo):
    """A member whose own headers are small: tarfile reads them into memory as a whole."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        own = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME,
               tarfile.GNUTYPE_LONGLINK)  # fmt: skip
        if self.type in own and self.size > _HEADER_BYTES:
            raise UnsafeArchiveError("the header of a file in it is too large")
        found: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return found


class _Bounded(io.RawIOBase):
    """The unpacked bytes of an archive. Raises UnsafeArchiveError beyond a limit."""

    def __init__(self, source: gzip.GzipFile, limit_bytes: int) -> None:
        self._source, self._left = source, limit_bytes

    def read(self, size: int = -1) -> bytes:
        block = self._source.read(size)
        self._left -= len(block)
        if self._left < 0:
            raise UnsafeArchiveError("it is larger than any that is stored")
        return block


class Restoration:
    """Writes an archive's content to its places. What is there already stays.

    Args:
        check: called before each file; what it raises ends the writing.
    """

    def __init__(
        self, places: Sequence[Place], *, limit_bytes: int = BYTES_MOST, files_most: int = FILES_MOST,
        check: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self._places, self._limit, self._files_most, self._check = places, limit_bytes, files_most, check
        self._opened = ExitStack()
        self._bases: dict[int, Beneath] = {}
        self._at: tuple[int, bytes] | None = None
        self._directory = ExitStack()
        self._descriptor = -1
        self._made: list[tuple[int, bytes, bool]] = []

    def read(self, source: BinaryIO) -> None:
        """Write everything; where that fails, remove what was written.

        Raises:
            UnsafeArchiveError.
            OSError: also where a link, or a file, stands in a directory's place.
        """
        with self._opened, self._directory:
            try:
                self._read(source)
            except BaseException:
                self._undo()
                raise

    def _read(self, source: BinaryIO) -> None:
        links: list[tuple[int, bytes, str]] = []
        count = 0
        try:
            with (
                gzip.GzipFile(fileobj=source, mode="rb") as unpacked,
                tarfile.open(
                    fileobj=_Bounded(unpacked, self._limit + self._files_most * 2048), mode="r|", tarinfo=_Entry
                ) as archive,
            ):
                for entry in archive:
                    self._check()
                    count += 1
                    if count > self._files_most:
                        raise UnsafeArchiveError("it holds more files than any that is stored")
                    number, path, depth = self._place(entry)
                    if entry.isdir():
                        self._make_directory(number, path)
                    elif entry.isreg() and not entry.issparse():
                        self._write(archive, entry, number, path)
                    elif entry.issym() and depth and link_stays(depth - 1, entry.linkname):
                        links.append((number, path, entry.linkname))
                    else:
                        raise UnsafeArchiveError(f"it holds something that is not stored: {entry.name[:200]!r}")
        except (tarfile.TarError, zlib.error, gzip.BadGzipFile, EOFError, ValueError, OverflowError) as error:
            raise UnsafeArchiveError(f"it can't be read: {type(error).__name__}") from error
        for number, path, target in links:  # last, so that nothing is written behind one
            self._link(number, path, target)

    def _place(self, entry: tarfile.TarInfo) -> tuple[int, bytes, int]:
        """Return where an entry goes, and how deep beneath its cached path."""
        first, *inner = entry.name.split("/")
        number = int(first) if first.isascii() and first.isdigit() and len(first) < 6 else -1
        wrong = any(part in ("", ".", "..") or "\0" in part or len(os.fsencode(part)) > 255 for part in inner)
        if wrong or not 0 <= number < len(self._places) or len(inner) > DEPTH_MOST:
            raise UnsafeArchiveError(f"it holds a path that leads elsewhere: {entry.name[:200]!r}")
        return number, os.fsencode("/".join((self._places[number].path, *inner))), len(inner)

    def _write(self, archive: tarfile.TarFile, entry: tarfile.TarInfo, number: int, path: bytes) -> None:
        above, _, name = path.rpartition(b"/")
        directory = self._within(number, above)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            opened = os.open(name, flags, 0o600, dir_fd=directory)
        except FileExistsError:
            return
        self._made.append((number, path, False))
        with os.fdopen(opened, "wb") as file:
            content = archive.extractfile(entry)
            assert content is not None
            while block := content.read(_BLOCK_BYTES):
                file.write(block)
            file.flush()
            os.fchmod(opened, entry.mode & 0o777 | 0o600)
            os.utime(opened, (entry.mtime, entry.mtime))

    def _make_directory(self, number: int, path: bytes) -> None:
        self._within(number, path)

    def _link(self, number: int, path: bytes, target: str) -> None:
        above, _, name = path.rpartition(b"/")
        directory = self._within(number, above)
        with suppress(FileExistsError):
            os.symlink(target, name, dir_fd=directory)
            self._made.append((number, path, False))

    def _within(self, number: int, path: bytes) -> int:
        """Return the descriptor of a directory, which is made where there is none."""
        if self._at == (number, path):
            return self._descriptor
        self._directory.close()
        self._at = None
        files = self._base(number)
        self._make_missing(files, number, path)
        self._descriptor = self._directory.enter_context(files.directory(path))
        self._at = (number, path)
        return self._descriptor

    def _make_missing(self, files: Beneath, number: int, path: bytes) -> None:
        missing = []
        while path and files.stat(path) is None:
            missing.append(path)
            path = path.rpartition(b"/")[0]
        for one in reversed(missing):
            above, _, name = one.rpartition(b"/")
            with files.directory(above) as descriptor:
                os.mkdir(name, 0o700, dir_fd=descriptor)
            self._made.append((number, one, True))

    def _base(self, number: int) -> Beneath:
        if number not in self._bases:
            self._bases[number] = self._opened.enter_context(Beneath(self._places[number].base))
        return self._bases[number]

    def _undo(self) -> None:
        for number, path, is_directory in reversed(self._made):
            above, _, name = path.rpartition(b"/")
            with suppress(OSError), self._base(number).directory(above) as descriptor:
                (os.rmdir if is_directory else os.unlink)(name, dir_fd=descriptor)
