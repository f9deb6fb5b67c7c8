"""Addresses of e-mail, read so strictly that one can stand in a header. Pure.

Source: https://html.spec.whatwg.org/multipage/input.html#valid-e-mail-address
"""

from __future__ import annotations

import re

ADDRESS_LETTERS = 254
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})*")
_SENDER = re.compile(r'(?:"?(?P<name>[^<>"@,;\\]*?)"? *<(?P<angled>[^<>]+)>|(?P<plain>[^<> ]+))')


def is_address(text: str) -> bool:
    """Return whether a text is one address, in ASCII, and nothing besides: no encoded word (RFC 2047) either."""
    return len(text) <= ADDRESS_LETTERS and "=?" not in text and _ADDRESS.fullmatch(text) is not None


def split_sender(text: str) -> tuple[str, str] | None:
    """Return the name and the address of `address` or `Name <address>`; None for anything else."""
    match = _SENDER.fullmatch(text.strip())
    if match is None or not text.isprintable():
        return None
    address = match["angled"] or match["plain"]
    return ((match["name"] or "").strip(), address) if is_address(address) else None
