"""Words of a text as an index takes them, and of a person's search: also of scripts that part none.

MongoDB parts words at spaces, so 東京都庁 would be one word; as 東京 京都 都庁 its parts are found.
"""

from __future__ import annotations

import re
import unicodedata

PART_LETTERS = 8  # what is searched for by an index; of a longer word the first ones

# Runs of letters that are written without spaces between words: kanji, kana, hangul and their like.
_UNSPACED = re.compile(r"[\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3038-\u303b\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
                       r"\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]+")  # fmt: skip
_WORD = re.compile(r"[^\W_]+")
_HELD_LETTERS = 4000  # single letters are kept once each; a text has no more different ones


def grams(text: str) -> str:
    """A text as the index takes it: words as they are, unspaced scripts as each two letters that follow each other."""
    out: list[str] = []
    folded = normalized(text)
    end = 0
    for run in _UNSPACED.finditer(folded):
        out += _WORD.findall(folded[end : run.start()])
        letters = run.group()
        out += [letters[i : i + 2] for i in range(len(letters) - 1)] or [letters]
        end = run.end()
    out += _WORD.findall(folded[end:])
    return " ".join(out)


def letters(text: str) -> str:
    """The single letters of unspaced scripts that a text has, each once: for a search by one letter."""
    found = dict.fromkeys(letter for run in _UNSPACED.findall(normalized(text)) for letter in run)
    return " ".join(list(found)[:_HELD_LETTERS])


def query(text: str) -> str:
    """A person's search in MongoDB's terms: every word and every run must be there, the letters of a run in a row."""
    folded = normalized(text)
    runs = [grams(run) for run in _UNSPACED.findall(folded)]
    words = _WORD.findall(_UNSPACED.sub(" ", folded))
    return " ".join(f'"{part}"' for part in (*runs, *words))


def normalized(text: str) -> str:
    """One form for what looks the same: full-width and half-width, upper and lower case."""
    return unicodedata.normalize("NFKC", text).casefold()


def terms(text: str) -> list[str]:
    """Return a text's search terms, each once: its words, and its runs of letters that are written without spaces."""
    return list(dict.fromkeys(_runs(normalized(text))))


def parts(*texts: str) -> list[str]:
    """Return the parts by which names are found, each once: what begins at each of their letters, cut after some.

    A part of a word is the beginning of one of these, so a range of an index finds it.
    """
    runs = [run for text in texts for run in _runs(normalized(text))]
    return list(dict.fromkeys(run[at : at + PART_LETTERS] for run in runs for at in range(len(run))))


def _runs(folded: str) -> list[str]:
    found, end = [], 0
    for run in _UNSPACED.finditer(folded):
        found += [*_WORD.findall(folded[end : run.start()]), run.group()]
        end = run.end()
    return found + _WORD.findall(folded[end:])
