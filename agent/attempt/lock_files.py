"""The digest of the files that a dependency cache's key names, such as lock files.

A workspace is a stranger's: patterns are walked by descriptor, through no link, and what is read has limits.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from agent.attempt.workspace_files import Beneath
from keruta.domain.catalog.caches import plain_path

FILES_MOST = 10_000
BYTES_MOST = 256 << 20
ENTRIES_MOST = 1_000_000
ANY_DEPTH = "**"


class TooMuchError(Exception):
    """The patterns lead to more than is read; the message says to what."""


def digest(workspace: Path, patterns: Sequence[str]) -> str | None:
    """Return the SHA-256 of the names and contents of all files that the patterns match; None where there is none.

    Links, and what lies behind them, match nothing; nor does `.git`.

    Raises:
        TooMuchError.
        OSError: a file can't be read.
    """
    sums: dict[bytes, bytes] = {}
    left = BYTES_MOST
    with Beneath(workspace) as files:
        for path in _Matches(files).all(patterns):
            if path in sums or (opened := files.open(path)) is None:
                continue
            with os.fdopen(opened, "rb") as file:
                left -= os.fstat(opened).st_size
                if left < 0 or len(sums) >= FILES_MOST:
                    raise TooMuchError(f"its key names more than {FILES_MOST} files, or {BYTES_MOST >> 20} MiB")
                sums[path] = hashlib.file_digest(file, "sha256").digest()
    if not sums:
        return None
    whole = hashlib.sha256()
    for path, content in sorted(sums.items()):
        whole.update(b"%d:%s%s" % (len(path), path, content))
    return whole.hexdigest()


class _Matches:
    """Finds the paths of regular files by patterns, each directory once for each rest of a pattern."""

    def __init__(self, files: Beneath) -> None:
        self._files = files
        self._seen: set[tuple[bytes, tuple[str, ...]]] = set()
        self._looked = 0

    def all(self, patterns: Sequence[str]) -> Iterator[bytes]:
        for pattern in patterns:
            yield from self._beneath(b"", tuple(plain_path(pattern).split("/")))

    def _beneath(self, directory: bytes, rest: tuple[str, ...]) -> Iterator[bytes]:
        pending = [(directory, rest)]
        while pending:
            at, rest = one = pending.pop()
            if one in self._seen:
                continue
            self._seen.add(one)
            first, *others = rest
            if first == ANY_DEPTH and others:
                pending.append((at, tuple(others)))
            for path, mode in self._entries(at):
                name = os.fsdecode(path.rpartition(b"/")[2])
                if name.lower() == ".git":
                    continue
                matches = first == ANY_DEPTH or fnmatch.fnmatchcase(name, first)
                if matches and not others and stat.S_ISREG(mode):
                    yield path
                elif matches and stat.S_ISDIR(mode) and (others or first == ANY_DEPTH):
                    pending.append((path, rest if first == ANY_DEPTH else tuple(others)))

    def _entries(self, directory: bytes) -> list[tuple[bytes, int]]:
        try:
            found = self._files.entries(directory)
        except OSError:
            return []
        self._looked += len(found)
        if self._looked > ENTRIES_MOST:
            raise TooMuchError(f"its key leads to more than {ENTRIES_MOST} files and directories")
        above = directory + b"/" if directory else b""
        return [(above + name, one.st_mode) for name, one in found]
