"""Opens what lies beneath a directory that a script can write to: no link is followed, at any depth.

Paths are bytes, relative, with `/` between their parts, as Git has them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATH_LIMIT_BYTES = 4095
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Beneath:
    """A directory of the script's.

    Args:
        root: its path; the directories above it are the agent's own.

    Raises:
        OSError: it is no directory, or a link.
    """

    def __init__(self, root: Path) -> None:
        self._root = os.open(root, _DIRECTORY)

    def __enter__(self) -> Beneath:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._root)

    @contextmanager
    def directory(self, path: bytes = b"") -> Iterator[int]:
        """Give the descriptor of a directory. Raises OSError when there is none, or a link is on the way."""
        current = os.dup(self._root)
        try:
            for part in parts(path):
                inner = os.open(part, _DIRECTORY, dir_fd=current)
                os.close(current)
                current = inner
            yield current
        finally:
            os.close(current)

    @contextmanager
    def made(self, path: bytes) -> Iterator[int]:
        """Give the descriptor of a directory that is made where there is none. Raises OSError where a link is."""
        current = os.dup(self._root)
        try:
            for part in parts(path):
                try:
                    os.mkdir(part, 0o700, dir_fd=current)
                except FileExistsError:
                    pass
                inner = os.open(part, _DIRECTORY, dir_fd=current)
                os.close(current)
                current = inner
            yield current
        finally:
            os.close(current)

    def stat(self, path: bytes) -> os.stat_result | None:
        """Return what is at a path, a link as itself; None where there is nothing."""
        above, _, name = path.rpartition(b"/")
        try:
            with self.directory(above) as descriptor:
                return os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        except OSError:
            return None

    def open(self, path: bytes) -> int | None:
        """Open a regular file for reading; None where there is none.

        Raises:
            PermissionError: it may not be read.
        """
        above, _, name = path.rpartition(b"/")
        try:
            with self.directory(above) as descriptor:
                opened = os.open(name, _FILE, dir_fd=descriptor)
        except PermissionError:
            raise
        except OSError:
            return None
        if stat.S_ISREG(os.fstat(opened).st_mode):
            return opened
        os.close(opened)
        return None

    def read(self, path: bytes, limit_bytes: int = 4096) -> bytes | None:
        """Return a regular file's content; None where there is none, or it is larger than the limit."""
        try:
            opened = self.open(path)
        except PermissionError:
            return None
        if opened is None:
            return None
        with os.fdopen(opened, "rb") as file:
            content = file.read(limit_bytes + 1)
        return content if len(content) <= limit_bytes else None

    def link(self, path: bytes) -> bytes | None:
        """Return what a symbolic link says; None where there is none."""
        above, _, name = path.rpartition(b"/")
        try:
            with self.directory(above) as descriptor:
                return os.readlink(name, dir_fd=descriptor)
        except OSError:
            return None

    def entries(self, path: bytes = b"") -> list[tuple[bytes, os.stat_result]]:
        """Return names and kinds of what a directory holds, in order. Raises PermissionError, and OSError as above."""
        found = []
        with self.directory(path) as descriptor:
            for name in sorted(map(os.fsencode, os.listdir(descriptor))):
                try:
                    found.append((name, os.stat(name, dir_fd=descriptor, follow_symlinks=False)))
                except FileNotFoundError:
                    continue
        return found


def parts(path: bytes) -> list[bytes]:
    """Return a path's parts.

    Raises:
        OSError: one of them leads elsewhere, or the path is longer than any can be.
    """
    if not path:
        return []
    found = path.split(b"/")
    if len(path) > PATH_LIMIT_BYTES or any(part in (b"", b".", b"..") or b"\0" in part for part in found):
        raise OSError(f"not a path beneath: {path[:200]!r}")
    return found
