"""Masks secrets in what leaves a job: the log, messages, outputs."""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Iterable, Iterator
from html import escape
from urllib.parse import quote, quote_plus

MASK = b"***"
SHORTEST_BYTES = 4
SHORTEST_IN_BASE64_BYTES = 8  # what base64 makes of fewer bytes stands in other text by chance
SHORTEST_LINE_BYTES = 8  # of a secret of several lines; a shorter one is in other text by chance
HEX_LINE_WIDTH = 60  # of `xxd -p`
BASE64_LINE_WIDTHS = (76, 64)  # of base64(1) and MIME (RFC 2045), and of PEM (RFC 7468)
_FIRST_BYTES = 4
_LINE_END = re.compile(rb"\r\n|[\r\n]|(?:\\r)?\\n")


class Masker:
    """Replaces each secret, and each common encoding of it, by `***`.

    The cost grows with the number of secrets and the length of the text, not with the length of a secret.

    Args:
        secrets: the values. Values under 4 bytes are left out: masking them would destroy the log.
    """

    def __init__(self, secrets: Iterable[bytes]) -> None:
        self._forms: list[bytes] = []  # longest first: a secret may be part of another
        self.add(secrets)

    def add(self, secrets: Iterable[bytes]) -> None:
        """Mask these, too, from now on."""
        forms = {form for secret in secrets if len(secret) >= SHORTEST_BYTES for form in _forms(secret)}
        self._forms = sorted({*self._forms, *forms}, key=len, reverse=True)

    def mask(self, data: bytes) -> bytes:
        for form in self._forms:
            if form in data:
                data = data.replace(form, MASK)
        return data

    def text(self, text: str) -> str:
        return self.mask(text.encode("utf-8", "replace")).decode("utf-8", "replace")

    def held_back(self, data: bytes) -> int:
        """Return how many bytes at the end may begin a secret: they must stay together with what follows."""
        cut = min((len(data) - _begun(form, data) for form in self._forms), default=len(data))
        moved = True
        while moved and cut < len(data):  # nor may the cut fall inside a secret that is whole
            moved = False
            for form in self._forms:
                found = data.find(form, max(0, cut - len(form) + 1), cut + len(form) - 1)
                if found >= 0 and found < cut < found + len(form):
                    cut, moved = found + len(form), True
        return len(data) - cut


def _begun(form: bytes, data: bytes) -> int:
    """Return the length of the longest end of `data` that begins `form` without being all of it."""
    first = form[:_FIRST_BYTES]
    at = data.find(first, max(0, len(data) - len(form) + 1))
    while at >= 0:
        if form.startswith(data[at:]):
            return len(data) - at
        at = data.find(first, at + 1)
    return next((n for n in range(min(_FIRST_BYTES, len(form)) - 1, 0, -1) if data.endswith(form[:n])), 0)


def _forms(secret: bytes) -> Iterator[bytes]:
    """Yield a secret as it is, and as programs commonly write it."""
    yield secret
    yield from _lines(secret)
    text = secret.decode("utf-8", "surrogateescape")
    for quoted in (quote(secret, safe=""), quote(secret), quote_plus(secret)):
        yield quoted.encode()
        yield _lower_escapes(quoted).encode()
    for ascii_only in (True, False):
        written = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield written.encode("utf-8", "surrogateescape")
        yield written.replace("/", "\\/").encode("utf-8", "surrogateescape")
    for shell in (shlex.quote(text)[1:-1] if "'" in text else text, text.replace("'", "'\\''"), _backslashed(text)):
        yield shell.encode("utf-8", "surrogateescape")
    yield repr(text)[1:-1].encode("utf-8", "surrogateescape")
    yield repr(secret)[2:-1].encode()
    yield escape(text).encode("utf-8", "surrogateescape")
    yield escape(text, quote=False).encode("utf-8", "surrogateescape")
    if len(secret) >= SHORTEST_IN_BASE64_BYTES:
        yield secret.hex().encode()
        yield secret.hex().upper().encode()
        yield from _wrapped(secret.hex().encode(), HEX_LINE_WIDTH)
        yield secret.hex(":").encode()
        base32 = base64.b32encode(secret)
        yield base32.rstrip(b"=")
        yield from _wrapped(base32, BASE64_LINE_WIDTHS[0])
        yield base64.b64encode(base64.b64encode(secret)).rstrip(b"=")
        yield json.dumps(json.dumps(text))[3:-3].encode()
        yield quote(quote(secret, safe=""), safe="").encode()
        yield from _in_base64(secret)


def _in_base64(secret: bytes) -> Iterator[bytes]:
    """Yield the characters that base64 of any text around the secret has for it: its own at each of three offsets."""
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + secret)
        begin = (0, 2, 3)[offset]  # characters before that mix with the bytes before
        whole = (offset + len(secret)) // 3 * 4  # characters after that mix with the bytes after
        inner = encoded[begin:whole]
        yield inner
        yield inner.replace(b"+", b"-").replace(b"/", b"_")
    encoded = base64.b64encode(secret)
    for width in BASE64_LINE_WIDTHS:
        yield from _wrapped(encoded, width)


def _wrapped(encoded: bytes, width: int) -> Iterator[bytes]:
    """Yield the lines that a program writes of what is longer than one."""
    lines = [encoded[at : at + width] for at in range(0, len(encoded), width)]
    yield from (line for line in lines if len(line) >= 16 and len(lines) > 1)


def _lines(secret: bytes) -> Iterator[bytes]:
    """Yield a secret of several lines as `$(...)` gives it on, and each line: indented, or with other line ends.

    A value in JSON has its line ends written out: a key in an account's file is printed line by line, too.

    Not what begins and ends PEM, nor brackets of JSON: they are in much that is no secret.
    """
    stripped = secret.strip()
    if len(stripped) >= SHORTEST_BYTES:
        yield stripped
    lines = [line.strip().strip(b'",') for line in _LINE_END.split(stripped)]
    if len(lines) > 1:
        yield from (line for line in lines if len(line) >= SHORTEST_LINE_BYTES and not line.startswith(b"-----"))


def _lower_escapes(quoted: str) -> str:
    return "%".join(part[:2].lower() + part[2:] if n else part for n, part in enumerate(quoted.split("%")))


def _backslashed(text: str) -> str:
    """Return the text as a shell's `printf %q` writes it: a backslash before what is not a plain letter."""
    return "".join(c if c.isalnum() or c in "@%_-+=:,./" or not c.isascii() else f"\\{c}" for c in text)
