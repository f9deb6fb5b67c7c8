"""A document that tasks are given to read: a text with a title and tags, each version kept."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keruta.domain.catalog.common import Kept, Name, Problems

TEXT_LIMIT_BYTES = 1024 * 1024
DOCUMENTS_OF_A_TASK = 100
DOCUMENT_BODY_LIMIT_BYTES = 8 * TEXT_LIMIT_BYTES  # JSON may write one character as six bytes

Tag = Annotated[str, Meta(min_length=1, max_length=63)]
MediaType = Literal["text/markdown", "text/plain"]


class DocumentSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person writes."""

    name: Name
    title: Annotated[str, Meta(min_length=1, max_length=300)]
    text: Annotated[str, Meta(max_length=TEXT_LIMIT_BYTES)] = ""
    media_type: MediaType = "text/markdown"
    tags: Annotated[list[Tag], Meta(max_length=50)] = []

    def faults(self) -> Problems:
        if len(self.text.encode("utf-8", "surrogatepass")) > TEXT_LIMIT_BYTES:
            yield "/text", "More than 1 MiB; keep it in a repository and name that in the task."
        if not self.title.isprintable():
            yield "/title", "A title has no control characters."
        for number, tag in enumerate(self.tags):
            if not tag.isprintable() or any(c in tag for c in " ,:/"):
                yield f"/tags/{number}", "A tag has no spaces, commas, colons or slashes."


class DocumentSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A document as a list shows it: without its text."""

    name: str
    title: str
    media_type: MediaType
    tags: list[str]
    size_bytes: int
    meta: Kept


class DocumentView(DocumentSpec, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A document at its latest version, which is its revision."""

    size_bytes: int = 0
    meta: Kept


class VersionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a document: who wrote it and when."""

    version: int
    title: str
    size_bytes: int
    at: datetime
    by: str


class DocumentRef(msgspec.Struct, frozen=True, kw_only=True):
    """A document as a task has it: at the version of the submit."""

    name: str
    version: int
    title: str
    media_type: MediaType = "text/markdown"


# ---------------------------------------------------------------- search

# Runs of letters that are written without spaces between words: kanji, kana, hangul and their like.
_UNSPACED = re.compile(r"[\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3038-\u303b\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
                       r"\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]+")  # fmt: skip
_WORD = re.compile(r"[^\W_]+")
_HELD_LETTERS = 4000  # single letters are kept once each; a text has no more different ones


def grams(text: str) -> str:
    """A text as the index takes it: words as they are, unspaced scripts as each two letters that follow each other.

    MongoDB parts words at spaces, so 東京都庁 would be one word; as 東京 京都 都庁 its parts are found.
    """
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
