"""A log's bytes as lines of HTML: colours stay, all else that a terminal would do is taken out, and nothing runs."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from admin.tasks.terminal import Terminal

ALLOWED = re.compile(r'(?:[^<>]|</span>|<span class="[a-z0-9 -]+">)*')


def lines(*chunks: bytes) -> list[str]:
    terminal = Terminal()
    found = [line for chunk in chunks for line in terminal.feed(chunk)]
    return [*found, *([terminal.partial] if terminal.partial else [])]


def test_colours_go_on_over_lines_and_chunks() -> None:
    found = lines(b"\x1b[31mre", b"d\nstill red\x1b[0m plain\n")

    assert found[0] == '<span class="f1">red</span>'
    assert found[1].startswith('<span class="f1">still red</span>')
    assert found[1].endswith(" plain")


def test_a_sequence_that_is_cut_in_two_is_one() -> None:
    assert lines(b"a\x1b[3", b"1mb\x1b[0m\n") == ['a<span class="f1">b</span>']


def test_a_letter_that_is_cut_in_two_is_one() -> None:
    raw = "日本\n".encode()
    assert lines(raw[:2], raw[2:4], raw[4:]) == ["日本"]


def test_titles_links_and_cursors_leave_nothing_behind() -> None:
    assert lines(b"\x1b]0;owned\x07a\n") == ["a"]
    assert lines(b"\x1b]8;;javascript:alert(1)\x1b\\link\x1b]8;;\x1b\\\n") == ["link"]
    assert lines(b"\x1b[2J\x1b[1;1Ha\n") == ["a"]
    assert lines(b"10%\r50%\r100%\n") == ["100%"]


def test_markup_is_text() -> None:
    assert lines(b"<script>x</script> & \"'\n")[0].startswith("&lt;script&gt;x&lt;/script&gt; &amp;")


@given(
    st.lists(st.binary(max_size=60) | st.sampled_from([b"\x1b[", b"\x1b]8;;", b"31;1m", b"<b onload=x>", b"\r", b"\n"]))
)
def test_whatever_comes_nothing_but_spans_of_ours_come_of_it(chunks: list[bytes]) -> None:
    for line in lines(*chunks):
        assert ALLOWED.fullmatch(line), line
        assert line.count("<span") == line.count("</span>")


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0$("), max_size=100).map(lambda text: text.encode()),
    st.integers(0, 200),
)
def test_where_a_chunk_ends_makes_no_difference(raw: bytes, at: int) -> None:
    """Text in UTF-8 is the same wherever it is cut; another encoding is guessed from what has come."""
    assert lines(raw[:at], raw[at:]) == lines(raw)
