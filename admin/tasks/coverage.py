"""Reports of coverage, by Cobertura's XML and by lcov: which lines of each file ran. What wrote them is hostile.

Size, files and lines are bounded. Lines count, not what a report says of itself; only a report without any line is
believed in its numbers.
Source: https://github.com/cobertura/web/blob/master/htdocs/xml/coverage-04.dtd,
https://github.com/linux-test-project/lcov/blob/master/man/geninfo.1 (TRACEFILE FORMAT)
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Mapping

import msgspec

from admin.tasks import safe_xml
from admin.tasks.safe_xml import RefusedError

SIZE_LIMIT_BYTES = 8 * 1024 * 1024
FILES_LIMIT, LINES_LIMIT = 20_000, 1_000_000
NAME_LETTERS = 500
LINE_NUMBER_LIMIT = 10_000_000
_NUMBER = re.compile(r"-?\d{1,18}(?:\.\d{1,18})?")
_LCOV = re.compile(rb"\A(?:\s{0,100}#[^\n]{0,1000}\n)*\s{0,100}(?:TN:|SF:)")


class Covered(msgspec.Struct, frozen=True, kw_only=True):
    """The number of lines that can run, and of those that ran."""

    lines: int = 0
    ran: int = 0

    @property
    def rate(self) -> float:
        """Return how many of a hundred lines ran."""
        return 100 * self.ran / self.lines if self.lines else 0.0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The lines of each file, by its path. `more`: there was more than is read."""

    files: Mapping[str, Covered]
    total: Covered
    more: bool = False


class _Lines:
    """Collects lines of files; a line that ran in one part of a report has run."""

    def __init__(self) -> None:
        self.files: dict[str, dict[int, bool]] = {}
        self.said: dict[str, Covered] = {}  # where a file has no lines but numbers
        self.more = False
        self._count = 0

    def file(self, name: str) -> dict[int, bool] | None:
        name = name.replace("\\", "/")[:NAME_LETTERS]
        if name not in self.files and len(self.files) >= FILES_LIMIT:
            self.more = True
            return None
        return self.files.setdefault(name, {})

    def add(self, lines: dict[int, bool] | None, number: int | None, *, ran: bool) -> None:
        if lines is None or number is None or not 0 <= number <= LINE_NUMBER_LIMIT:
            return
        if number not in lines:
            if self._count >= LINES_LIMIT:
                self.more = True
                return
            self._count += 1
        lines[number] = lines.get(number, False) or ran

    def report(self, said: Covered | None = None) -> Report | None:
        """Return what was collected, or what the report says of itself where it has no line."""
        found = {
            name: Covered(lines=len(lines), ran=sum(lines.values())) if lines else self.said.get(name, Covered())
            for name, lines in self.files.items()
        }
        files = {name: one for name, one in found.items() if one.lines}
        total = total_of(files.values()) if files else said
        return Report(files=files, total=total, more=self.more) if total is not None and total.lines else None


def total_of(files: Iterable[Covered]) -> Covered:
    listed = list(files)
    return Covered(lines=sum(one.lines for one in listed), ran=sum(one.ran for one in listed))


def read(data: bytes) -> Report | None:
    """Return what a report says; None for one that is none, or is cut short, or is refused."""
    if len(data) > SIZE_LIMIT_BYTES:
        return None
    data = data.removeprefix(codecs.BOM_UTF8)
    return _lcov(data) if _LCOV.match(data) else _cobertura(data)


# ---------------------------------------------------------------- Cobertura


class _Cobertura:
    def __init__(self) -> None:
        self.found = _Lines()
        self.said: Covered | None = None
        self._open = 0
        self._lines: dict[int, bool] | None = None

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        if not self._open:
            if name != "coverage":
                raise RefusedError
            self.said = _covered(attributes.get("lines-valid", ""), attributes.get("lines-covered", ""))
        self._open += 1
        if name == "class":
            self._lines = self.found.file(attributes.get("filename") or attributes.get("name", ""))
        elif name == "line":  # those of methods stand among those of their class, too: they count once
            hits = _whole(attributes.get("hits", ""))
            self.found.add(self._lines, _whole(attributes.get("number", "")), ran=hits is not None and hits > 0)

    def text(self, text: str) -> None:
        """Texts say nothing of coverage."""

    def end(self, name: str) -> None:
        self._open -= 1
        if name == "class":
            self._lines = None


def _cobertura(data: bytes) -> Report | None:
    reader = _Cobertura()
    return reader.found.report(reader.said) if safe_xml.parse(data, reader, typed=True) else None


# ---------------------------------------------------------------- lcov


def _lcov(data: bytes) -> Report | None:
    found, lines, name = _Lines(), None, ""
    numbers: dict[str, str] = {}
    for line in data.decode("utf-8", "replace").split("\n"):
        kind, _, value = line.strip().partition(":")
        if kind == "SF":
            name, numbers = value.replace("\\", "/")[:NAME_LETTERS], {}
            lines = found.file(value)
        elif kind == "DA":
            number, _, rest = value.partition(",")
            hits = _whole(rest.partition(",")[0])
            found.add(lines, _whole(number), ran=hits is not None and hits > 0)
        elif kind in ("LF", "LH"):
            numbers[kind] = value
        elif kind == "end_of_record":
            if lines is not None and not lines and (said := _covered(numbers.get("LF", ""), numbers.get("LH", ""))):
                found.said[name] = said
            lines = None
    return found.report()


def _whole(text: str) -> int | None:
    """Return a number of lines or hits; some tools write hits as 1.0."""
    found = _NUMBER.fullmatch(text.strip()[:40])
    return int(float(found[0])) if found else None


def _covered(lines: str, ran: str) -> Covered | None:
    valid, hit = _whole(lines), _whole(ran)
    if valid is None or hit is None or not 0 <= hit <= valid <= LINES_LIMIT * 1000:
        return None
    return Covered(lines=valid, ran=hit)
