"""Takes a workspace's Git objects into a repository of the agent's own, as data that is verified.

Each loose object is unpacked and its hash compared with its name; each pack is indexed anew by `git index-pack`, which
computes the hash of all that it holds. So an object is what its id says, or it is not there. Indexes, alternates,
bitmaps and commit graphs of the script's are left behind.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import zlib
from pathlib import Path
from typing import BinaryIO

import msgspec

from agent.attempt.workspace_files import Beneath
from keruta.adapters.git.command import Git

OBJECT_LIMIT_BYTES = 4 << 30
_BLOCK = 1 << 20
_NAMED = re.compile(rb"[0-9a-f]{38}|[0-9a-f]{62}")
_PACK = re.compile(rb"pack-[0-9a-f]{40,64}\.pack")
_HEADER = re.compile(rb"(?:blob|tree|commit|tag) (\d{1,19})\0")
_MODE = os.O_WRONLY | os.O_CREAT | os.O_EXCL


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """Number of objects that were copied, and of objects left out because they are damaged or unreadable."""

    packs: int = 0
    loose: int = 0
    bad: int = 0


def take_objects(files: Beneath, source: bytes, git: Git, algorithm: str) -> Taken:
    """The repository has every sound object of a workspace's object directory.

    Args:
        source: the object directory, beneath `files`.
        git: in the agent's own bare repository.
        algorithm: `sha1` or `sha256`.

    Raises:
        OSError: the own repository can't be written.
        Stopped, TimedOut.
    """
    packs, bad_packs = _take_packs(files, source + b"/pack", git)
    loose, bad_loose = _take_loose(files, source, git, algorithm)
    return Taken(packs=packs, loose=loose, bad=bad_packs + bad_loose)


def _take_packs(files: Beneath, directory: bytes, git: Git) -> tuple[int, int]:
    taken = bad = 0
    for name, kind in _entries(files, directory):
        if not stat.S_ISREG(kind.st_mode) or not _PACK.fullmatch(name):
            continue
        opened = _open(files, directory + b"/" + name)
        if opened is None:
            bad += 1
            continue
        with os.fdopen(opened, "rb") as pack:
            done = git.run("index-pack", "--stdin", "--threads=2", stdin=pack)
        taken, bad = (taken + 1, bad) if done.exit_code == 0 else (taken, bad + 1)
    return taken, bad


def _take_loose(files: Beneath, source: bytes, git: Git, algorithm: str) -> tuple[int, int]:
    target = git.directory / "objects"
    taken = bad = 0
    for two, kind in _entries(files, source):
        if not stat.S_ISDIR(kind.st_mode) or not re.fullmatch(rb"[0-9a-f]{2}", two):
            continue
        git.check_time()
        for name, _ in _entries(files, source + b"/" + two):
            opened = _open(files, b"/".join((source, two, name))) if _NAMED.fullmatch(name) else None
            if opened is None:
                continue
            with os.fdopen(opened, "rb") as file:
                sound = _take_one(file, target, two.decode(), name.decode(), algorithm, git)
            taken, bad = (taken + 1, bad) if sound else (taken, bad + 1)
    return taken, bad


def _take_one(source: BinaryIO, target: Path, two: str, name: str, algorithm: str, git: Git) -> bool:
    """Copies a loose object while its hash is computed; it gets its name only if that is right."""
    part = target / f"tmp_obj_{two}{name}"
    try:
        with os.fdopen(os.open(part, _MODE, 0o444), "wb") as out:
            sound = _is(source, out, two + name, algorithm, git)
        if sound:
            (target / two).mkdir(exist_ok=True)
            part.rename(target / two / name)
        return sound
    finally:
        part.unlink(missing_ok=True)


def _is(source: BinaryIO, out: BinaryIO, object_id: str, algorithm: str, git: Git) -> bool:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    inflate = zlib.decompressobj()
    size, expected = 0, -1
    try:
        while not inflate.eof:
            block = inflate.unconsumed_tail
            if not block:
                block = source.read(_BLOCK)
                out.write(block)
            plain = inflate.decompress(block, _BLOCK)
            if not block and not plain and not inflate.eof:
                return False
            if expected < 0:
                header = _HEADER.match(plain)
                if header is None or int(header[1]) > OBJECT_LIMIT_BYTES:
                    return False
                expected = len(header[0]) + int(header[1])
            digest.update(plain)
            size += len(plain)
            if size > expected:
                return False
            git.check_time()
    except zlib.error:
        return False
    return size == expected and digest.hexdigest() == object_id and not inflate.unused_data and not source.read(1)


def _entries(files: Beneath, directory: bytes) -> list[tuple[bytes, os.stat_result]]:
    try:
        return files.entries(directory)
    except OSError:
        return []


def _open(files: Beneath, path: bytes) -> int | None:
    try:
        return files.open(path)
    except PermissionError:
        return None


def tree_rows(listed: bytes) -> dict[bytes, tuple[int, str]]:
    """Return mode and object id by path, of what `git ls-tree -r -z` lists."""
    found = {}
    for row in listed.split(b"\0"):
        told, tab, path = row.partition(b"\t")
        if tab:
            mode, _, oid = told.split(b" ")
            found[path] = (int(mode, 8), oid.decode())
    return found
