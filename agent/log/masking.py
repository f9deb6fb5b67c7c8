"""Masks secrets in what leaves a job: the log, messages, outputs."""

from __future__ import annotations

import re
import string
from bisect import bisect_right
from collections.abc import Iterable

from agent.log.secret_forms import SHORTEST_BYTES, encoded_forms, forms_of, parts_of

MASK = b"***"
WRAPPED_BYTES = 36  # shorter lines of letters that base64 has are not taken for a part of a longer text
CONTEXT_BYTES = WRAPPED_BYTES + 4  # what comes before a block, to know its first line break by
UNFINISHED_BYTES = 24  # an unfinished line's last letters, from so many on, wait for its end: it may be wrapped there
_FIRST_BYTES = 4
_LETTERS = (string.ascii_letters + string.digits + "+/_-").encode()
_LETTER = b"[%b]" % _LETTERS
_LONG = rb"%s{%d}" % (_LETTER, WRAPPED_BYTES)
_BREAK = re.compile(
    rb"(?:\n(?:(?<=%(long)b\n)|(?<=%(long)b\r\n))|\\n(?<=%(long)b\\n))[ \t]*(?=%(letter)b|\Z)"
    % {b"long": _LONG, b"letter": _LETTER}
)


class Masker:
    """Replaces each secret, and each common encoding of it, by `***`.

    The cost grows with the number of secrets and the length of the text, not with the length of a secret.

    Args:
        secrets: the values. Values under 4 bytes are left out: masking them would destroy the log.
    """

    def __init__(self, secrets: Iterable[bytes]) -> None:
        self._forms: list[bytes] = []  # longest first: a secret may be part of another
        self._encoded: list[bytes] = []  # those that programs wrap, each line of any length
        self.add(secrets)

    def add(self, secrets: Iterable[bytes]) -> None:
        """Mask these, too, from now on."""
        known = [secret for secret in secrets if len(secret) >= SHORTEST_BYTES]
        known += [part for secret in known for part in parts_of(secret)]
        encoded = {form for secret in known for form in encoded_forms(secret)}
        forms = {form for secret in known for form in forms_of(secret)}
        self._forms = sorted({*self._forms, *forms, *encoded}, key=len, reverse=True)
        self._encoded = sorted({*self._encoded, *encoded}, key=len, reverse=True)

    def mask(self, data: bytes, before: bytes = b"") -> bytes:
        """Return the data with its secrets masked.

        Args:
            before: the last `CONTEXT_BYTES` of what came before it, as it was: they may show that a line is wrapped.
        """
        if (unwrapped := _Unwrapped.of(before + data) if self._encoded else None) is not None:
            for start, end in reversed(unwrapped.spans(self._encoded)):
                if end > len(before):
                    data = data[: max(0, start - len(before))] + MASK + data[end - len(before) :]
        for form in self._forms:
            if form in data:
                data = data.replace(form, MASK)
        return data

    def text(self, text: str) -> str:
        return self.mask(text.encode("utf-8", "replace")).decode("utf-8", "replace")

    def held_back(self, data: bytes, before: bytes = b"") -> int:
        """Return how many bytes at the end may begin a secret: they must stay together with what follows.

        Args:
            before: as `mask` takes it.
        """
        cut = min((len(data) - _begun(form, data) for form in self._forms), default=len(data))
        spans: list[tuple[int, int]] = []
        if self._encoded:
            unwrapped = _Unwrapped.of(before + data) or _Unwrapped(before + data, [])
            cut = min(cut, max(0, unwrapped.begun(self._encoded) - len(before)))
            spans = [(start - len(before), end - len(before)) for start, end in unwrapped.spans(self._encoded)]
        moved = True
        while moved and cut < len(data):  # nor may the cut fall inside a secret that is whole
            moved = False
            for start, end in spans:
                if start < cut < end:
                    cut, moved = end, True
            for form in self._forms:
                found = data.find(form, max(0, cut - len(form) + 1), cut + len(form) - 1)
                if found >= 0 and found < cut < found + len(form):
                    cut, moved = found + len(form), True
        return len(data) - cut


class _Unwrapped:
    """A text without the line breaks that a program put into encoded parts of it.

    Args:
        data: the text.
        breaks: where each line break begins and ends.
    """

    def __init__(self, data: bytes, breaks: list[tuple[int, int]]) -> None:
        self._data, self._breaks = data, breaks
        pieces, at = [], 0
        self._at = [0]  # where each piece begins in the whole of them
        self._from = [0]  # and in the text
        for start, end in breaks:
            pieces.append(data[at:start])
            self._at.append(self._at[-1] + start - at)
            self._from.append(end)
            at = end
        self._whole = b"".join([*pieces, data[at:]])

    @classmethod
    def of(cls, data: bytes) -> _Unwrapped | None:
        """Return None for a text without such a line break."""
        found = []
        for one in _BREAK.finditer(data):
            start = one.start() - (data[one.start() - 1 : one.start()] == b"\r")
            found.append((start, one.end()))
        return cls(data, found) if found else None

    def spans(self, forms: Iterable[bytes]) -> list[tuple[int, int]]:
        """Return where in the text one of these lies across a line break, in order and apart from each other."""
        found = []
        for form in forms:
            at = self._whole.find(form)
            while at >= 0:
                start, end = self._place(at), self._place(at + len(form) - 1) + 1
                if end - start > len(form):
                    found.append((start, end))
                at = self._whole.find(form, at + len(form))
        apart: list[tuple[int, int]] = []
        for start, end in sorted(found):
            if apart and start < apart[-1][1]:
                apart[-1] = (apart[-1][0], max(end, apart[-1][1]))
            else:
                apart.append((start, end))
        return apart

    def begun(self, forms: Iterable[bytes]) -> int:
        """Return where to cut the text, so that what may begin one of these stays with what shows it to be wrapped."""
        most = max(_begun(form, self._whole) for form in forms)
        if not most:
            last = self._data[-WRAPPED_BYTES:]
            unfinished = len(last) - len(last.rstrip(_LETTERS))
            return len(self._data) - (unfinished if unfinished >= UNFINISHED_BYTES else 0)
        start = self._place(len(self._whole) - most)
        following = next((at for at, end in self._breaks if end > start), len(self._data))
        before = self._data[max(0, following - WRAPPED_BYTES) : start]
        return start - (len(before) - len(before.rstrip(_LETTERS)))

    def _place(self, at: int) -> int:
        """Return where in the text a letter of the whole is."""
        piece = bisect_right(self._at, at) - 1
        return self._from[piece] + at - self._at[piece]


def _begun(form: bytes, data: bytes) -> int:
    """Return the length of the longest end of `data` that begins `form` without being all of it."""
    first = form[:_FIRST_BYTES]
    at = data.find(first, max(0, len(data) - len(form) + 1))
    while at >= 0:
        if form.startswith(data[at:]):
            return len(data) - at
        at = data.find(first, at + 1)
    return next((n for n in range(min(_FIRST_BYTES, len(form)) - 1, 0, -1) if data.endswith(form[:n])), 0)
