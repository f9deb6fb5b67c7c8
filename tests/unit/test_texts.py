"""Every text is there in Japanese, with the same places to fill in."""

from __future__ import annotations

import re

from docs.texts import japanese, wanted

PLACES = re.compile(r"%\(\w+\)s|\{\w+\}")


def test_no_text_lacks_its_japanese() -> None:
    known = japanese()
    missing = []
    for message, context, file in wanted():
        identity = message[0] if isinstance(message, tuple) else message
        found = known.get(identity, context)
        string = "" if found is None else found.string[0] if isinstance(found.string, tuple) else found.string
        if not string:
            missing.append(f"{file}: {identity}")

    assert missing == [], "run `make texts`, and write them into keruta/locale/ja/LC_MESSAGES/keruta.po"


def test_no_japanese_is_left_of_a_text_that_is_gone() -> None:
    said = {(message[0] if isinstance(message, tuple) else message, context) for message, context, _ in wanted()}

    assert [
        one.id
        for one in japanese()
        if one.id and (one.id[0] if isinstance(one.id, tuple) else one.id, one.context) not in said
    ] == []


def test_what_is_filled_in_is_filled_in_in_both() -> None:
    for one in japanese():
        if one.id:
            english = one.id[0] if isinstance(one.id, tuple) else one.id
            string = one.string[0] if isinstance(one.string, tuple) else one.string
            assert set(PLACES.findall(english)) == set(PLACES.findall(string)), english
