"""The catalog as YAML: what goes out comes in as it was, and what can't is told with its line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keruta.domain.catalog.transfer import dump, parse

ANY = st.characters(exclude_categories=["Cs"]) | st.sampled_from(
    "\n\r\t \x85\u2028\u2029\ufeff\x0b\x0c\x1b\x00\x7f\u3000📷:#-'\"|>"
)


@given(st.text(ANY, max_size=12))
def test_every_text_comes_back_as_it_was(text: str) -> None:
    """Export and import are the identity for every text, line separators of other systems included."""
    entries, faults = parse(dump([("document", {"name": "a", "title": "t", "text": text})]))

    assert not faults
    assert entries[0].spec.text == text


@given(st.text(ANY, max_size=12))
def test_every_text_in_json_comes_in_as_it_is(text: str) -> None:
    """JSON is YAML, too: a character beyond U+FFFF is written as two escapes there."""
    entries, faults = parse(json.dumps({"kind": "document", "name": "a", "title": "t", "text": text}))

    assert not faults
    assert entries[0].spec.text == text


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("kind: queue\nname: a\ndescription: a\x01b\n", 3, "U+0001"),
        ("kind: queue\nname: a\n\n\ndescription: \x1b[31m\n", 5, "U+001B"),
        ('kind: queue\nname: a\ndescription: "\\ud83d"\n', 3, "surrogate"),
    ],
)
def test_a_character_that_cannot_be_is_told_with_its_line(text: str, line: int, said: str) -> None:
    """A control character, or half of a surrogate pair, is named where it stands."""
    entries, faults = parse(text)

    assert entries == []
    assert faults[0]["at"].startswith(f"line {line}")
    assert said in faults[0]["message"]
