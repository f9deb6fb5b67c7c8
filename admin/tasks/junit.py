"""Test reports in JUnit's XML: their cases, failures first. What wrote them is hostile.

A document with a type declaration is refused, so no entity exists but XML's own five; size, depth, cases and texts are
bounded, and nothing is kept of what is beyond.
Source: https://github.com/testmoapp/junitxml (no standard says what these documents hold)
"""

from __future__ import annotations

from typing import Literal

import msgspec

from admin.tasks import safe_xml
from admin.tasks.safe_xml import RefusedError

Outcome = Literal["failed", "error", "skipped", "passed"]
ORDER: tuple[Outcome, ...] = ("error", "failed", "skipped", "passed")
SIZE_LIMIT_BYTES = 8 * 1024 * 1024
CASES_LIMIT = 20_000
NAME_LETTERS, MESSAGE_LETTERS, DETAILS_LETTERS = 500, 1000, 20_000
DETAILS_TOTAL = 1_000_000


class Case(msgspec.Struct, kw_only=True):
    """One test. `flaky`: the report itself says that it failed and then passed."""

    name: str
    suite: str
    seconds: float | None = None
    outcome: Outcome = "passed"
    message: str = ""
    details: str = ""
    file: str = ""
    flaky: bool = False

    @property
    def key(self) -> int:
        """Return what the test is known by in other runs, within this process."""
        return hash((self.suite, self.name)) & 0xFFFF_FFFF_FFFF_FFFF


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The tests of one file, failures first, then as they stand in it."""

    cases: list[Case]
    more: bool = False

    def count(self, *outcomes: str) -> int:
        return sum(case.outcome in outcomes for case in self.cases)

    @property
    def seconds(self) -> float:
        return sum(case.seconds or 0 for case in self.cases)


class _Reader:
    def __init__(self) -> None:
        self.cases: list[Case] = []
        self.more = False
        self._open: list[str] = []
        self._suites: list[str] = []
        self._case: Case | None = None
        self._text: list[str] | None = None
        self._letters = 0
        self._left = DETAILS_TOTAL

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        if not self._open and name not in ("testsuites", "testsuite"):
            raise RefusedError
        self._open.append(name)
        if name == "testsuite":
            self._suites.append(attributes.get("name", "")[:NAME_LETTERS])
        elif name == "testcase":
            self._begin_case(attributes)
        elif self._case is not None and name in ("failure", "error", "skipped"):
            self._case.outcome = "failed" if name == "failure" else "error" if name == "error" else "skipped"
            self._case.message = attributes.get("message", "")[:MESSAGE_LETTERS]
            self._text, self._letters = [], 0
        elif self._case is not None and name in ("flakyFailure", "flakyError"):  # of Maven: it passed when run again
            self._case.flaky = True

    def _begin_case(self, attributes: dict[str, str]) -> None:
        if len(self.cases) >= CASES_LIMIT:
            self.more, self._case = True, None
            return
        suite = attributes.get("classname") or (self._suites[-1] if self._suites else "")
        self._case = Case(
            name=attributes.get("name", "")[:NAME_LETTERS], suite=suite[:NAME_LETTERS],
            seconds=_seconds(attributes.get("time", "")), file=attributes.get("file", "")[:NAME_LETTERS],
        )  # fmt: skip
        self.cases.append(self._case)

    def text(self, text: str) -> None:
        if self._text is not None and self._letters < DETAILS_LETTERS and self._left > 0:
            taken = text[: min(DETAILS_LETTERS - self._letters, self._left)]
            self._text.append(taken)
            self._letters += len(taken)
            self._left -= len(taken)

    def end(self, name: str) -> None:
        name = self._open.pop()
        if name == "testcase":
            self._case = None
        elif name == "testsuite":
            self._suites.pop()
        elif name in ("failure", "error", "skipped") and self._text is not None:
            if self._case is not None:
                self._case.details = "".join(self._text).strip()
            self._text = None


def _seconds(text: str) -> float | None:
    try:
        value = float(text.replace(",", "")[:30])
    except ValueError:
        return None
    return value if 0 <= value < 1e9 else None


def read(data: bytes) -> Report | None:
    """Return the tests of a document; None for one that is no test report, or is cut short, or is refused."""
    if len(data) > SIZE_LIMIT_BYTES:
        return None
    reader = _Reader()
    if not safe_xml.parse(data, reader):
        return None
    cases = sorted(reader.cases, key=lambda case: ORDER.index(case.outcome))
    return Report(cases=cases, more=reader.more)
