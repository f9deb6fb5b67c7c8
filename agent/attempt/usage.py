"""A coding agent's usage, read from its output by its profile's rules."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

import msgspec

from keruta.domain.catalog.patterns import pattern_fault
from keruta.domain.catalog.profiles import UsageRule

JSON_LINE_BYTES = 4 * 1024 * 1024
TEXT_LINE_CHARACTERS = 500  # a pattern that backtracks has little to do it on
SEARCH_SECONDS = 2.0  # of this thread's CPU time for all patterns on one log
_SUFFIXES = {"k": 1e3, "M": 1e6}


def measure(log: BinaryIO, rules: Sequence[UsageRule]) -> dict[str, float]:
    """The numbers that the rules find, by what they measure; nothing for what is not there.

    Args:
        log: closed afterwards.
    """
    found: dict[str, float] = {}
    if not rules:
        log.close()
        return found
    readers = [(rule, _reader(rule)) for rule in rules]
    by_pointer = any(rule.pointer for rule in rules)
    last = time.thread_time() + SEARCH_SECONDS
    for line in _lines(log):
        document = _json(line) if by_pointer and line.startswith(b"{") else None
        text = line[: TEXT_LINE_CHARACTERS * 4].decode("utf-8", "replace")[:TEXT_LINE_CHARACTERS]
        in_time = time.thread_time() < last
        for rule, read in readers:
            if rule.pattern and not in_time:
                continue
            number = read(document) if rule.pointer else read(text)
            if number is not None:
                before = found.get(rule.measure, 0.0) if rule.fold == "sum" else 0.0
                found[rule.measure] = before + number
    return found


def _reader(rule: UsageRule) -> Callable[[Any], float | None]:
    if rule.pointer is None:
        if pattern_fault(rule.pattern or "") is not None:
            return lambda _: None  # kept since before such patterns were refused
        pattern = re.compile(rule.pattern or "")

        def from_text(text: str) -> float | None:
            match = pattern.search(text)
            return _number(match[1]) if match and match[1] else None

        return from_text

    def from_json(document: Any) -> float | None:
        if document is None or any(str(_at(document, at)) != text for at, text in rule.where.items()):
            return None
        number = _at(document, rule.pointer or "")
        return float(number) if isinstance(number, int | float) and not isinstance(number, bool) else None

    return from_json


def _at(document: Any, pointer: str) -> Any:
    """Return the value that a JSON pointer (RFC 6901) names, or None."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            document = document.get(name)
        elif isinstance(document, list) and name.isascii() and name.isdigit() and int(name) < len(document):
            document = document[int(name)]
        else:
            return None
    return document


def _number(text: str) -> float | None:
    scale = _SUFFIXES.get(text[-1], 1.0)
    try:
        return float(text.rstrip("kM").replace(",", "")) * scale
    except ValueError:
        return None


def _json(line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return None


def _lines(log: BinaryIO) -> Iterator[bytes]:
    """The lines of a log; what is longer than any agent's is passed over."""
    with log as file:
        while line := file.readline(JSON_LINE_BYTES):
            if line.endswith(b"\n") or len(line) < JSON_LINE_BYTES:
                yield line
            else:
                while line and not line.endswith(b"\n"):
                    line = file.readline(JSON_LINE_BYTES)
