"""Writes the docs that are made from the code: `python -m docs.generate`. A test fails when they are out of date."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from keruta.domain import lifecycle, retry
from keruta.domain.api.table import ROUTES
from keruta.domain.lifecycle import ENDED, LEASED, TRANSITIONS, Change, Status
from keruta.domain.roles import PEOPLE

STATES = Path(__file__).with_name("states.md")
IDENTITY = Path(__file__).with_name("identity.md")
MARK = "<!-- roles -->"


def states() -> str:
    """The page of a task's life."""
    lines = [
        "# A task's life",
        "",
        "Made from `keruta/domain/lifecycle.py` and `retry.py` by `make docs`.",
        "",
        "## Statuses",
        "",
    ]
    lines += ["| Status | Means | Holds a slot | An end |", "|---|---|---|---|"]
    words = _comments(Status)
    for one in Status:
        lines.append(f"| `{one}` | {words[one.name]} | {_yes(one in LEASED)} | {_yes(one in ENDED)} |")
    lines += ["", "```mermaid", "stateDiagram-v2", "    [*] --> queued"]
    lines += [f"    {source} --> {target}: {change}" for (source, change), target in sorted(TRANSITIONS.items())]
    lines += [f"    {one} --> [*]" for one in sorted(ENDED)]
    lines += ["```", "", "## Changes", "", "| Change | Made when | From | To |", "|---|---|---|---|"]
    words = _comments(Change)
    for change in Change:
        froms = ", ".join(f"`{source}`" for source in lifecycle.sources(change))
        to = next(target for (_, made), target in TRANSITIONS.items() if made is change)
        lines.append(f"| `{change}` | {words[change.name]} | {froms} | `{to}` |")
    lines += [
        "",
        "## Reasons",
        "",
        "Stable words. What is *ours* is tried again with backoff, unless the task's policy",
        "forbids it.",
        "",
    ]
    lines += ["| Reason | Means | Tried again |", "|---|---|---|"]
    lines += [f"| `{name}` | {reason.means} | {_yes(reason.retried)} |" for name, reason in retry.REASONS.items()]
    return "\n".join(lines) + "\n"


def identity() -> str:
    """The page of identity, its table of routes and roles made anew."""
    kept, _, _ = IDENTITY.read_text().partition(MARK)
    lines = [MARK, "", "| Route | viewer | developer | admin | others |", "|---|---|---|---|---|"]
    for route in ROUTES:
        if route.inside:
            continue
        people = [_yes(role in route.roles) for role in ("viewer", "developer", "admin")]
        others = ", ".join(sorted(route.roles - PEOPLE)) or ("anyone" if not route.roles else "")
        lines.append(f"| `{route.method} {route.path}` | {' | '.join(people)} | {others} |")
    return kept + "\n".join(lines) + "\n"


def _comments(enum: type) -> dict[str, str]:
    """The comment beside each member, in the source."""
    source = inspect.getsource(enum)
    own = dict(re.findall(r"^    ([A-Z_]+) = .*?#\s*(.+)$", source, re.MULTILINE))
    shared = {name: _before(source, name) for name in re.findall(r"^    ([A-Z_]+) = [^#\n]*$", source, re.MULTILINE)}
    return own | shared


def _before(source: str, name: str) -> str:
    """A member without a comment of its own shares the one above it."""
    above = source[: source.index(f"    {name} = ")]
    return re.findall(r"#\s*(.+)$", above, re.MULTILINE)[-1]


def _yes(value: bool) -> str:
    return "yes" if value else ""


if __name__ == "__main__":
    STATES.write_text(states())
    IDENTITY.write_text(identity())
