"""Packets of Git's protocol: a length of four hexadecimal digits, then content.

Source: gitprotocol-common(5)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

FLUSH, DELIMITER = b"0000", b"0001"
PACKET_LIMIT_BYTES = 65520


def packets(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Yield packets as they came, with their lengths, until there are no more. Raises EOFError in the midst of one."""
    while head := read(4):
        if not re.fullmatch(rb"[0-9a-fA-F]{4}", head):
            raise EOFError("not a packet")
        length = int(head, 16)
        if length > PACKET_LIMIT_BYTES or length == 3:
            raise EOFError("a packet is too long")
        body = read(length - 4) if length > 4 else b""
        if length > 4 and len(body) != length - 4:
            raise EOFError("a packet is cut short")
        yield head + body


def packet(content: bytes) -> bytes:
    """Return a packet with this content."""
    return b"%04x" % (len(content) + 4) + content


def payload(one: bytes) -> bytes:
    """Return what a packet says, without the line feed at its end."""
    return one[4:].removesuffix(b"\n")
