"""The table of what a script may expect, read from its page, and the script that checks each line."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import msgspec

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "what-a-script-may-expect.md"
_ROW = re.compile(r"^\| (.+) \| (yes|no|—) \| (yes|no|—) \| `(.+)` \|$", re.MULTILINE)


class Expectation(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the table; `—` where nothing is promised."""

    what: str
    one_machine: str
    pod: str
    command: str


def table(page: Path = PAGE) -> list[Expectation]:
    """Return the lines of the page's table."""
    found = [Expectation(what=w, one_machine=m, pod=p, command=c) for w, m, p, c in _ROW.findall(page.read_text())]
    assert len(found) == sum(line.startswith("| ") for line in page.read_text().splitlines()) - 1, "an unreadable line"
    return found


def script(lines: list[Expectation]) -> str:
    """Return a shell text that runs each line's command, and prints its number and how it ended."""
    checks = [
        f"if sh -c {shlex.quote(line.command)} >/dev/null 2>&1; then echo 'line {number} yes'; "
        f"else echo 'line {number} no'; fi"
        for number, line in enumerate(lines)
    ]
    return "\n".join(checks)


def untrue(lines: list[Expectation], place: str, log: str) -> list[str]:
    """Return the lines that a log of that script contradicts.

    Args:
        place: `one_machine` or `pod`.
    """
    said = dict(re.findall(r"^line ([0-9]+) (yes|no)$", log, re.MULTILINE))
    wanted = {str(number): getattr(line, place) for number, line in enumerate(lines)}
    assert said.keys() == wanted.keys(), log
    return [lines[int(n)].what for n, expected in wanted.items() if expected not in ("—", said[n])]
