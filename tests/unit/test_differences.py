"""Differences between two texts: right where they are few, bounded where they are many."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from keruta.domain.differences import EDITS_MOST, LINES_SHOWN, _edits, differing

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
