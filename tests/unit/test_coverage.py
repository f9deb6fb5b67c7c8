"""Reports of coverage in Cobertura's XML and in lcov's format, whoever wrote them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.site.template_filters import percent
from admin.tasks import coverage
from admin.tasks.coverage import Covered

COBERTURA = b"""<?xml version="1.0"?>
<!DOCTYPE coverage SYSTEM "http://cobertura.sourceforge.net/xml/coverage-04.dtd">
<coverage line-rate="0.99" lines-valid="100" lines-covered="99"><sources><source>/src</source></sources><packages>
<package name="p"><classes>
<class name="A" filename="p\\a.py"><methods><method name="m"><lines><line number="1" hits="2"/></lines></method>
</methods>
<lines><line number="1" hits="2"/><line number="2" hits="0"/><line number="3" hits="1.0" branch="true"/></lines></class>
<class name="A$Inner" filename="p/a.py"><lines><line number="2" hits="1"/><line number="4" hits="0"/></lines></class>
<class name="B" filename="p/b.py"><lines><line number="1" hits="0"/></lines></class>
</classes></package></packages></coverage>"""
LCOV = b"""TN:unit
SF:src/a.js
FN:1,f
DA:1,5
DA:2,0,checksum
DA:3,1
LF:3
LH:2
end_of_record
SF:src/a.js
DA:2,7
end_of_record
SF:src/only-numbers.js
LF:10
LH:4
end_of_record
"""


def test_lines_of_cobertura_count_once_by_file() -> None:
    """Those of methods and of inner classes stand there twice; what a report says of itself does not count."""
    report = coverage.read(COBERTURA)

    assert report is not None
    assert report.files == {"p/a.py": Covered(lines=4, ran=3), "p/b.py": Covered(lines=1, ran=0)}
    assert (report.total, report.total.rate) == (Covered(lines=5, ran=3), 60.0)


def test_lines_of_lcov_count_once_by_file() -> None:
    report = coverage.read(LCOV)

    assert report is not None
    assert report.files == {"src/a.js": Covered(lines=3, ran=3), "src/only-numbers.js": Covered(lines=10, ran=4)}
    assert report.total == Covered(lines=13, ran=7)


@pytest.mark.parametrize("head", [b"", b"\r\n", b"# made by a tool\n", b"\xef\xbb\xbf"])
def test_what_stands_before_a_report_of_lcov_changes_nothing(head: bytes) -> None:
    report = coverage.read(head + LCOV.replace(b"\n", b"\r\n"))

    assert report is not None
    assert report.total == Covered(lines=13, ran=7)


def test_a_report_without_lines_is_believed_in_its_numbers() -> None:
    report = coverage.read(b'<coverage lines-valid="100" lines-covered="99"/>')

    assert report is not None
    assert (report.total, report.files) == (Covered(lines=100, ran=99), {})


LAUGHS = b"".join(b'<!ENTITY l%d "%s">' % (n + 1, b"&l%d;" % n * 10) for n in range(9))
HOSTILE = {
    "a billion laughs": b'<!DOCTYPE coverage [<!ENTITY l0 "ha">' + LAUGHS + b']><coverage a="&l9;"/>',
    "a file of this machine": b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><coverage>&x;</coverage>',
    "declarations": b'<!DOCTYPE coverage [<!ELEMENT coverage ANY>]><coverage lines-valid="1" lines-covered="1"/>',
    "an entity of a type elsewhere": b'<!DOCTYPE coverage SYSTEM "http://evil.example/x"><coverage>&x;</coverage>',
    "a parameter entity": b'<!DOCTYPE a [<!ENTITY % x SYSTEM "http://evil.example/x"> %x;]><coverage/>',
    "deep": b"<coverage>" + b"<a>" * 100_000,
    "deep and whole": b"<coverage>" * 60 + b"</coverage>" * 60,
    "another kind": b"<testsuite/>",
    "cut short": COBERTURA[:500],
    "nothing": b"",
    "no report": b"\x00\xff<<<",
    "no line": b'<coverage line-rate="0.5"/>',
    "more ran than there are": b'<coverage lines-valid="1" lines-covered="2"/>',
    "numbers below zero": b'<coverage lines-valid="-5" lines-covered="-6"/>',
    "numbers that are none": b'<coverage lines-valid="nan" lines-covered="inf"/>',
    "lcov without a line": b"TN:\nSF:a\nend_of_record\n",
    "too large": b"<coverage>" + b" " * coverage.SIZE_LIMIT_BYTES + b"</coverage>",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_no_report_or_hostile_is_refused_at_once(kind: str) -> None:
    began = time.process_time()
    assert coverage.read(HOSTILE[kind]) is None
    assert time.process_time() - began < 1


@pytest.mark.parametrize("line", ["DA:1", "DA:,", "DA:x,1", "DA:-1,1", "DA:99999999999999999999,1", "DA:1,1e9", "LF:x"])
def test_a_line_of_lcov_that_is_none_is_passed_over(line: str) -> None:
    report = coverage.read(f"SF:a\n{line}\nDA:5,1\nend_of_record\n".encode())

    assert report is not None
    assert report.total.ran >= 1


def test_files_and_lines_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "FILES_LIMIT", 2)
    monkeypatch.setattr(coverage, "LINES_LIMIT", 5)
    report = coverage.read(b"".join(b"SF:f%d\nDA:1,1\nDA:2,0\nDA:3,0\nend_of_record\n" % n for n in range(9)))

    assert report is not None
    assert report.more
    assert len(report.files) == 2
    assert report.total.lines == 5


LCOV_PARTS = [b"SF:a\n", b"DA:1,1\n", b"LF:1\n", b"LH:2\n", b"end_of_record\n", b"TN:\n"]
XML_PARTS = [b"<coverage>", b"<class filename='a'>", b"<line number='1' hits='1'/>", b"</class>", b"</coverage>"]


@given(
    st.binary(max_size=200)
    | st.lists(st.sampled_from(LCOV_PARTS)).map(b"".join)
    | st.lists(st.sampled_from(XML_PARTS)).map(b"".join)
)
def test_no_document_is_a_fault(data: bytes) -> None:
    report = coverage.read(data)

    assert report is None or 0 <= report.total.ran <= report.total.lines


@pytest.mark.parametrize(
    ("value", "said"), [(0, "0.0 %"), (0.01, "0.1 %"), (87.46, "87.5 %"), (99.99, "99.9 %"), (100, "100.0 %")]
)
def test_a_share_is_never_rounded_to_all_or_nothing(value: float, said: str) -> None:
    assert percent(value) == said
