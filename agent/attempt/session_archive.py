"""The archive of a stored session: the coding agent's own files, the work that is not pushed, and a manifest.

The files come from a home that a script could write to, so they are opened beneath it, without links. What is restored
is checked as if anybody could have made it: regular files alone, beneath the target, and no more than fits.
"""

from __future__ import annotations

import fnmatch
import io
import os
import stat
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from agent.attempt.artifacts import walk_directory
from agent.attempt.beneath import open_beneath
from agent.attempt.script_environment import new_file
from agent.coding_agents.adapter import Usage
from keruta import structs

FILES_MOST = 2000
BYTES_MOST = 64 * 1024 * 1024
MANIFEST, WORK, SESSION = "manifest.json", "work.bundle", "session/"


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about a stored session.

    Args:
        session: the coding agent's own name for it.
        reported: usage as the coding agent has reported it by then.
        spent: usage of all attempts of the session by then, as the limits count it.
        base: the commit that was checked out; the work is put back into a workspace of this commit only.
        head: the commit that the script's work tree was on, and `branch` its branch.
        work: the commit whose tree is the work tree as it was; `head` where nothing was uncommitted.
        others: new commits of other branches, by their branches.
    """

    session: str
    reported: Usage
    spent: Usage
    base: str = ""
    head: str | None = None
    branch: str | None = None
    work: str | None = None
    others: dict[str, str] = {}


class UnsafeArchiveError(Exception):
    """An archive that is not restored; the message says why."""


class TooLargeError(Exception):
    """More than is stored of one session."""


def write_archive(
    target: BinaryIO, manifest: Manifest, home: Path, root: str, patterns: Sequence[str], work: Path | None
) -> None:
    """Write the archive.

    Args:
        home: the script's home.
        root: the directory beneath it that holds the coding agent's sessions.
        patterns: which of its files are this session's, as paths beneath the home.

    Raises:
        TooLargeError.
        OSError: also where there is no file of the session.
    """
    left, count = BYTES_MOST, 0
    with tarfile.open(fileobj=target, mode="w|gz", format=tarfile.PAX_FORMAT) as archive:

        def add(name: str, file: BinaryIO, size: int) -> None:
            nonlocal left
            left -= size
            if left < 0:
                raise TooLargeError
            entry = tarfile.TarInfo(name)
            entry.size = size
            archive.addfile(entry, file)

        text = msgspec.json.encode(manifest)
        add(MANIFEST, io.BytesIO(text), len(text))
        for path, file in _session_files(home, root, patterns):
            with file:
                count += 1
                if count > FILES_MOST:
                    raise TooLargeError
                add(f"{SESSION}{path}", file, os.fstat(file.fileno()).st_size)
        if not count:
            raise FileNotFoundError("there is no file of the session")
        if work is not None:
            with work.open("rb") as bundle:
                add(WORK, bundle, work.stat().st_size)


def read_archive(source: BinaryIO, target: Path) -> Manifest:
    """Write the content of an archive into a directory of the agent's own that is empty, and return its manifest.

    Raises:
        UnsafeArchiveError: with nothing of it to be used.
    """
    left, count = BYTES_MOST, 0
    try:
        with tarfile.open(fileobj=source, mode="r|gz") as archive:
            for entry in archive:
                count, left = count + 1, left - entry.size
                if count > FILES_MOST + 2 or left < 0:
                    raise UnsafeArchiveError("it is larger than any that is stored")
                path = _place(target, entry)
                content = archive.extractfile(entry)
                if content is None:
                    raise UnsafeArchiveError("it holds something that is no file")
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with new_file(path) as file:
                    while block := content.read(1 << 20):
                        file.write(block)
        return structs.from_json((target / MANIFEST).read_bytes(), type=Manifest)
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, msgspec.DecodeError) as error:
        raise UnsafeArchiveError(f"it can't be read: {type(error).__name__}") from error


def session_files(restored: Path) -> Iterator[tuple[str, Path]]:
    """Yield the session's files of an archive that was read: their paths beneath the home, and where they are."""
    root = restored / SESSION
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield str(path.relative_to(root)), path


def _place(target: Path, entry: tarfile.TarInfo) -> Path:
    """Return the place of an entry. Raises UnsafeArchiveError for a link, a device, or a path that leads elsewhere."""
    if not entry.isreg() or entry.issparse():
        raise UnsafeArchiveError(f"it holds something that is no regular file: {entry.name[:200]!r}")
    name = entry.name
    if name in (MANIFEST, WORK):
        return target / name
    if not name.startswith(SESSION) or any(
        part in ("", ".", "..") or "\0" in part or len(os.fsencode(part)) > 255 for part in name.split("/")
    ):
        raise UnsafeArchiveError(f"it holds a path that leads elsewhere: {name[:200]!r}")
    return target / name


def _session_files(home: Path, root: str, patterns: Sequence[str]) -> Iterator[tuple[str, BinaryIO]]:
    """The caller closes each file."""
    descriptor = open_beneath(home, root, os.O_RDONLY | os.O_DIRECTORY, expected=stat.S_ISDIR)
    for found in walk_directory(descriptor):
        path = f"{root}/{os.fsdecode(found.path)}"
        if found.descriptor < 0:
            continue
        if any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns) and _is_utf8(path):
            yield path, os.fdopen(found.descriptor, "rb")
        else:
            os.close(found.descriptor)


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
