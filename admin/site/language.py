"""English and Japanese: which one a reader gets, and its texts.

Texts stand in the pages in English. Their Japanese is in the catalogue of `keruta.translations`, read when it is first
needed. Terms follow `docs/glossary.md`.
"""

from __future__ import annotations

import functools
import io

import flask
from babel.messages.mofile import write_mo
from babel.support import NullTranslations, Translations

from keruta.translations import catalogue

LANGUAGES = {"en": "English", "ja": "日本語"}
COOKIE = "keruta-language"


def language() -> str:
    """The reader's: as they chose, else as their browser says."""
    if "language" not in flask.g:
        chosen = flask.request.cookies.get(COOKIE)
        asked = flask.request.accept_languages.best_match(list(LANGUAGES)) or "en"
        flask.g.language = chosen if chosen in LANGUAGES else asked
    return str(flask.g.language)


def gettext(text: str, **values: object) -> str:
    """A text in the reader's language, with `%(name)s` filled in; empty for an empty one."""
    found = _translations(language()).gettext(text) if text else ""  # of "" a catalogue gives its own head
    return found % values if values else found


def ngettext(one: str, many: str, count: int, **values: object) -> str:
    """The same of a text that says how many."""
    return _translations(language()).ngettext(one, many, count) % {"count": count, "num": count, **values}


_ = gettext


def marked(text: str) -> str:
    """The text as it is, to be translated where it is shown; so that it is found and has a translation."""
    return text


@functools.cache
def _translations(chosen: str) -> NullTranslations:
    if chosen == "en":
        return NullTranslations()
    compiled = io.BytesIO()
    write_mo(compiled, catalogue(chosen))
    compiled.seek(0)
    return Translations(compiled)
