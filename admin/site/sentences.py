"""What the core says, in the reader's language.

The core says its sentences in English, and they stand in the database as they were said. `docs/sentences.py` reads
their shapes from its code into `ja.po`, under the context `said`; here a sentence is known again by its shape, what
stands in its places is taken over, and it is said anew. One that no shape fits stays English, and is marked so.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
from markupsafe import Markup, escape

from admin.site.language import language, shapes
from admin.site.reasons import reason_name
from admin.site.safe_text import visible
from keruta.domain.messages import Message, as_message, read_message
from keruta.translations import translated

# What stands in a sentence's places, and is itself of words.
PARTS = (
    "repository", "credential", "document", "profile", "queue",
    "queued", "assigned", "preparing", "running", "waiting", "suspended", "unknown", "succeeded", "failed", "cancelled",
    "retried", "accepted", "given input",
    "ended with exit code %(code)s", "was ended by %(signal)s, or ended with exit code %(code)s", "was killed",
    "none is there", "there are %(one)s and %(other)s", "there are %(one)s and %(other)s and %(third)s",
    "Its credentials", "The specification", "it did not say why",
    "a text", "a number", "a whole number", "a fraction", "true or false", "a list", "an object", "nothing",
)  # fmt: skip


class Saying(Protocol):
    """What holds a message in its fields."""

    @property
    def message_code(self) -> str | None: ...
    @property
    def message_arguments(self) -> Mapping[str, Any] | None: ...


_PLACE = re.compile(r"%\((\w+)\)s")
_LONGEST = 4000


class _Shape(msgspec.Struct, frozen=True):
    """A sentence's fixed parts, and the names of the places between them."""

    fixed: Sequence[str]
    places: Sequence[str]
    translation: str

    def values(self, text: str) -> Mapping[str, str] | None:
        """What stands in the places; None where the text has another shape. Takes time as the text is long."""
        first, *between = self.fixed
        if not text.startswith(first) or not text.endswith(self.fixed[-1]):
            return None
        at, values = len(first), []
        for number, part in enumerate(between):
            last = number == len(between) - 1
            end = len(text) - len(part) if last else text.find(part, at)
            if end < at:
                return None
            values.append(text[at:end])
            at = end + len(part)
        return dict(zip(self.places, values, strict=True)) if at == len(text) else None


@functools.cache
def _shapes(chosen: str) -> Sequence[_Shape]:
    """Of the shapes that fit a sentence the one with most said is the right one, so it comes first."""
    found = []
    for shape, translation in shapes(chosen):
        pieces = _PLACE.split(shape)
        fixed = [piece.replace("%%", "%") for piece in pieces[::2]]
        found.append(_Shape(fixed, pieces[1::2], translation))
    return sorted(found, key=lambda shape: -sum(map(len, shape.fixed)))


@functools.lru_cache(maxsize=4096)
def _translated(chosen: str, text: str) -> str | None:
    if len(text) > _LONGEST:
        return None
    for shape in _shapes(chosen):
        values = shape.values(text)
        if values is not None:
            return shape.translation % {
                place: _translated(chosen, value) or visible(reason_name(value)) for place, value in values.items()
            }
    return None


def said_as_text(what: Message | Saying | str) -> str:
    """A message in the reader's language, or its English; what hides in it is made visible."""
    message = _message(what)
    return visible(translated(message, language()) or _translated(language(), message.text) or message.text)


def said(what: Message | Saying | str) -> Markup:
    """The same for a page, where English among another language is marked as such.

    Args:
        what: a message, a text, or what holds one in its fields.
    """
    message = _message(what)
    found = translated(message, language()) or _translated(language(), message.text)
    return escape(visible(found)) if found is not None else _english(message.text)


def _message(what: Message | Saying | str) -> Message:
    match what:
        case Message():
            return what
        case str():
            return as_message(what)
        case Mapping():
            return read_message(what["message"], what.get("message_code"), what.get("message_arguments"))
    text = getattr(what, "message", None) or getattr(what, "why", None)
    return read_message(text, what.message_code, what.message_arguments)


def _english(text: str) -> Markup:
    return Markup('<span lang="en">{}</span>').format(visible(text))


GLOBALS = {"said": said, "said_as_text": said_as_text}
