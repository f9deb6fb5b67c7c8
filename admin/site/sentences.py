"""Messages on pages, in the reader's language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from markupsafe import Markup, escape

from admin.site.language import language
from admin.site.safe_text import visible
from keruta.domain.messages import Message, as_message, read_message
from keruta.translations import render, translated


class Saying(Protocol):
    """An object that holds a message in fields: `message` or `why`, and these."""

    @property
    def message_code(self) -> str | None: ...
    @property
    def message_arguments(self) -> Mapping[str, Any] | None: ...


def said_as_text(what: Message | Saying | Mapping[str, Any] | str) -> str:
    """Return a message in the reader's language, or its English; what hides in it is made visible."""
    return visible(render(_message(what), language()))


def said(what: Message | Saying | Mapping[str, Any] | str) -> Markup:
    """Return the same for a page, where English among another language is marked as such.

    Args:
        what: a message, a text, or what holds one in its fields.
    """
    message = _message(what)
    found = translated(message, language())
    return (
        Markup('<span lang="en">{}</span>').format(visible(message.text)) if found is None else escape(visible(found))
    )


def _message(what: Message | Saying | Mapping[str, Any] | str) -> Message:
    match what:
        case Message():
            return what
        case str():
            return as_message(what)
        case Mapping():
            return read_message(what["message"], what.get("message_code"), what.get("message_arguments"))
    text = getattr(what, "message", None) or getattr(what, "why", None)
    return read_message(text, what.message_code, what.message_arguments)


GLOBALS = {"said": said, "said_as_text": said_as_text}
