"""The core's messages in other languages than English, from a gettext catalogue whose context is a message's code.

The catalogue is read when it is first needed: there is no compiled file that could be older than its source.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from keruta.domain.messages import CATALOGUE, Message, read_message, rendered

if TYPE_CHECKING:
    from babel.messages.catalog import Catalog

LANGUAGES = ("en", "ja")
LOCALE = Path(__file__).with_name("locale")


def render(said: Message, language: str) -> str:
    """Return a message in a language; its English text where the catalogue has no such message."""
    return translated(said, language) or said.text


def translated(said: Message, language: str) -> str | None:
    """Return a message in a language; None where the catalogue has no such message, so that the English stands."""
    return rendered(said, _templates(language)) if said.code else None


def in_language(value: Any, language: str) -> Any:
    """Return an answer with its messages in a language: of structs with a `message_code`, at any depth."""
    if language == "en":
        return value
    match value:
        case msgspec.Struct():
            return _struct_in_language(value, language)
        case list() | tuple():
            return [in_language(one, language) for one in value]
        case _:
            return value


def fault_in_language(fault: Mapping[str, Any], language: str) -> dict[str, Any]:
    """Return one of a problem's faults with its message in a language."""
    said = read_message(fault["message"], fault.get("message_code"), fault.get("message_arguments"))
    return {**fault, "message": render(said, language)}


def _struct_in_language(value: msgspec.Struct, language: str) -> msgspec.Struct:
    fields = {}
    for name in value.__struct_fields__:
        old = getattr(value, name)
        if isinstance(old, (msgspec.Struct, list, tuple)):
            fields[name] = in_language(old, language)
    if code := getattr(value, "message_code", None):
        shown = "message" if hasattr(value, "message") else "why"
        said = read_message(getattr(value, shown), code, getattr(value, "message_arguments", None))
        fields[shown] = render(said, language)
    return msgspec.structs.replace(value, **fields) if fields else value


@functools.cache
def catalogue(language: str) -> Catalog:
    """Return the catalogue of a language other than English: messages by their codes, texts by their English."""
    from babel.messages.pofile import read_po  # slow to load, and needed for other languages only

    with (LOCALE / language / "LC_MESSAGES" / "keruta.po").open("rb") as file:
        return read_po(file, locale=language)


@functools.cache
def _templates(language: str) -> Mapping[str, str]:
    if language not in LANGUAGES or language == "en":
        return CATALOGUE
    return {str(one.context): str(one.string) for one in catalogue(language) if one.context}
