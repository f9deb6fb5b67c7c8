"""Reading of reports among an attempt's files, within the bounds of one page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from admin.ports import ports
from keruta.domain.naming import attempt_id
from keruta.domain.task import Artifact
from keruta.errors import NotFound

T = TypeVar("T")


def content(attempt: str, path: str, most_bytes: int) -> bytes | None:
    """Return the beginning of an attempt's file; None where it is no longer kept."""
    try:
        with ports().results.open(attempt, path) as file:
            return file.read(most_bytes)
    except NotFound:
        return None


def read_within(
    task: str, attempt: int, files: Sequence[Artifact], read: Callable[[str, str, str], T | None], *, most: int,
    most_bytes: int,
) -> tuple[list[T], list[str], list[str]]:  # fmt: skip
    """Read reports one by one, until there are enough.

    Args:
        read: reads one by the attempt's id, its path and its SHA-256; None for a file that is no report.
        most: reports that are read.
        most_bytes: the size of all of them.

    Returns:
        The reports, their paths, and the paths of those that were not read.
    """
    reports: list[T] = []
    known: list[str] = []
    unread: list[str] = []
    left = most_bytes
    for file in files:
        if len(known) >= most or file.size_bytes > left:
            unread.append(file.path)
            continue
        left -= file.size_bytes
        report = read(attempt_id(task, attempt), file.path, file.sha256)
        if report is not None:
            known.append(file.path)
            reports.append(report)
    return reports, known, unread
