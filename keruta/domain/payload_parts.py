"""Parts of payloads that may be missing, or of another type: each is read as if it were not said then. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from keruta.domain.comment_commands import command_lines
from keruta.domain.forges import MARK
from keruta.domain.naming import COMMIT, TASK_ID

TEXT_LETTERS = 500
UNPRINTABLE = "\ufffd"
PATHS_MOST = 50_000
PATHS_LETTERS_MOST = 1_000_000  # beside the body, in a document of 16 MiB; a letter has up to four bytes
GLOB_LETTERS = 4096
SHOWN_LETTERS = 8000  # of a comment, for a script
_TASK_MARK = re.compile(re.escape(MARK) + r" task ([0-9a-z]{26}) -->")


def part(payload: Any, *path: str) -> Any:
    for name in path:
        payload = payload.get(name) if isinstance(payload, Mapping) else None
    return payload


def text_at(payload: Any, *path: str) -> str | None:
    """A text without control characters, cut where it is too long."""
    found = part(payload, *path)
    if not isinstance(found, str):
        return None
    return "".join(one for one in found[:TEXT_LETTERS] if one.isprintable())


def name_at(payload: Any, *path: str) -> str | None:
    """A name with a mark in place of what is not printable: so it is no other name, such as a protected branch's."""
    found = part(payload, *path)
    if not isinstance(found, str):
        return None
    return "".join(one if one.isprintable() else UNPRINTABLE for one in found[:TEXT_LETTERS])


def link_at(payload: Any, *path: str) -> str | None:
    """An address that a page may link to."""
    found = text_at(payload, *path) or ""
    return found if found.startswith(("https://", "http://")) else None


def has_mark(payload: Any, *path: str) -> bool:
    """Say whether a text holds keruta's mark, so that it does not answer itself."""
    found = part(payload, *path)
    return isinstance(found, str) and MARK in found


def comment_identity(
    payload: Mapping[str, Any], of: str, action: str | None, at: str | None, kind: str = "comment"
) -> str:
    """Return the identity of what was done to a comment: it is written once, and changed at a time."""
    number = number_at(payload, of, "id")
    created = action in ("created", "create", "submitted")
    return f"{kind} {number} created" if created else f"{kind} {number} {action} {at}"


def written_at(payload: Any, *path: str) -> dict[str, Any]:
    """Return what a comment says, and the commands that are in it."""
    found = part(payload, *path)
    text = found if isinstance(found, str) else ""
    return {
        "own": MARK in text, "task": task_at(payload, *path), "commands": command_lines(text),
        "comment": "".join(one for one in text[:SHOWN_LETTERS] if one.isprintable() or one in "\n\t"),
    }  # fmt: skip


def task_at(payload: Any, *path: str) -> str | None:
    """Return the task that keruta's mark in a text names."""
    found = part(payload, *path)
    marks = _TASK_MARK.findall(found) if isinstance(found, str) else []
    return marks[-1] if marks and TASK_ID.fullmatch(marks[-1]) else None


def number_at(payload: Any, *path: str) -> int | None:
    found = part(payload, *path)
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 <= found < 2**63 else None


def moment_of(text: str | None) -> datetime | None:
    try:
        # GitLab writes "2026-01-01 10:00:00 UTC" in some events.
        at = datetime.fromisoformat((text or "").removesuffix(" UTC"))
        return at.astimezone(UTC) if at.tzinfo is not None else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def commit_of(text: str | None) -> str | None:
    return text if text is not None and COMMIT.fullmatch(text) else None


def list_of(found: Any) -> list[Any]:
    return found if isinstance(found, list) else []


def labels_of(found: Any) -> list[str]:
    names = [text_at(one, "name") or text_at(one, "title") for one in list_of(found)[:200]]
    return [name for name in names if name]


def paths_of(commits: list[Any]) -> list[str] | None:
    """The files that commits changed; None where they are too many, or not said."""
    found: dict[str, None] = {}
    letters = 0
    for commit in commits:
        for how in ("added", "modified", "removed"):
            names = part(commit, how)
            if not isinstance(names, list):
                return None
            those = [name[:GLOB_LETTERS] for name in names if isinstance(name, str)]
            letters += sum(len(name) for name in those)
            found |= dict.fromkeys(those)
        if len(found) > PATHS_MOST or letters > PATHS_LETTERS_MOST:
            return None
    return list(found)
