"""Differences between two texts: right where they are few, bounded where they are many."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keruta.domain.differences import EDITS_MOST, LINES_SHOWN, _edits, differing
from keruta.domain.run_comparison import without_times

LINES = st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=30)


@given(LINES, LINES)
def test_the_edits_lead_from_one_text_to_the_other(before: list[str], after: list[str]) -> None:
    """Kept and removed lines are the first text, kept and added lines the second."""
    edits = _edits(before, after)

    assert [text for sign, text in edits if sign != "+"] == before
    assert [text for sign, text in edits if sign != "-"] == after


def test_a_change_is_shown_with_what_is_around_it() -> None:
    """Three lines on either side, and where it is."""
    before = "\n".join(str(number) for number in range(20))

    shown = differing(before, before.replace("10", "ten"))

    said = [f"{line.sign}{line.text}" for line in shown]
    assert said == ["@@@ -8 +8 @@", " 7", " 8", " 9", "-10", "+ten", " 11", " 12", " 13"]
    assert differing(before, before) == []


def test_texts_that_differ_much_cost_little() -> None:
    """The worst that a document can hold is given up on after so many edits."""
    before, after = "a\nb\n" * 200_000, "b\nc\na\n" * 150_000
    began = time.process_time()

    shown = differing(before, after)

    assert time.process_time() - began < 5
    assert len(shown) == LINES_SHOWN + 1
    assert EDITS_MOST < 1000


def test_lines_that_are_alike_count_as_equal_and_are_shown_as_written() -> None:
    before, after = "took 1.2 s\nsame\nold", "took 3.4 s\nsame\nnew"

    found = differing(before, after, alike=without_times)

    assert [(line.sign, line.text) for line in found[1:]] == [
        (" ", "took 3.4 s"), (" ", "same"), ("-", "old"), ("+", "new"),
    ]  # fmt: skip
    assert differing("took 1.2 s", "took 3.4 s", alike=without_times) == []


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("2026-11-27T16:28:40.123Z start", "2026-11-28T01:02:03Z start", True),
        ("[16:28:40] 5 tests", "[17:00:00] 5 tests", True),
        ("[16:28:40] 5 tests", "[17:00:00] 6 tests", False),
        ("ok in 340ms", "ok in 2m03s", True),
        ("5 passed in 1.23s", "5 passed in 12.3s", True),
        ("version 1.2.3", "version 1.2.4", False),
        ("8 secrets", "9 secrets", False),
    ],
)
def test_times_and_durations_alone_make_no_difference(one: str, other: str, equal: bool) -> None:
    assert (without_times(one) == without_times(other)) is equal


def test_leaving_times_out_of_a_long_line_is_quick() -> None:
    """A script may print anything."""
    for piece in ("1", "1m ", "2026-11-27 ", "1.1", "12:"):
        begun = time.perf_counter()
        without_times(piece * (4000 // len(piece)))
        assert time.perf_counter() - begun < 1
