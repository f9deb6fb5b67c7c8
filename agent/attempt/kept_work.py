"""The work that an earlier attempt kept as a bundle, read again so that it can be pushed.

The bundle holds what a script made, so it is read as data: its head here, its objects by `git index-pack`, which
computes the hash of each.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec

from agent.attempt import large_results
from agent.attempt.commits import Commits, read_commits
from agent.attempt.result_repository import ResultRepository, Work
from keruta.adapters.git.command import Git
from keruta.adapters.git.faults import last_line
from keruta.domain.messages import message
from keruta.domain.reports import KEPT_LARGE
from keruta.errors import PhaseError

HEAD_LIMIT_BYTES = 1 << 20
_SIGNATURES = (b"# v2 git bundle\n", b"# v3 git bundle\n")
_HEX = re.compile(rb"[0-9a-f]{40}|[0-9a-f]{64}")


class UnreadableBundleError(Exception):
    """A file is no bundle that can be pushed; the message says why."""


class BundleHead(msgspec.Struct, frozen=True, kw_only=True):
    """The header of a bundle. Source: gitformat-bundle(5)."""

    needs: frozenset[str]
    refs: dict[bytes, str]


def read_kept_work(
    repository: ResultRepository, bundle: Path, attempt: int, fetch_base: Callable[[Git], object]
) -> Work:
    """Return the work that a bundle holds, with its objects in the repository.

    Args:
        attempt: whose work it is.
        fetch_base: fetches the commit that the work begins at.

    Raises:
        PhaseError: WorkMissing, or what fetching the base commit raises.
        Stopped, TimedOut.
    """
    repository.begin()
    try:
        tip = _unpack(repository, bundle, fetch_base)
        commits = read_commits(repository.git)
        _check_there(tip, commits)
        if (large := bundle.with_name(KEPT_LARGE)).is_file():
            large_results.unpack(repository.bare, large)
    except (OSError, UnreadableBundleError, tarfile.TarError) as error:
        said = message("push_work_unreadable", attempt=attempt, error=str(error))
        raise PhaseError("WorkMissing", said) from error
    return Work(base=repository.base, head=tip, commits=repository.end_history(commits))


def _unpack(repository: ResultRepository, bundle: Path, fetch_base: Callable[[Git], object]) -> str:
    """The bundle's objects are in the repository; returns the commit that is to be pushed."""
    with os.fdopen(os.open(bundle, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb", buffering=0) as file:
        head = read_head(file)
        if head.needs - {repository.base}:
            raise UnreadableBundleError("it needs other commits than the one that was checked out")
        if head.needs:
            fetch_base(repository.git)
        done = repository.git.run("index-pack", "--stdin", "--fix-thin", "--threads=2", stdin=file)
    if done.exit_code != 0:
        raise UnreadableBundleError(last_line(done.err.decode("utf-8", "replace")))
    return head.refs.get(b"HEAD", repository.base)


def _check_there(tip: str, commits: Commits) -> None:
    if tip not in commits:
        raise UnreadableBundleError(f"it does not hold the commit {tip}")


def read_head(file: BinaryIO) -> BundleHead:
    """Read a bundle's head; the file is at its pack then.

    Args:
        file: not buffered.

    Raises:
        UnreadableBundleError: it is no bundle.
    """
    text = bytearray()
    while not text.endswith(b"\n\n"):
        block = file.read(1)
        if not block or len(text) > HEAD_LIMIT_BYTES:
            raise UnreadableBundleError("it is no Git bundle")
        text += block
    signature, *lines = bytes(text).splitlines(keepends=True)
    if signature not in _SIGNATURES:
        raise UnreadableBundleError("it is no Git bundle")
    needs, refs = set[str](), dict[bytes, str]()
    for line in lines[:-1]:
        if line.startswith(b"@"):
            if not line.startswith(b"@object-format="):
                raise UnreadableBundleError("it has a capability that is not known")
            continue
        first, _, rest = line.rstrip(b"\n").partition(b" ")
        object_id = first.removeprefix(b"-")
        if not _HEX.fullmatch(object_id):
            raise UnreadableBundleError("its head is damaged")
        if first.startswith(b"-"):
            needs.add(object_id.decode())
        else:
            refs[rest] = object_id.decode()
    return BundleHead(needs=frozenset(needs), refs=refs)
