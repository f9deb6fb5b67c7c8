"""The outputs that a script writes to the file $KERUTA_OUTPUTS, as text: pure.

A line `name=value`, or `name<<WORD`, lines of any kind, and a line that is WORD alone. A line ends with a line feed; no
other character ends one.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence

from keruta.domain.messages import Message, message
from keruta.domain.reports import OUTPUT_LENGTH_LIMIT, OUTPUTS_LIMIT

OUTPUT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
FAULTS_TOLD = 20
_OPENING = re.compile(rf"({OUTPUT_NAME.pattern})<<(\S{{1,200}})")


def parse_outputs(text: str) -> tuple[dict[str, str], list[Message]]:
    """Return the outputs by name, the last of each, and a sentence for each line that is none."""
    outputs: dict[str, str] = {}
    wrong: list[Message] = []
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
            wrong.append(message("outputs_no_end", line=number, end=opening[2], name=opening[1]))
            continue
        elif not equals or not OUTPUT_NAME.fullmatch(name):
            wrong.append(message("outputs_no_output", line=number))
            continue
        if len(value) > OUTPUT_LENGTH_LIMIT:
            wrong.append(message("outputs_value_long", line=number, name=name, limit=OUTPUT_LENGTH_LIMIT))
            continue
        if len(outputs) >= OUTPUTS_LIMIT and name not in outputs:
            wrong.append(message("outputs_many_names", limit=OUTPUTS_LIMIT))
            break
        outputs[name] = value
    if len(wrong) > FAULTS_TOLD:
        wrong[FAULTS_TOLD:] = [message("outputs_more", count=len(wrong) - FAULTS_TOLD)]
    return outputs, wrong


def _first_from(places: Sequence[int], begin: int) -> int | None:
    at = bisect_left(places, begin)
    return places[at] if at < len(places) else None
