"""A script's output as inert HTML: colours are kept, and all other terminal control is removed.

Cursor moves, titles and hyperlinks are taken out: a log says what was written, and no text of it covers another. What
would turn the direction of text around is shown as what it is.
Source: https://www.ecma-international.org/publications-and-standards/standards/ecma-48/ (SGR is 8.3.117)
"""

from __future__ import annotations

import re
from html import escape

from admin.site.safe_text import visible
from admin.tasks.escapes import SEQUENCE, UNFINISHED
from admin.tasks.log_marks import LogMarks, Read, with_links
from keruta.domain.log_text import GuessingDecoder

LINE_LIMIT = 4000
_FLAGS = {1: "b", 2: "d", 3: "i", 4: "u", 7: "r", 9: "s"}
_FLAGS_OFF = {22: "bd", 23: "i", 24: "u", 27: "r", 29: "s"}


class Terminal:
    """Takes a log as it comes and gives its lines as HTML; what stands open is carried to the next piece.

    Attributes:
        told: of the lines that `feed` returned last, those that say more than their text, by their numbers.
    """

    def __init__(self) -> None:
        self.told: list[tuple[int, Read]] = []
        self._marks = LogMarks()
        self._decoder = GuessingDecoder()
        self._rest = ""
        self._flags = ""
        self._fore: int | None = None
        self._back: int | None = None

    @property
    def encoding(self) -> str | None:
        """The encoding detected so far; None while all of the log is ASCII."""
        return self._decoder.encoding

    def feed(self, data: bytes, *, marked: bool = True) -> list[str]:
        """The lines that are whole now.

        Args:
            marked: whether lines may begin groups and be errors: those of keruta's own do not.
        """
        *lines, self._rest = (self._rest + self._decoder.decode(data)).split("\n")
        self.told = []
        made = [self._read(number, line) if marked else self._line(line) for number, line in enumerate(lines)]
        while len(self._rest) > LINE_LIMIT * 4:  # no line is held for ever
            made.append(self._line(self._rest[: LINE_LIMIT * 4]))
            self._rest = self._rest[LINE_LIMIT * 4 :]
        return made

    @property
    def partial(self) -> str:
        """The line that is not whole yet, as far as it goes."""
        kept = self._flags, self._fore, self._back
        text = self._line(UNFINISHED.sub("", self._rest))
        self._flags, self._fore, self._back = kept
        return text

    def _read(self, number: int, line: str) -> str:
        read = self._marks.read(line)
        if read.plain:
            return self._line(line)
        self.told.append((number, read))
        kept = self._flags, self._fore, self._back
        shown = self._line(read.text)
        if read.text != line:  # colours that what was taken out has switched on or off
            self._flags, self._fore, self._back = kept
            self._line(line)
        return shown

    def _line(self, text: str) -> str:
        text = text.removesuffix("\r")
        if "\r" in text:  # what a progress bar wrote over itself: the last of it stands
            covered, _, last = text.rpartition("\r")
            text = "".join(re.findall(r"\x1b\[[0-9;]*m", covered)) + last
        if len(text) > LINE_LIMIT:
            text = text[:LINE_LIMIT] + f" … [+{len(text) - LINE_LIMIT}]"
        parts, at = [], 0
        for found in SEQUENCE.finditer(text):
            parts.append(self._styled(text[at : found.start()]))
            at = found.end()
            if found["final"] == "m":
                self._select(found["parameters"])
        parts.append(self._styled(text[at:]))
        return "".join(parts)

    def _styled(self, text: str) -> str:
        if not text:
            return ""
        classes = [f"a-{flag}" for flag in self._flags]
        if self._fore is not None:
            classes.append(f"f{self._fore}")
        if self._back is not None:
            classes.append(f"g{self._back}")
        shown = "".join(with_links(text, _plain, _linked)) if "://" in text else _plain(text)
        return f'<span class="{" ".join(classes)}">{shown}</span>' if classes else shown

    def _select(self, parameters: str) -> None:
        numbers = [int(part) if part.isdigit() else 0 for part in re.split("[;:]", parameters)][:32]
        while numbers:
            number = numbers.pop(0)
            if number == 0:
                self._flags, self._fore, self._back = "", None, None
            elif number in _FLAGS:
                self._flags = "".join(sorted({*self._flags, _FLAGS[number]}))
            elif number in _FLAGS_OFF:
                self._flags = "".join(flag for flag in self._flags if flag not in _FLAGS_OFF[number])
            elif 30 <= number <= 37 or 90 <= number <= 97:
                self._fore = number - 30 if number < 90 else number - 82
            elif 40 <= number <= 47 or 100 <= number <= 107:
                self._back = number - 40 if number < 100 else number - 92
            elif number in (38, 48):
                colour = _extended(numbers)
                if number == 38:
                    self._fore = colour
                else:
                    self._back = colour
            elif number == 39:
                self._fore = None
            elif number == 49:
                self._back = None


def _plain(text: str) -> str:
    return escape(visible(text))


def _linked(address: str, shown: str) -> str:
    """An address with a hidden character would lead elsewhere than it says: it stays text."""
    if visible(address) != address:
        return _plain(shown)
    return f'<a href="{escape(address)}" rel="noopener noreferrer nofollow">{_plain(shown)}</a>'


def _extended(numbers: list[int]) -> int | None:
    """The nearest of 16 to one of 256, or of all: pages have no colours but their own."""
    kind = numbers.pop(0) if numbers else 0
    if kind == 5 and numbers:
        number = numbers.pop(0)
        if number < 16:
            return number
        if number > 255:
            return None
        if number >= 232:
            grey = 8 + (number - 232) * 10
            return _nearest(grey, grey, grey)
        red, green, blue = ((number - 16) // 36, (number - 16) // 6 % 6, (number - 16) % 6)
        return _nearest(*(0 if part == 0 else 55 + part * 40 for part in (red, green, blue)))
    if kind == 2 and len(numbers) >= 3:
        red, green, blue = numbers[:3]
        del numbers[:3]
        return _nearest(red, green, blue)
    return None


_SIXTEEN = (
    (0, 0, 0), (170, 0, 0), (0, 170, 0), (170, 85, 0), (0, 0, 170), (170, 0, 170), (0, 170, 170), (170, 170, 170),
    (85, 85, 85), (255, 85, 85), (85, 255, 85), (255, 255, 85), (85, 85, 255), (255, 85, 255), (85, 255, 255),
    (255, 255, 255),
)  # fmt: skip


def _nearest(red: int, green: int, blue: int) -> int:
    def far(number: int) -> int:
        return sum((a - b) ** 2 for a, b in zip(_SIXTEEN[number], (red, green, blue), strict=True))

    return min(range(16), key=far)
