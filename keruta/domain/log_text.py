"""Text of a log: bytes in, characters out, wherever the bytes were cut.

A log is kept as bytes. Whoever shows it reads it in parts, and a part may begin or end within a character.
Source of the encoding's form: RFC 3629, section 3.
"""

from __future__ import annotations

import codecs

CONTINUATION_BYTES = range(0x80, 0xC0)
# What is tried for bytes that are not UTF-8, in this order; each by the codec that knows the vendors' characters, too.
JAPANESE = (("EUC-JP", "euc_jp"), ("Shift_JIS", "cp932"))
_CODECS = {
    "UTF-8": "utf-8", "UTF-16LE": "utf-16-le", "UTF-16BE": "utf-16-be", "ISO-2022-JP": "iso2022_jp_ext",
    **dict(JAPANESE),
}  # fmt: skip
_JIS_ESCAPES = (b"\x1b$B", b"\x1b$@", b"\x1b(J")  # ISO-2022-JP, RFC 1468
SAMPLE_BYTES = 64 * 1024


def unfinished_bytes(data: bytes) -> int:
    """Return how many bytes at the end (0 to 3) begin a UTF-8 character of which the rest is missing."""
    for length in range(1, min(3, len(data)) + 1):
        byte = data[-length]
        if byte in CONTINUATION_BYTES:
            continue
        needed = 2 if 0xC2 <= byte < 0xE0 else 3 if 0xE0 <= byte < 0xF0 else 4 if 0xF0 <= byte < 0xF5 else 1
        return length if needed > length else 0
    return 0


def from_whole_character(data: bytes) -> bytes:
    """Return the data without the rest of a character that began before it."""
    begin = 0
    while begin < min(3, len(data)) and data[begin] in CONTINUATION_BYTES:
        begin += 1
    return data[begin:]


def up_to_whole_character(data: bytes) -> bytes:
    """Return the data without a character at its end of which the rest is missing."""
    return data[: len(data) - unfinished_bytes(data)]


class LogDecoder:
    """Decodes the parts of one log in order; a character that two parts share comes with the second.

    Args:
        before: the end of the part before the first one, where reading begins in the middle.
    """

    def __init__(self, before: bytes = b"") -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.raw = b""  # the bytes of the text that was returned last
        if before:
            self._decoder.decode(before[len(before) - unfinished_bytes(before) :])

    def decode(self, data: bytes) -> str:
        held = self._decoder.getstate()[0]
        text = self._decoder.decode(data)
        whole = held + data
        self.raw = whole[: len(whole) - len(self._decoder.getstate()[0])]
        return text

    def finish(self) -> str:
        """Return what stands for a character that was never finished; nothing in most cases."""
        self.raw = self._decoder.getstate()[0]
        return self._decoder.decode(b"", final=True)


class GuessingDecoder:
    """Decodes the parts of one log for a person to read, in the encoding that it is most probably in.

    `encoding` is what the log was taken for; None while all of it is ASCII.
    """

    def __init__(self) -> None:
        self.encoding: str | None = None
        self._decoder: codecs.IncrementalDecoder = codecs.getincrementaldecoder("utf-8")("replace")

    def decode(self, data: bytes) -> str:
        if self.encoding is None and not _is_plain(data):
            self.encoding = guess_encoding(data)
            self._decoder = codecs.getincrementaldecoder(_CODECS[self.encoding])("replace")
            return self._decoder.decode(data).removeprefix("\ufeff")
        return self._decoder.decode(data)


def end_of_log(data: bytes) -> str:
    """Return the text of a log's last bytes, without the parts of characters that were cut off at either end."""
    return GuessingDecoder().decode(up_to_whole_character(from_whole_character(data)))


def guess_encoding(sample: bytes) -> str:
    """Return the encoding that the beginning of a log is most probably in: UTF-8 unless it can't be.

    Returns:
        "UTF-8", "UTF-16LE", "UTF-16BE", "ISO-2022-JP", "EUC-JP" or "Shift_JIS"; UTF-8 also for bytes that fit none.
    """
    sample = sample[:SAMPLE_BYTES]
    if sample.startswith(codecs.BOM_UTF16_LE) or _looks_like_utf_16(sample, zero=1):
        return "UTF-16LE"
    if sample.startswith(codecs.BOM_UTF16_BE) or _looks_like_utf_16(sample, zero=0):
        return "UTF-16BE"
    if any(escape in sample for escape in _JIS_ESCAPES) and _decoded(sample, _CODECS["ISO-2022-JP"]) is not None:
        return "ISO-2022-JP"
    if _decoded(sample, "utf-8") is not None:
        return "UTF-8"
    fitting = [(name, text) for name, codec in JAPANESE if (text := _decoded(sample, codec)) is not None]
    if not fitting:
        return "UTF-8"
    return max(fitting, key=lambda one: _japanese_share(one[1]))[0]


def _looks_like_utf_16(sample: bytes, *, zero: int) -> bool:
    """Return whether zeros stand where UTF-16 has them for ASCII letters, and the whole decodes as that encoding."""
    zeros, others = sample[zero::2].count(0), sample[1 - zero :: 2].count(0)
    if zeros < 4 or zeros < 4 * others:
        return False
    text = _decoded(sample, "utf-16-le" if zero else "utf-16-be")
    return text is not None and not any(c < " " and c not in "\t\n\r\x1b\b\f" for c in text)


def _is_plain(data: bytes) -> bool:
    return data.isascii() and b"\0" not in data and not any(escape in data for escape in _JIS_ESCAPES)


def _decoded(sample: bytes, codec: str) -> str | None:
    """Return the text, or None if the bytes are not of that encoding; a character cut at the end is no fault."""
    try:
        return codecs.getincrementaldecoder(codec)("strict").decode(sample)
    except UnicodeDecodeError:
        return None


def _japanese_share(text: str) -> float:
    """Return which part of the letters beyond ASCII are such as Japanese is mostly written in."""
    beyond = [c for c in text if ord(c) > 0x7F]
    common = sum(
        1 for c in beyond if "\u3000" <= c <= "\u30ff" or "\u4e00" <= c <= "\u9fff" or "\uff01" <= c <= "\uff5e"
    )
    return common / len(beyond) if beyond else 0.0
