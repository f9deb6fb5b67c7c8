"""A message: how it is made, read from untrusted data, stored and rendered.

A template's place is `{name}`, or `{name:one|many}` for a word that depends on a number. No attribute, index or format
can be asked for, so a stored argument is only ever text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from keruta.domain.messages.catalogue import CATALOGUE

TEXT_LIMIT = 4096
ARGUMENT_LIMIT = 1000
ARGUMENTS_LIMIT = 20
LENGTH_LIMIT = 8192  # of a message with all its arguments; tasks keep it
DEPTH_LIMIT = 3  # of words within words: "a text or a number" in a sentence

_PLACE = re.compile(r"\{([a-z_]\w*)(?::([^{}|]*)\|([^{}|]*))?\}")
_CODE = re.compile(r"[a-z][a-z0-9_]{0,79}")
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,39}")


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence, or a word of one, for people.

    Args:
        code: a key of `CATALOGUE`, which never changes its meaning once released; empty for a text of someone else's.
        arguments: what stands in the places: texts, numbers, and words that are messages themselves.
        text: the English.
    """

    code: str = ""
    arguments: Mapping[str, str | int | float | Message] = {}
    text: str

    def __str__(self) -> str:
        return self.text


Argument = str | int | float | Message
EMPTY = Message(text="")


def message(code: str, /, **arguments: Argument) -> Message:
    """Return the message of a code with its arguments.

    Raises:
        KeyError: the code is unknown, or an argument is missing: a fault of the calling code.
    """
    short = {name: _short(value) for name, value in arguments.items()}
    return Message(code=code, arguments=short, text=_filled(CATALOGUE[code], short, str))


def as_message(said: Message | str) -> Message:
    """Return a message; a text becomes one without a code, shown as it is."""
    return said if isinstance(said, Message) else Message(text=said[:TEXT_LIMIT])


def places(template: str) -> set[str]:
    """Return the names of a template's places."""
    return {place[1] for place in _PLACE.finditer(template)}


def rendered(said: Message, templates: Mapping[str, str]) -> str | None:
    """Return a message in the words of some templates; None where none has its code and its arguments."""
    template = templates.get(said.code)
    if template is None or places(template) != set(said.arguments):
        return None

    def word(inner: Message) -> str:
        found = rendered(inner, templates)
        return inner.text if found is None else found

    return _filled(template, said.arguments, word)


def changed(said: Message, change: Callable[[str], str]) -> Message:
    """Return a message with a change made to every text in it: where secrets are masked."""
    arguments: dict[str, Argument] = {}
    for name, value in said.arguments.items():
        if isinstance(value, str):
            arguments[name] = change(value)
        else:
            arguments[name] = changed(value, change) if isinstance(value, Message) else value
    return Message(code=said.code, arguments=arguments, text=change(said.text)[:TEXT_LIMIT])


def fields_of(said: Message | None) -> dict[str, Any]:
    """Return the fields that a message is stored and sent as: `message`, `message_code`, `message_arguments`."""
    if said is None:
        return {"message": None, "message_code": None, "message_arguments": None}
    if not said.code:
        return {"message": said.text, "message_code": None, "message_arguments": None}
    arguments = {name: _plain(value) for name, value in said.arguments.items()}
    return {"message": said.text, "message_code": said.code, "message_arguments": arguments}


def read_message(text: object, code: object, arguments: object) -> Message:
    """Return the message of stored or received fields, none of which is trusted.

    A known code whose arguments fit is put into words anew. Of any other, the text counts; without one, its code.
    """
    found = _read(text, code, arguments, DEPTH_LIMIT)
    return found if _length(found) <= LENGTH_LIMIT else Message(text=found.text)


def _read(text: object, code: object, arguments: object, depth: int) -> Message:
    given = text[:TEXT_LIMIT] if isinstance(text, str) else ""
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        return Message(text=given)
    clean = _clean(arguments, depth)
    if clean is None:
        return Message(text=given or code)
    found = Message(code=code, arguments=clean, text=given or _listed(code, clean))
    worded = rendered(found, CATALOGUE)
    return found if worded is None else Message(code=code, arguments=clean, text=worded)


def _length(said: Message) -> int:
    """Return how many characters a message has with its arguments, and theirs."""
    return len(said.text) + sum(
        _length(value) if isinstance(value, Message) else len(str(value)) for value in said.arguments.values()
    )


def _clean(arguments: object, depth: int) -> dict[str, Argument] | None:
    """The arguments, where they are such; None where one is of a wrong kind or there are too many."""
    if arguments is None:
        return {}
    if not isinstance(arguments, Mapping) or len(arguments) > ARGUMENTS_LIMIT:
        return None
    clean: dict[str, Argument] = {}
    for name, value in arguments.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            return None
        match value:
            case bool():
                return None
            case str():
                clean[name] = value[:ARGUMENT_LIMIT]
            case int() if abs(value) < 2**63:
                clean[name] = value
            case float() if math.isfinite(value):
                clean[name] = value
            case Message():
                clean[name] = value
            case {"code": inner, **rest} if depth > 1:
                clean[name] = _read(rest.get("text"), inner, rest.get("arguments"), depth - 1)
            case _:
                return None
    return clean


def _listed(code: str, arguments: Mapping[str, Argument]) -> str:
    said = ", ".join(f"{name}={_word(value, str)}" for name, value in sorted(arguments.items()))
    return f"{code} ({said})"[:TEXT_LIMIT] if said else code


def _short(value: Argument) -> Argument:
    if isinstance(value, Message):
        return value if value.code else value.text[:ARGUMENT_LIMIT]
    return value[:ARGUMENT_LIMIT] if isinstance(value, str) else value


def _filled(template: str, arguments: Mapping[str, Argument], word: Callable[[Message], str]) -> str:
    def value(place: re.Match[str]) -> str:
        argument = arguments[place[1]]
        if place[2] is not None:
            return place[2] if argument == 1 else place[3]
        return _word(argument, word)

    return _PLACE.sub(value, template)[:TEXT_LIMIT]


def _word(value: Argument, word: Callable[[Message], str]) -> str:
    if isinstance(value, Message):
        return word(value)
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _plain(value: Argument) -> Any:
    if not isinstance(value, Message):
        return value
    return {
        "code": value.code,
        "arguments": {name: _plain(inner) for name, inner in value.arguments.items()},
        "text": value.text,
    }
