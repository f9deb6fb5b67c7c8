"""Text of a log, wherever its bytes were cut and whatever they are encoded in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keruta.domain.log_text import (
    GuessingDecoder,
    LogDecoder,
    end_of_log,
    from_whole_character,
    guess_encoding,
    unfinished_bytes,
    up_to_whole_character,
)

LINE = "日本語の行 𠮷野家 é\n"
JAPANESE = "ビルドに失敗しました。設定ファイルを確認してください。\n一行目はカタカナとひらがな。\n"


@pytest.mark.parametrize("cut", range(len(LINE.encode()) + 1))
def test_a_character_that_two_parts_share_stays_whole(cut: int) -> None:
    """Characters of 2, 3 and 4 bytes are decoded right wherever the log is cut."""
    data = LINE.encode()
    decoder = LogDecoder()

    text = decoder.decode(data[:cut]) + decoder.decode(data[cut:]) + decoder.finish()

    assert text == LINE


@pytest.mark.parametrize("cut", range(len(LINE.encode()) + 1))
def test_a_reader_that_comes_back_gets_whole_characters(cut: int) -> None:
    """A decoder that begins in the middle goes on from the bytes before."""
    data = LINE.encode()
    before = LogDecoder()
    first = before.decode(data[:cut])

    assert first + LogDecoder(before=data[:cut]).decode(data[cut:]) == LINE


@given(st.lists(st.binary(max_size=5), max_size=8))
def test_the_raw_bytes_of_all_texts_are_the_log(parts: list[bytes]) -> None:
    """The bytes from which the texts were made, joined, are the log byte for byte."""
    decoder, raw, text = LogDecoder(), b"", ""
    for part in parts:
        text += decoder.decode(part)
        raw += decoder.raw
    text += decoder.finish()
    raw += decoder.raw

    assert raw == b"".join(parts)
    assert text == b"".join(parts).decode("utf-8", "replace")


@given(st.text(max_size=20), st.integers(0, 80))
def test_a_cut_at_whole_characters_loses_less_than_one(text: str, at: int) -> None:
    """The two halves around any cut are text after at most three bytes are left out on each side."""
    text = text.encode("utf-8", "ignore").decode()
    data = text.encode()
    head, tail = up_to_whole_character(data[:at]), from_whole_character(data[at:])

    assert text.startswith(head.decode())
    assert text.endswith(tail.decode())
    assert len(data[:at]) - len(head) == unfinished_bytes(data[:at]) <= 3


@pytest.mark.parametrize(
    ("codec", "name"),
    [
        ("utf-8", "UTF-8"),
        ("euc_jp", "EUC-JP"),
        ("cp932", "Shift_JIS"),
        ("utf-16-le", "UTF-16LE"),
        ("utf-16-be", "UTF-16BE"),
        ("utf-16", "UTF-16LE"),
        ("iso2022_jp", "ISO-2022-JP"),
    ],
)
def test_japanese_output_is_readable_in_the_encodings_in_use(codec: str, name: str) -> None:
    """Each encoding that Japanese programs write is known again, and its text is right after an ASCII beginning."""
    text = JAPANESE if not codec.startswith("utf-16") else f"> build started in the usual directory\n{JAPANESE}"
    decoder = GuessingDecoder()

    shown = decoder.decode(text.encode(codec))

    assert guess_encoding(text.encode(codec)) == name
    assert shown == text
    assert decoder.encoding == name


def test_ascii_says_nothing_of_an_encoding() -> None:
    """While a log is ASCII its encoding is open; the first other bytes decide."""
    decoder = GuessingDecoder()

    assert decoder.decode(b"$ make\n") == "$ make\n"
    assert decoder.encoding is None
    assert decoder.decode("失敗しました\n".encode("cp932")) == "失敗しました\n"
    assert decoder.encoding == "Shift_JIS"


@given(st.binary(max_size=200))
def test_any_bytes_can_be_shown(data: bytes) -> None:
    """Random bytes are decoded to some text, without an error."""
    GuessingDecoder().decode(data)


@pytest.mark.parametrize("size", range(1, 30))
def test_the_end_of_a_log_begins_with_a_whole_character(size: int) -> None:
    """No replacement character stands where the log was cut."""
    assert LINE.endswith(end_of_log(LINE.encode()[-size:]))
