"""The outputs that a script writes to the file $KERUTA_OUTPUTS, as text: pure.

A line `name=value`, or `name<<WORD`, lines of any kind, and a line that is WORD alone. A line ends with a line feed; no
other character ends one.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence

from keruta.domain.reports import OUTPUT_LENGTH_LIMIT, OUTPUTS_LIMIT

OUTPUT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
FAULTS_TOLD = 20
_OPENING = re.compile(rf"({OUTPUT_NAME.pattern})<<(\S{{1,200}})")


def parse_outputs(text: str) -> tuple[dict[str, str], list[str]]:
    """Return the outputs by name, the last of each, and a sentence for each line that is none."""
    outputs: dict[str, str] = {}
    wrong: list[str] = []
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    places: dict[str, list[int]] = {}
    for number, line in enumerate(lines):
        places.setdefault(line, []).append(number)
    at = 0
    while at < len(lines):
        number, line = at + 1, lines[at]
        at += 1
        if not line.strip(" \t"):
            continue
        name, equals, value = line.partition("=")
        if (opening := _OPENING.fullmatch(line)) and (end := _first_from(places.get(opening[2], ()), at)) is not None:
            name, value = opening[1], "\n".join(lines[at:end])
            at = end + 1
        elif opening:
            wrong.append(f"$KERUTA_OUTPUTS, line {number}: no line {opening[2]} ends the value of {opening[1]}")
            continue
        elif not equals or not OUTPUT_NAME.fullmatch(name):
            wrong.append(f"$KERUTA_OUTPUTS, line {number}: not name=value")
            continue
        if len(value) > OUTPUT_LENGTH_LIMIT:
            wrong.append(
                f"$KERUTA_OUTPUTS, line {number}: the value of {name} is longer than {OUTPUT_LENGTH_LIMIT} characters"
            )
            continue
        if len(outputs) >= OUTPUTS_LIMIT and name not in outputs:
            wrong.append(f"$KERUTA_OUTPUTS has more than {OUTPUTS_LIMIT} names: the rest is left out")
            break
        outputs[name] = value
    if len(wrong) > FAULTS_TOLD:
        wrong[FAULTS_TOLD:] = [f"$KERUTA_OUTPUTS has {len(wrong) - FAULTS_TOLD} more lines like these"]
    return outputs, wrong


def _first_from(places: Sequence[int], begin: int) -> int | None:
    at = bisect_left(places, begin)
    return places[at] if at < len(places) else None
