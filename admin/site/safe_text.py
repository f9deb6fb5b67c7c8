"""Text of others, shown so that it says what it is: what hides, or turns the direction of text, is told by its number.

Source: https://www.unicode.org/reports/tr36/ (bidirectional text, spoofing)
"""

from __future__ import annotations

import re

_HIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


def visible(text: str) -> str:
    """The text, with each hidden character as ⟨its number⟩."""
    return _HIDDEN.sub(lambda found: f"⟨{ord(found[0]):02X}⟩", text)
