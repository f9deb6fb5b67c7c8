"""Decoding of untrusted JSON to a typed value, with all faults reported: at most 20 of a kind in one object.

msgspec stops at the first fault; a person who mends a document wants to see them all. So a struct is taken field by
field, and whatever msgspec says of each is collected with a JSON pointer (RFC 6901).
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum, EnumType
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from keruta import structs
from keruta.domain.messages import Message, message
from keruta.errors import Fault, fault

T = TypeVar("T", bound=msgspec.Struct)

FAULTS_MOST = 20  # of one kind in one object
VALUE_LETTERS = 80  # of what was sent, in a sentence about it

_AT = " - at `$"


def convert(raw: Any, cls: type[T], at: str = "") -> tuple[T | None, list[Fault]]:
    """Makes a struct of a parsed document.

    Returns:
        The value and no fault, or None and all the faults. A struct may have a method `faults()` that yields what is
        wrong with its fields, as (pointer, message); fields that are wrong already have their default then.
    """
    if not isinstance(raw, dict):
        return None, [fault(at, message("field_not_object", got=_json_type(raw)))]
    fields = _fields(cls)
    faults = _unknown(raw, fields, at)
    values: dict[str, Any] = {}
    whole = True
    for name, field in fields.items():
        if name not in raw:
            if field.required:
                faults.append(fault(f"{at}/{name}", message("field_required")))
                values[field.name], whole = None, False
            continue
        value, found = _convert_field(raw[name], field.type, f"{at}/{name}")
        faults += found
        if not found:
            values[field.name] = value
        elif field.required:
            # What stands in another struct has been checked there; anything else the checks below would need.
            values[field.name], whole = None, whole and _struct_in(field.type) is not None
    if not whole:
        return None, faults
    made = cls(**values)
    # Between the fields, where one of them is wrong, only what points at another is worth saying.
    faults += [fault(f"{at}{where}", message) for where, message in _own_faults(made) if where or not faults]
    return (None, faults) if faults else (made, [])


def _unknown(raw: Mapping[str, Any], fields: Mapping[str, Any], at: str) -> list[Fault]:
    names = [name for name in raw if name not in fields]
    known = ", ".join(sorted(fields))
    faults = [fault(f"{at}/{_escape(name)}", message("field_unknown", known=known)) for name in names[:FAULTS_MOST]]
    if len(names) > FAULTS_MOST:
        faults.append(fault(at, message("field_unknown_more", count=len(names) - FAULTS_MOST)))
    return faults


@functools.cache
def _fields(cls: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    """A struct's fields by their name in JSON; msgspec reads annotations anew each time, which takes half a ms."""
    return {field.encode_name: field for field in msgspec.structs.fields(cls)}


def _convert_field(raw: Any, kind: Any, at: str) -> tuple[Any, list[Fault]]:
    struct = _struct_in(kind)
    if struct is not None and isinstance(raw, dict):
        return convert(raw, struct, at)
    try:
        return structs.from_plain(raw, kind, strict=True), _first(_unkeepable(raw, at), at)
    except msgspec.ValidationError as error:
        if isinstance(raw, dict) and len(raw) > 1:  # msgspec does not say under which key
            each = (found for key, value in raw.items() for found in _convert_field({key: value}, kind, at)[1])
            if faults := _first(each, at):
                return None, faults
        said, path = _where(str(error))
        if not path and (words := _beside_number(kind)) and (isinstance(raw, bool) or not isinstance(raw, int)):
            return None, [fault(at, message("field_number_or", known=", ".join(words)))]
        if isinstance(raw, dict) and path.startswith("[...]") and len(raw) == 1:
            path = f"[{_escape(next(iter(raw)))}]{path[5:]}"
        return None, [fault(at + _pointer(path), _in_words(said, () if path else _known(kind)))]


def _where(said: str) -> tuple[str, str]:
    """Split msgspec's text into the complaint and its path. The value itself may contain anything, also paths."""
    text, at, path = said.rpartition(_AT)
    return (text, path.removesuffix("`")) if at and path.endswith("`") else (said, "")


def _first(faults: Iterator[Fault], at: str) -> list[Fault]:
    """The first of them, without looking for all."""
    found = list(itertools.islice(faults, FAULTS_MOST))
    return [*found, fault(at, message("field_faults_more"))] if next(faults, None) is not None else found


def _unkeepable(raw: Any, at: str) -> Iterator[Fault]:
    """Names within it that the database can't take.

    Source: https://bsonspec.org/spec.html (a name, cstring, holds no NUL)
    """
    if isinstance(raw, dict):
        for name, value in raw.items():
            if "\0" in name:
                yield fault(f"{at}/{_escape(name)}", message("field_name_nul"))
            yield from _unkeepable(value, f"{at}/{_escape(name)}")
    elif isinstance(raw, list):
        for number, value in enumerate(raw):
            yield from _unkeepable(value, f"{at}/{number}")


def _struct_in(kind: Any) -> type[msgspec.Struct] | None:
    """Finds the struct in `Struct` or `Struct | None`; None for every other type."""
    options = getattr(kind, "__args__", (kind,)) if not isinstance(kind, type) else (kind,)
    structs = [option for option in options if isinstance(option, type) and issubclass(option, msgspec.Struct)]
    return structs[0] if len(structs) == 1 and len(options) <= 2 else None


def _own_faults(value: msgspec.Struct) -> Iterator[tuple[str, Message | str]]:
    check = getattr(value, "faults", None)
    if check is not None:
        yield from check()


def _pointer(path: str) -> str:
    return "".join(f"/{part}" for part in re.findall(r"[^.\[\]]+", path))


def _escape(name: str) -> str:
    return name[:80].replace("~", "~0").replace("/", "~1")


def _json_type(raw: Any) -> Message:
    names = {list: "array", str: "str", bool: "bool", int: "float", float: "float"}
    return _TYPES[names.get(type(raw), "null")]


# By msgspec's names.
_TYPES = {
    "str": message("type_text"),
    "int": message("type_whole_number"),
    "float": message("type_number"),
    "bool": message("type_true_or_false"),
    "array": message("type_list"),
    "object": message("type_object"),
    "null": message("type_nothing"),
}


def _either(words: Sequence[Message]) -> Message:
    return functools.reduce(lambda one, other: message("type_either", one=one, other=other), words)


def _known(kind: Any) -> Sequence[str]:
    """The values of an enumeration; none of every other type."""
    optional = get_origin(kind) in (Union, UnionType)
    options = [one for one in get_args(kind) if one is not NoneType] if optional else [kind]
    if len(options) != 1:
        return ()
    if isinstance(options[0], EnumType):
        members: Mapping[str, Enum] = options[0].__members__
        return [str(member.value) for member in members.values()]
    return [str(one) for one in get_args(options[0])] if get_origin(options[0]) is Literal else ()


def _beside_number(kind: Any) -> Sequence[str]:
    """The words that may stand in place of a number; none where a type is not of that sort."""
    options = [one for one in get_args(kind) if one is not NoneType]
    bare = [get_args(one)[0] if get_origin(one) is Annotated else one for one in options]
    if int not in bare:
        return ()
    return [str(word) for one in bare if get_origin(one) is Literal for word in get_args(one)]


def _in_words(said: str, known: Sequence[str]) -> Message:
    """Rephrase msgspec's complaint for people; unknown complaints stay as they are.

    Source: https://jcristharif.com/msgspec/usage.html#validation, https://jcristharif.com/msgspec/constraints.html
    """
    if found := re.fullmatch(r"Expected `(.+)`, got `(\w+)`", said):
        wanted = [_TYPES[name] for name in found[1].split(" | ") if name in _TYPES and name != "null"]
        if wanted and found[2] in _TYPES:
            got = message("type_fraction") if found[2] == "float" else _TYPES[found[2]]
            return message("field_type", wanted=_either(wanted), got=got)
    if found := re.fullmatch(r"Expected `(str|array|object)` of length (<=|>=) (\d+)", said):
        limit = int(found[3])
        if found[2] == ">=":
            return message("field_empty") if limit == 1 else message("field_characters_least", limit=limit)
        return (
            message("field_characters_most", limit=limit)
            if found[1] == "str"
            else message("field_entries_most", limit=limit)
        )
    if found := re.fullmatch(r"Expected `(?:int|float)` (<=|>=|<|>) (\S+)", said):
        bound = found[2].removesuffix(".0")
        match found[1]:
            case "<=":
                return message("field_most", limit=bound)
            case ">=":
                return message("field_least", limit=bound)
            case ">":
                return message("field_more", limit=bound)
            case _:
                return message("field_less", limit=bound)
    if found := re.fullmatch(r"Expected `str` matching regex (.+)", said):
        return message("field_form", form=found[1])
    if found := re.fullmatch(r"Invalid enum value (.+)", said, re.DOTALL):
        value = found[1] if len(found[1]) <= VALUE_LETTERS else f"{found[1][:VALUE_LETTERS]}…"
        return (
            message("field_not_among", value=value, known=", ".join(known))
            if known
            else message("field_not_known", value=value)
        )
    return message("field_other", said=said[:300])
