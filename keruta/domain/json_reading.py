"""Reads JSON that comes from outside, and says in a sentence why a text is none."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from keruta.domain.messages import Message, message

_MARK = b"\xef\xbb\xbf"
# An escape that begins a pair which the next escape does not end, after an even number of backslashes.
_HALF = re.compile(
    rb"(?<!\\)(?:\\\\)*(\\u[dD][89abAB][0-9a-fA-F]{2})(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\)(?:\\\\)*(?<!\\u[dD][89abAB][0-9a-fA-F]{2})(\\u[dD][c-fC-F][0-9a-fA-F]{2})"
)
_PLACE = re.compile(r"(?:JSON is malformed: )?(.+) \(byte (\d+)\)")


class FaultyJsonError(ValueError):
    """Says what is wrong with a text that is not JSON."""

    def __init__(self, said: Message) -> None:
        super().__init__(said.text)
        self.said = said


def decode_json(body: bytes) -> Any:
    """Parse JSON. Raises FaultyJsonError when it is none, or is nested too deeply."""
    try:
        return msgspec.json.decode(body)
    except RecursionError as error:
        raise FaultyJsonError(message("json_too_deep")) from error
    except UnicodeDecodeError as error:
        raise FaultyJsonError(_not_utf8(body)) from error
    except msgspec.DecodeError as error:
        raise FaultyJsonError(_why(body, str(error))) from error


def _why(body: bytes, said: str) -> Message:
    """Return the reason; msgspec calls much "truncated" that is not, and does not tell half of a pair from the end."""
    if not body.strip():
        return message("json_empty")
    if body.startswith(_MARK):
        return message("json_mark")
    if "surrogate" in said or "truncated" in said:
        half = _HALF.search(body)
        if half is not None:
            group = 1 if half[1] else 2
            return message("json_half_pair", escape=half[group].decode(), at=half.start(group))
        if "truncated" in said:
            return message("json_ends")
    found = _PLACE.fullmatch(said)
    return message("json_at", said=found[1], at=int(found[2])) if found else message("json_other", said=said[:300])


def _not_utf8(body: bytes) -> Message:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return message("json_not_utf8", at=error.start)
    return message("json_other", said="a text in it is not UTF-8")
