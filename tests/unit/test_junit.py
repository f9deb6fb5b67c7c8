"""Test reports in JUnit's XML, whoever wrote them: a hostile one costs little and shows nothing of this machine."""

from __future__ import annotations

import io
import time
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.tasks import junit
from admin.tasks.results import NamesInArchive

REPORT = b"""<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="unit" tests="5" timestamp="2026-01-01T00:00:00">
  <properties><property name="a" value="b"/></properties>
  <testcase classname="a.B" name="fine" time="0.25" file="tests/test_a.py"/>
  <testcase name="left out" time="1,000.5"><skipped message="not here"/></testcase>
  <testcase classname="a.B" name="wrong" time="0.5"><failure message="3 != 4" type="x">first &lt;line&gt;
second</failure><system-out>much</system-out></testcase>
  <testcase classname="a.B" name="broken"><error><![CDATA[<b>trace</b>]]></error></testcase>
  <testcase classname="a.B" name="odd" time="soon"/>
</testsuite></testsuites>"""


def test_failures_come_first_with_what_they_said() -> None:
    report = junit.read(REPORT)

    assert report is not None
    assert [(case.outcome, case.name) for case in report.cases] == [
        ("error", "broken"), ("failed", "wrong"), ("skipped", "left out"), ("passed", "fine"), ("passed", "odd"),
    ]  # fmt: skip
    broken, wrong, skipped, fine, odd = report.cases
    assert (wrong.message, wrong.details) == ("3 != 4", "first <line>\nsecond")
    assert (broken.message, broken.details) == ("", "<b>trace</b>")
    assert (skipped.suite, skipped.message, skipped.seconds) == ("unit", "not here", 1000.5)
    assert (fine.suite, fine.file, odd.seconds) == ("a.B", "tests/test_a.py", None)
    assert (report.count("failed", "error"), report.count("passed"), report.seconds) == (2, 2, 1001.25)


LAUGHS = b"".join(b'<!ENTITY l%d "%s">' % (n + 1, b"&l%d;" % n * 10) for n in range(9))
HOSTILE = {
    "a billion laughs": b'<!DOCTYPE testsuite [<!ENTITY l0 "ha">' + LAUGHS + b"]><testsuite name='&l9;'/>",
    "a file of this machine": b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><testsuite>&x;</testsuite>',
    "a document type elsewhere": b'<!DOCTYPE testsuite SYSTEM "http://evil.example/x.dtd"><testsuite/>',
    "a parameter entity": b'<!DOCTYPE a [<!ENTITY % x SYSTEM "http://evil.example/x"> %x;]><testsuite/>',
    "deep": b"<testsuite>" + b"<a>" * 100_000,
    "deep and whole": b"<testsuite>" * 60 + b"</testsuite>" * 60,
    "an entity that is not there": b"<testsuite>&nowhere;</testsuite>",
    "no tests": b"<project><modelVersion>4</modelVersion></project>",
    "cut short": REPORT[:300],
    "nothing": b"",
    "no XML": b"\x00\xff<<<",
    "an encoding that is not there": b'<?xml version="1.0" encoding="none"?><testsuite/>',
    "too large": b"<testsuite>" + b" " * junit.SIZE_LIMIT_BYTES + b"</testsuite>",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_no_report_or_hostile_is_refused_at_once(kind: str) -> None:
    began = time.process_time()
    assert junit.read(HOSTILE[kind]) is None
    assert time.process_time() - began < 1


def test_a_report_of_very_many_tests_and_long_texts_is_bounded() -> None:
    case = (
        b"<testcase name='"
        + b"n" * 600
        + b"'><failure message='"
        + b"m" * 2000
        + b"'>"
        + b"d" * 30_000
        + b"</failure></testcase>"
    )
    report = junit.read(
        b"<testsuite>" + case * 200 + b"<testcase name='x'/>" * (junit.CASES_LIMIT + 10) + b"</testsuite>"
    )

    assert report is not None
    assert (len(report.cases), report.more) == (junit.CASES_LIMIT, True)
    assert len(report.cases[0].name) == junit.NAME_LETTERS
    assert len(report.cases[0].message) == junit.MESSAGE_LETTERS
    assert len(report.cases[0].details) == junit.DETAILS_LETTERS
    assert sum(len(one.details) for one in report.cases) <= junit.DETAILS_TOTAL


@given(
    st.binary(max_size=200)
    | st.lists(
        st.sampled_from(
            [b"<testsuite>", b"<testcase name='a'>", b"</testcase>", b"<failure>", b"x", b"</failure>", b"</testsuite>"]
        ),
        max_size=12,
    ).map(b"".join)
)
def test_no_document_is_a_fault(data: bytes) -> None:
    found = junit.read(data)
    assert found is None or isinstance(found, junit.Report)


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/b.txt", "a/b.txt"), ("..\\..\\evil.exe", ".._.._evil.exe"), ("C:evil", "C_evil"), ("a/con. ", "a/_con"),
     ("a\nb", "a_b"), ("日本/語.txt", "日本/語.txt")],
)  # fmt: skip
def test_names_in_an_archive_lead_nowhere(path: str, name: str) -> None:
    assert NamesInArchive().of(path) == name


def test_two_files_whose_names_become_one_are_both_in_the_archive() -> None:
    names = NamesInArchive()
    assert [names.of(path) for path in ("a:b", "a?b", "A_B")] == ["a_b", "a_b~2", "A_B~3"]
    assert [names.of(path) for path in ("\u00e9", "e\u0301")] == ["\u00e9", "e\u0301~2"]
    assert [names.of(path) for path in ("c ", "c/1", "c/2", "d/1", "d.", "C/1")] == [
        "c", "c~2/1", "c~2/2", "d/1", "d~2", "C~3/1",
    ]  # fmt: skip
    with zipfile.ZipFile(io.BytesIO(), "w") as made:
        made.writestr("a_b", "")
