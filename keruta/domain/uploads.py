"""Files that agents send in parts: what a request says of its part. Sources: RFC 9110 14.4, RFC 9530 3."""

from __future__ import annotations

import base64
import binascii
import re

import msgspec

from keruta.domain.messages import message
from keruta.errors import InvalidRequest

PART_BYTES = 4 * 1024 * 1024
_RANGE = re.compile(r"bytes (?:(\d{1,15})-(\d{1,15})|\*)/(\d{1,15}|\*)")
_SHA_256 = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]{44}):\s*(?:,|$)")


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a file.

    Args:
        first: how many bytes of the file come before it.
        total_bytes: the whole file's size, with its last part; None before.
        sha256: the whole file's, in hexadecimal digits; with its last part, if the sender knows it.
    """

    first: int = 0
    total_bytes: int | None = None
    sha256: str | None = None


def content_range(part: Part, size: int) -> str:
    """Return the header that says which bytes of a file a request of this size holds."""
    total = "*" if part.total_bytes is None else str(part.total_bytes)
    return f"bytes {part.first}-{part.first + size - 1}/{total}" if size else f"bytes */{total}"


def representation_digest(sha256: str) -> str:
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"


def read_part(range_header: str | None, digest_header: str | None, length: int) -> Part:
    """Return the part that a request holds; without a range, the whole file.

    Raises:
        InvalidRequest: the headers contradict each other, or can't be read.
    """
    sha256 = _digest(digest_header)
    if range_header is None:
        return Part(total_bytes=length, sha256=sha256)
    found = _RANGE.fullmatch(range_header.strip())
    if found is None:
        raise InvalidRequest(message("file_range"))
    total = None if found[3] == "*" else int(found[3])
    first = 0 if found[1] is None else int(found[1])
    end = 0 if found[2] is None else int(found[2]) + 1
    if end - first != length or (total is None and not length) or (total is not None and total != end):
        raise InvalidRequest(message("file_range"))
    return Part(first=first, total_bytes=total, sha256=sha256)


def _digest(header: str | None) -> str | None:
    if header is None:
        return None
    found = _SHA_256.search(header)
    try:
        value = base64.b64decode(found[1], validate=True) if found is not None else b""
    except binascii.Error:
        value = b""
    if len(value) != 32:
        raise InvalidRequest(message("file_digest"))
    return value.hex()
