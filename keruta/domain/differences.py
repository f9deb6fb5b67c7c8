"""Differences between two texts, line by line, in bounded time: Myers' algorithm, given up where they differ much.

Source: E. W. Myers, An O(ND) Difference Algorithm and Its Variations (1986).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

EDITS_MOST = 400  # more lines than that were changed: then all of the old stands beside all of the new
AROUND = 3
LINES_SHOWN = 2000


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a difference: `+`, `-`, `@` or a space, and what it says."""

    sign: str
    text: str


def differing(before: str, after: str, *, alike: Callable[[str], str] | None = None) -> list[Line]:
    """Return what differs, with three lines around each place, and at most 2000 lines of it.

    Args:
        alike: what is compared of a line; lines that have it in common count as equal, and are shown as the new one.
    """
    old, new = before.splitlines(), after.splitlines()
    if alike is None:
        edits = _edits(old, new)
    else:
        edits = _as_written(_edits([alike(line) for line in old], [alike(line) for line in new]), old, new)
    shown: list[Line] = []
    for line in _hunks(edits):
        if len(shown) == LINES_SHOWN:
            return [*shown, Line(sign="@", text="…")]
        shown.append(line)
    return shown


def _as_written(edits: Sequence[tuple[str, str]], old: Sequence[str], new: Sequence[str]) -> list[tuple[str, str]]:
    """Put the lines themselves in place of what was compared of them."""
    found, before, after = [], iter(old), iter(new)
    for sign, _ in edits:
        left = next(before) if sign != "+" else ""
        found.append((sign, left if sign == "-" else next(after)))
    return found


def _edits(before: Sequence[str], after: Sequence[str]) -> list[tuple[str, str]]:
    """Every line of both, as kept (` `), taken out (`-`) or put in (`+`)."""
    start = 0
    while start < min(len(before), len(after)) and before[start] == after[start]:
        start += 1
    end = 0
    while end < min(len(before), len(after)) - start and before[-1 - end] == after[-1 - end]:
        end += 1
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    middle = _myers(old, new)
    if middle is None:
        middle = [*(("-", line) for line in old), *(("+", line) for line in new)]
    return [
        *((" ", line) for line in before[:start]), *middle, *((" ", line) for line in before[len(before) - end :]),
    ]  # fmt: skip


def _myers(old: Sequence[str], new: Sequence[str]) -> list[tuple[str, str]] | None:
    """The shortest script of edits; None if it is longer than `EDITS_MOST`."""
    reached = {1: 0}
    trace: list[dict[int, int]] = []
    for edits in range(EDITS_MOST + 1):
        trace.append(dict(reached))
        for diagonal in range(-edits, edits + 1, 2):
            down = diagonal == -edits or (
                diagonal != edits and reached.get(diagonal - 1, -1) < reached.get(diagonal + 1, -1)
            )
            x = reached[diagonal + 1] if down else reached[diagonal - 1] + 1
            y = x - diagonal
            while x < len(old) and y < len(new) and old[x] == new[y]:
                x, y = x + 1, y + 1
            reached[diagonal] = x
            if x >= len(old) and y >= len(new):
                return _script(old, new, trace)
    return None


def _script(old: Sequence[str], new: Sequence[str], trace: Sequence[dict[int, int]]) -> list[tuple[str, str]]:
    x, y = len(old), len(new)
    script: list[tuple[str, str]] = []
    for edits in range(len(trace) - 1, -1, -1):
        reached, diagonal = trace[edits], x - y
        down = diagonal == -edits or (
            diagonal != edits and reached.get(diagonal - 1, -1) < reached.get(diagonal + 1, -1)
        )
        previous = diagonal + 1 if down else diagonal - 1
        before_x = reached.get(previous, 0)
        before_y = before_x - previous
        while x > before_x and y > before_y and x > 0 and y > 0:
            x, y = x - 1, y - 1
            script.append((" ", old[x]))
        if edits:
            script.append(("+", new[y - 1]) if down else ("-", old[x - 1]))
            x, y = before_x, before_y
    return script[::-1]


def _hunks(edits: Sequence[tuple[str, str]]) -> Iterator[Line]:
    """The changed places with what is around them, each begun by where it is in both texts."""
    near = [False] * len(edits)
    for number, (sign, _) in enumerate(edits):
        if sign != " ":
            for around in range(max(number - AROUND, 0), min(number + AROUND + 1, len(edits))):
                near[around] = True
    old = new = 0
    shown = False
    for (sign, text), wanted in zip(edits, near, strict=True):
        old, new = old + (sign != "+"), new + (sign != "-")
        if wanted and not shown:
            yield Line(sign="@", text=f"@@ -{old} +{new} @@")
        if wanted:
            yield Line(sign=sign, text=text)
        shown = wanted
