"""Regular expressions that people give: only such as end soon on any line.

Python's engine tries every way to match. What repeats a part that repeats itself, or has alternatives, can take longer
than anyone waits, with the interpreter held meanwhile.
"""

from __future__ import annotations

import re
import re._constants as sre
import re._parser as parser
from collections.abc import Iterator
from typing import Any

from keruta.domain.messages import Message, message

REPEATS_LIMIT = 3  # a line of n characters takes n to the power of these
FEW = 16  # a repeat of at most so many times is none
_REPEATS = (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT)
_REFUSED = (sre.GROUPREF, sre.GROUPREF_EXISTS)


def pattern_fault(pattern: str) -> Message | None:
    """Return what is wrong with a pattern for a number: no expression, no group, or too slow on some text."""
    try:
        parsed = parser.parse(pattern)
        groups = re.compile(pattern).groups
    except (re.error, RecursionError, OverflowError) as error:
        return message("field_expression", error=str(error))
    if groups < 1:
        return message("field_no_group")
    found = list(_operations(parsed, within=False))
    slow = any(within and (_repeats(item) or item[0] is sre.BRANCH) for item, within in found)
    many = sum(_repeats(item) for item, _ in found) > REPEATS_LIMIT
    if slow or many or any(item[0] in _REFUSED for item, _ in found):
        return message("field_pattern_slow", limit=REPEATS_LIMIT)
    return None


def _repeats(item: Any) -> bool:
    return item[0] in _REPEATS and item[1][1] > FEW


def _operations(parsed: Any, *, within: bool) -> Iterator[tuple[Any, bool]]:
    """Yield each operation of a parsed pattern, and whether it stands within a repeat."""
    for item in parsed:
        yield item, within
        inside = within or (item[0] in _REPEATS and item[1][1] > 1)
        for part in _parts(item[1]):
            yield from _operations(part, within=inside)


def _parts(argument: Any) -> Iterator[Any]:
    """Yield the patterns within an operation's argument, however deep they lie in its tuples."""
    if isinstance(argument, parser.SubPattern):
        yield argument
    elif isinstance(argument, tuple | list):
        for one in argument:
            yield from _parts(one)
