"""Escape sequences of terminals in a text.

Source: https://www.ecma-international.org/publications-and-standards/standards/ecma-48/
"""

from __future__ import annotations

import re

SEQUENCE = re.compile(
    r"\x1b(?:\[(?P<parameters>[0-?]{0,100})[ -/]{0,10}(?P<final>[@-~])"  # CSI
    r"|[\]PX^_][^\x07\x1b]{0,8192}(?:\x07|\x1b\\)?"  # OSC, DCS, SOS, PM, APC with their text
    r"|[ -/]{0,10}[0-~])?"
)
UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]{0,8192}\x1b?|[ -/]*)?\Z")


def without_escapes(text: str) -> str:
    """Return a line as it reads: without sequences, and without what a \\r has covered."""
    plain = SEQUENCE.sub("", text) if "\x1b" in text else text
    return plain.rstrip("\r").rpartition("\r")[2]
