"""Texts of others, made harmless for a terminal."""

from __future__ import annotations

import re

# Control characters but the line's end and the tab; marks of direction; separators that end a line.
_CONTROLS = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]")


def printable(text: str) -> str:
    """Return a text in which each character that controls a terminal, or turns its writing around, is escaped."""
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)
