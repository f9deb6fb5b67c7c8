"""Forms in which programs commonly write a secret: quoted, escaped, encoded."""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Iterator
from html import escape
from urllib.parse import quote, quote_plus

SHORTEST_BYTES = 4
SHORTEST_IN_BASE64_BYTES = 8  # what base64 makes of fewer bytes stands in other text by chance
SHORTEST_LINE_BYTES = 8  # of a secret of several lines; a shorter one is in other text by chance
HEX_LINE_WIDTH = 60  # of `xxd -p`
BASE64_LINE_WIDTHS = (76, 64)  # of base64(1) and MIME (RFC 2045), and of PEM (RFC 7468)
# What encodeURIComponent, encodeURI, and Go's PathEscape and UserPassword leave as it is.
URL_SAFE = ("", "/", "!'()*~", ";,/?:@&=+$-_.!~*'()#", "$&+=:@", "$&+,;=")
ENCODINGS = ("utf-16-le", "utf-16-be", "shift_jis", "euc_jp", "latin-1")
# Names of what is secret in a file of JSON, such as a service account's.
_SECRET_NAME = re.compile(r"key|secret|token|pass|credential|private", re.IGNORECASE)
SHORTEST_VALUE_BYTES = 8  # in JSON; a shorter one is in other text by chance
VALUES_MOST = 50
_LINE_END = re.compile(rb"\r\n|[\r\n]|(?:\\r)?\\n")


def parts_of(secret: bytes) -> list[bytes]:
    """Return the values of a secret in JSON that are secrets by their names: programs print them without the rest."""
    if not secret.lstrip().startswith((b"{", b"[")):
        return []
    try:
        waiting: list[tuple[str, object]] = [("", json.loads(secret))]
    except (ValueError, RecursionError):
        return []
    found: list[bytes] = []
    while waiting and len(found) < VALUES_MOST:
        name, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(str(key), one) for key, one in value.items()]
        elif isinstance(value, list):
            waiting += [(name, one) for one in value]
        elif isinstance(value, str) and _SECRET_NAME.search(name):
            text = value.encode("utf-8", "surrogatepass")
            found += [text] if len(text) >= SHORTEST_VALUE_BYTES else []
    return found


def forms_of(secret: bytes) -> Iterator[bytes]:
    """Yield a secret as it is, and as programs commonly write it, line by line where they wrap it."""
    yield secret
    yield from _lines(secret)
    text = secret.decode("utf-8", "surrogateescape")
    for form in (*_in_urls(secret), *_in_json(text), *_in_shells(text), *_in_markup(text), *_in_code(text)):
        yield form.encode("utf-8", "surrogateescape")
    yield repr(secret)[2:-1].encode()
    yield from _recoded(text)
    if len(secret) >= SHORTEST_IN_BASE64_BYTES:
        yield from _wrapped(secret.hex().encode(), HEX_LINE_WIDTH)
        yield secret.hex(":").encode()
        yield from _wrapped(base64.b32encode(secret), BASE64_LINE_WIDTHS[0])
        yield json.dumps(json.dumps(text))[3:-3].encode()
        yield quote(quote(secret, safe=""), safe="").encode()
        for width in BASE64_LINE_WIDTHS:
            yield from _wrapped(base64.b64encode(secret), width)


def encoded_forms(secret: bytes) -> Iterator[bytes]:
    """Yield a secret in the encodings that programs wrap at any place, as it is found within a longer text, too."""
    if len(secret) < SHORTEST_IN_BASE64_BYTES:
        return
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    yield from _in_base64(secret)
    yield from _in_base32(secret)
    yield base64.b64encode(base64.b64encode(secret)).rstrip(b"=")
    yield from _in_base64(secret.decode("utf-8", "replace").encode("utf-16-le"))  # PowerShell's


def _in_urls(secret: bytes) -> Iterator[str]:
    for quoted in (*(quote(secret, safe=safe) for safe in URL_SAFE), quote_plus(secret)):
        yield quoted
        yield _lower_escapes(quoted)


def _in_json(text: str) -> Iterator[str]:
    for ascii_only in (True, False):
        written = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield written
        yield written.replace("/", "\\/")
        yield written.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")  # as Go does


def _in_shells(text: str) -> Iterator[str]:
    yield shlex.quote(text)[1:-1] if "'" in text else text
    yield text.replace("'", "'\\''")
    yield "".join(c if c.isalnum() or c in "@%_-+=:,./" or not c.isascii() else f"\\{c}" for c in text)  # printf %q
    yield re.sub(r'(["$`\\])', r"\\\1", text)  # within double quotes: declare -p
    yield text.replace("$", "$$")  # Make, Docker Compose


def _in_markup(text: str) -> Iterator[str]:
    yield escape(text)
    bare = escape(text, quote=False)
    yield bare
    for double in ("&quot;", "&#34;", '"'):
        for single in ("&apos;", "&#39;", "'"):
            quoted = bare.replace('"', double).replace("'", single)
            yield quoted
            yield quoted.encode("ascii", "xmlcharrefreplace").decode()


def _in_code(text: str) -> Iterator[str]:
    yield repr(text)[1:-1]
    yield text.replace("'", "''")  # YAML, SQL
    yield text.replace('"', '""')  # CSV


def _recoded(text: str) -> Iterator[bytes]:
    for encoding in ENCODINGS:
        try:
            recoded = text.encode(encoding)
        except UnicodeEncodeError:
            continue
        if len(recoded) >= SHORTEST_BYTES:
            yield recoded


def _in_base64(secret: bytes) -> Iterator[bytes]:
    """Yield the characters that base64 of any text around the secret has for it: its own at each of three offsets."""
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + secret)
        begin = (0, 2, 3)[offset]  # characters before that mix with the bytes before
        whole = (offset + len(secret)) // 3 * 4  # characters after that mix with the bytes after
        inner = encoded[begin:whole]
        yield inner
        yield inner.replace(b"+", b"-").replace(b"/", b"_")


def _in_base32(secret: bytes) -> Iterator[bytes]:
    """Yield the same for base32, at each of five offsets; and its end, where nothing follows."""
    yield base64.b32encode(secret).rstrip(b"=")
    for offset in range(5):
        encoded = base64.b32encode(bytes(offset) + secret)
        yield encoded[(0, 2, 4, 5, 7)[offset] : (offset + len(secret)) * 8 // 5]


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
