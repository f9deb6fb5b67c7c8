"""Copies of a workspace's files in a directory of the agent's own, with the attribute and ignore files that apply."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from agent.attempt.workspace_files import Beneath
from keruta.domain.messages import message
from keruta.errors import PhaseError

RULES_LIMIT_BYTES = 1 << 20
RULES = (b".gitattributes", b".gitignore")


class Copies:
    """A directory of copies. A file that was copied as a rule is not copied again.

    Args:
        files: the workspace.
        directory: where copies are made; must not exist.
    """

    def __init__(self, files: Beneath, directory: Path) -> None:
        self._files = files
        self._directory = directory
        directory.mkdir(mode=0o700)
        self._ruled: set[bytes] = set()
        self._rule_files: set[bytes] = set()
        self.paths: list[bytes] = []

    def make(self, directory: bytes) -> None:
        """Make a directory, so that ignore files tell it from a file."""
        with self._made(directory):
            pass

    def take(self, path: bytes) -> None:
        """Copy what lies at a path; nothing where it is gone meanwhile. Raises as `copy`."""
        above, _, name = path.rpartition(b"/")
        with ExitStack() as stack:
            try:
                descriptor = stack.enter_context(self._files.directory(above))
                found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            except OSError:
                return
            self.copy(descriptor, path, found)

    def copy(self, descriptor: int, path: bytes, found: os.stat_result) -> bool:
        """Copy a file or link, and the attributes that apply to it; return whether there was one.

        Args:
            descriptor: of the directory that it is in.
            found: what was found there.

        Raises:
            PhaseError: PushFailed: it may not be read.
        """
        for above in (b"", *directories_above(path)):
            self.rules(above)
        if path not in self._rule_files and not self._copied(descriptor, path, found):
            return False
        self.paths.append(path)
        return True

    def _copied(self, descriptor: int, path: bytes, found: os.stat_result) -> bool:
        name = path.rpartition(b"/")[2]
        if stat.S_ISLNK(found.st_mode):
            with self._made(parent(path)) as to:
                os.symlink(os.readlink(name, dir_fd=descriptor), name, dir_fd=to)
            return True
        if not stat.S_ISREG(found.st_mode):
            return False
        try:
            opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=descriptor)
        except PermissionError as error:
            raise unreadable(path) from error
        except OSError:
            return False  # another thing by now
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            os.close(opened)
            return False
        self._write(opened, path)
        return True

    def rules(self, directory: bytes) -> None:
        """Copy a directory's attribute and ignore files, as data; a link is none."""
        if directory in self._ruled:
            return
        self._ruled.add(directory)
        for name in RULES:
            path = directory + b"/" + name if directory else name
            try:
                opened = self._files.open(path)
            except PermissionError:
                continue
            if opened is not None and os.fstat(opened).st_size <= RULES_LIMIT_BYTES:
                self._write(opened, path)
                self._rule_files.add(path)
            elif opened is not None:
                os.close(opened)

    def _write(self, source: int, path: bytes) -> None:
        """Copy an open file, which is closed."""
        name = path.rpartition(b"/")[2]
        with os.fdopen(source, "rb") as reading, self._made(parent(path)) as directory:
            mode = 0o700 if os.fstat(source).st_mode & 0o100 else 0o600
            made = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode, dir_fd=directory)
            with os.fdopen(made, "wb") as out:
                shutil.copyfileobj(reading, out, 1 << 20)
                os.fchmod(made, mode)

    @contextmanager
    def _made(self, directory: bytes) -> Iterator[int]:
        """Give a directory among the copies.

        A link that was copied before is never followed: the workspace changed then.
        """
        with Beneath(self._directory) as copies, copies.made(directory) as descriptor:
            yield descriptor


def directories_above(path: bytes) -> Iterator[bytes]:
    """Give the directories that a path lies in, the outermost first, the workspace itself left out."""
    at = path.find(b"/")
    while at >= 0:
        yield path[:at]
        at = path.find(b"/", at + 1)


def parent(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]


def shown(path: bytes) -> str:
    text = path[:200].decode("utf-8", "replace")
    return text if text.isprintable() else ascii(text)


def unreadable(path: bytes) -> PhaseError:
    return PhaseError("PushFailed", message("result_file_unreadable", path=shown(path) or "."))
