"""Names of files as text: every name that a file system can hold, shown safely, and got back byte for byte.

A name is UTF-8 as it stands. What is no UTF-8 (Shift_JIS, Latin-1), and what would hide or turn the text around it
(control characters, line ends, marks of direction), is written as `%` and two digits for each of its bytes, as in
addresses; so is a `%` that is followed by two such digits. Letters of any script, U+3000, U+202F and joiners stay.
"""

from __future__ import annotations

import os
import re
import unicodedata

JOINERS = "\u200c\u200d"  # they shape letters and pictures; nothing is hidden by them
_HIDING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_ESCAPED = re.compile(rb"%([0-9A-Fa-f]{2})")
_LOOKS_ESCAPED = re.compile(r"%(?=[0-9A-Fa-f]{2})")


def as_text(name: bytes) -> str:
    """Return a name, or a path, as text without any character that hides. `as_bytes` is its inverse."""
    text = _LOOKS_ESCAPED.sub("%25", os.fsdecode(name))
    if text.isprintable():
        return text
    return "".join(_as_digits(char) if _hides(char) else char for char in text)


def as_bytes(text: str) -> bytes:
    """Return the name that a text stands for. Any text stands for one; who types a name as it is gets that."""
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), text.encode("utf-8", "surrogateescape"))


def _hides(char: str) -> bool:
    return unicodedata.category(char) in _HIDING and char not in JOINERS


def _as_digits(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in os.fsencode(char))
