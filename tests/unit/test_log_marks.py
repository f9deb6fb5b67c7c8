"""Groups, errors and links in a log's lines, as other systems' scripts and common tools write them."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.tasks.log_marks import Annotation, LogMarks, Read
from admin.tasks.terminal import Terminal


def read(*lines: str) -> list[Read]:
    marks = LogMarks()
    return [marks.read(line) for line in lines]


def note(*lines: str) -> tuple[str, str, int, str] | None:
    """Return the level, file, line number and message of the last line's annotation."""
    found = read(*lines)[-1].annotation
    return (found.level, found.file, found.line, found.message) if found is not None else None


def test_groups_of_github_and_azure_begin_and_end() -> None:
    for begin, end in (("::group::Install", "::endgroup::"), ("##[group]Install", "##[endgroup]")):
        begun, inside, ended = read(begin, "one", end)
        assert begun.group is not None
        assert (begun.text, begun.group.flat) == ("Install", False)
        assert inside.plain
        assert ended.hidden
        assert len(ended.ends) == 1


def test_sections_of_gitlab_have_names_and_times() -> None:
    begun, ended = read(
        "section_start:1700000000:tests[collapsed=true]\r\x1b[0KRun \x1b[32mtests\x1b[0m",
        "section_end:1700000012:tests\r\x1b[0Ksection_start:1700000012:next\r\x1b[0KNext",
    )
    assert begun.group is not None
    assert (begun.text, begun.group.name, begun.group.at, begun.group.folded) == (
        "Run \x1b[32mtests\x1b[0m", "tests", 1700000000, True,
    )  # fmt: skip
    assert [(end.name, end.at) for end in ended.ends] == [("tests", 1700000012)]
    assert ended.group is not None
    assert (ended.text, ended.group.name) == ("Next", "next")


def test_headings_of_buildkite_are_flat_groups() -> None:
    folded, opened = read("--- :npm: Install", "+++ Tests")
    assert folded.group is not None
    assert (folded.text, folded.group.flat, folded.group.folded) == (":npm: Install", True, None)
    assert opened.group is None  # right below: the head of a difference
    folded, _, opened = read("--- Install", "one", "+++ Tests")
    assert opened.group is not None
    assert (opened.text, opened.group.folded) == ("Tests", False)


def test_the_head_of_a_difference_is_no_group() -> None:
    _, second = read("--- a/index.html", "+++ b/index.html")
    assert second.no_group
    assert second.text == "+++ b/index.html"
    assert [one.group for one in read("--- PASS: TestA (0.00s)", "----", "---")] == [None, None, None]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("::error file=src/app.js,line=10,col=15::It%0Afailed", ("error", "src/app.js", 10, "It\nfailed")),
        ("::warning file=a%2Cb.js,title=Old::Deprecated: use b", ("warning", "a,b.js", 0, "Old: Deprecated: use b")),
        ("::notice::Done", ("notice", "", 0, "Done")),
        ("##[error]Process completed", ("error", "", 0, "Process completed")),
        ("src/a.c:12:5: error: expected ; before }", ("error", "src/a.c", 12, "expected ; before }")),
        ("\x1b[1msrc/a.c:12:5: \x1b[31mfatal error: \x1b[0mno file", ("error", "src/a.c", 12, "no file")),
        ("src/a.c:3: warning: unused", ("warning", "src/a.c", 3, "unused")),
        ("keruta/a.py:7: error: Wrong type  [assignment]", ("error", "keruta/a.py", 7, "Wrong type  [assignment]")),
        ("src/a.ts(12,5): error TS2322: Type 'x'", ("error", "src/a.ts", 12, "TS2322: Type 'x'")),
        ("[ERROR] /w/A.java:[12,5] cannot find symbol", ("error", "/w/A.java", 12, "cannot find symbol")),
        ("FAILED tests/test_a.py::test_b - 3 != 4", ("error", "tests/test_a.py", 0, "test_b - 3 != 4")),
        ("--- FAIL: TestFoo (0.01s)", ("error", "", 0, "TestFoo (0.01s)")),
        ("  ● sums › adds one", ("error", "", 0, "sums › adds one")),
        ("FAIL src/sum.test.js", ("error", "src/sum.test.js", 0, "FAIL src/sum.test.js")),
        ("rspec ./spec/a_spec.rb:12 # sums adds", ("error", "./spec/a_spec.rb", 12, "sums adds")),
        ("PHP Fatal error:  Uncaught x in /w/a.php on line 3", ("error", "/w/a.php", 3, "Uncaught x")),
        ("make: *** [Makefile:3: all] Error 2", ("error", "Makefile", 3, "all] Error 2")),
        ("error[E0308]: mismatched types", ("error", "", 0, "mismatched types")),
        ("fatal: not a git repository", ("error", "", 0, "not a git repository")),
    ],
)  # fmt: skip
def test_errors_and_warnings_of_common_tools_are_found(line: str, expected: tuple[str, str, int, str]) -> None:
    assert note(line) == expected


def test_a_tracebacks_last_line_has_its_last_frames_place() -> None:
    lines = ["Traceback (most recent call last):", '  File "a.py", line 3, in f', "    g()",
             '  File "b.py", line 9, in g', "    1 / 0", "ZeroDivisionError: division by zero"]  # fmt: skip
    assert note(*lines) == ("error", "b.py", 9, "ZeroDivisionError: division by zero")


def test_a_linters_lines_belong_to_the_path_above_them() -> None:
    lines = ["/w/src/a.js", "  1:10  warning  unused  no-unused-vars", "  12:5  error  'x' is not defined  no-undef"]
    assert note(*lines[:2]) == ("warning", "/w/src/a.js", 1, "unused  no-unused-vars")
    assert note(*lines) == ("error", "/w/src/a.js", 12, "'x' is not defined  no-undef")


@pytest.mark.parametrize(
    "line", ["0 errors, 0 warnings", "no error: all is well? maybe", "test_error_page PASSED",
             "2026-01-01 12:00:05: ok", "::unknown::x", "http://a:80: up", "12 failed attempts were retried"],
)  # fmt: skip
def test_what_only_speaks_of_errors_is_none(line: str) -> None:
    assert read(line)[0].plain


@given(
    st.text(max_size=300)
    | st.lists(
        st.sampled_from(["::", "error", " file=", "a:1:", "section_start:1:a\r", "--- ", "[", "("]), max_size=60
    ).map("".join)
)
def test_no_line_is_a_fault(line: str) -> None:
    found = read(line, line)[1]
    assert found.annotation is None or isinstance(found.annotation, Annotation)


@pytest.mark.parametrize(
    "line", ["::error " + "file=a:" * 20_000, "a" * 50_000 + ":1: error: x", "PHP Fatal error: " + " in " * 20_000,
             "● " + " › " * 20_000, "section_start:1:" + "a" * 50_000, "https://" + "((" * 20_000,
             "make: *** [" + "a:" * 9000],
)  # fmt: skip
def test_a_hostile_line_takes_no_time(line: str) -> None:
    began = time.process_time()
    terminal = Terminal()
    terminal.feed((line + "\n").encode() * 20)
    assert time.process_time() - began < 2


def html(text: str) -> str:
    return Terminal().feed((text + "\n").encode())[0]


def test_addresses_are_links_that_tell_the_other_site_nothing() -> None:
    made = html("see https://example.com/a?b=1&c=(2), or (http://b.example/x).")
    assert '<a href="https://example.com/a?b=1&amp;c=(2)" rel="noopener noreferrer nofollow">' in made
    assert '<a href="http://b.example/x" rel=' in made
    assert made.endswith("</a>).")


@pytest.mark.parametrize(
    "text", ["javascript:alert(1)", "data:text/html,x", "https://github.com@evil.example/", "https://", "ftp://a/b",
             "https://a.example/\u202egnp"],
)  # fmt: skip
def test_what_would_run_or_mislead_is_no_link(text: str) -> None:
    assert "<a " not in html(text)


def test_colours_that_a_mark_had_go_on() -> None:
    terminal = Terminal()
    first, _ = terminal.feed(b"\x1b[31m::group::Red\n::endgroup::\x1b[0m\n")
    assert [number for number, _ in terminal.told] == [0, 1]
    assert re.sub("<[^>]*>", "", first) == "Red"
    assert terminal.feed(b"plain\n") == ["plain"]


def test_keruta_own_lines_begin_nothing() -> None:
    terminal = Terminal()
    assert terminal.feed(b"::group::x\n", marked=False) == ["::group::x"]
    assert terminal.told == []
