"""From untrusted JSON to a typed value, with every fault reported at once.

msgspec stops at the first fault; a person who mends a document wants to see them all. So a struct is taken field by
field, and whatever msgspec says of each is collected with a JSON pointer (RFC 6901).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)
Fault = dict[str, str]

_AT = re.compile(r"(?P<message>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)


def fault(at: str, message: str) -> Fault:
    """Makes one fault: where (a JSON pointer, "" for the whole document) and what, as a sentence."""
    return {"at": at, "message": message}


def decode_json(body: bytes) -> Any:
    """Parses JSON. Raises ValueError with a sentence when it is none, or is nested too deeply."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"The body is not JSON: {error}.") from error


def convert(raw: Any, cls: type[T], at: str = "") -> tuple[T | None, list[Fault]]:
    """Makes a struct of a parsed document.

    Returns:
        The value and no fault, or None and all the faults. A struct may have a method `faults()` that yields what is
        wrong with its fields, as (pointer, message); fields that are wrong already have their default then.
    """
    if not isinstance(raw, dict):
        return None, [fault(at, f"Expected an object, got {_json_type(raw)}.")]
    fields = _fields(cls)
    faults = [
        fault(f"{at}/{_escape(name)}", f"There is no such field; known are {', '.join(sorted(fields))}.")
        for name in raw
        if name not in fields
    ]
    values: dict[str, Any] = {}
    whole = True
    for name, field in fields.items():
        if name not in raw:
            if field.required:
                faults.append(fault(f"{at}/{name}", "This field is required."))
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


@functools.cache
def _fields(cls: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    """A struct's fields by their name in JSON; msgspec reads annotations anew each time, which takes half a ms."""
    return {field.encode_name: field for field in msgspec.structs.fields(cls)}


def _convert_field(raw: Any, kind: Any, at: str) -> tuple[Any, list[Fault]]:
    struct = _struct_in(kind)
    if struct is not None and isinstance(raw, dict):
        return convert(raw, struct, at)
    try:
        return msgspec.convert(raw, kind, strict=True), list(_unkeepable(raw, at))
    except msgspec.ValidationError as error:
        if isinstance(raw, dict) and len(raw) > 1:  # msgspec does not say under which key
            each = [_convert_field({key: value}, kind, at)[1] for key, value in raw.items()]
            if any(each):
                return None, [found for faults in each for found in faults]
        match = _AT.match(str(error))
        assert match is not None
        path = match["path"] or ""
        if isinstance(raw, dict) and path.startswith("[...]") and len(raw) == 1:
            path = f"[{_escape(next(iter(raw)))}]{path[5:]}"
        return None, [fault(at + _pointer(path), match["message"] + ".")]


def _unkeepable(raw: Any, at: str) -> Iterator[Fault]:
    """Names within it that the database can't take.

    Source: https://bsonspec.org/spec.html (a name, cstring, holds no NUL)
    """
    if isinstance(raw, dict):
        for name, value in raw.items():
            if "\0" in name:
                yield fault(f"{at}/{_escape(name)}", "A name holds no NUL character.")
            yield from _unkeepable(value, f"{at}/{_escape(name)}")
    elif isinstance(raw, list):
        for number, value in enumerate(raw):
            yield from _unkeepable(value, f"{at}/{number}")


def _struct_in(kind: Any) -> type[msgspec.Struct] | None:
    """Finds the struct in `Struct` or `Struct | None`; None for every other type."""
    options = getattr(kind, "__args__", (kind,)) if not isinstance(kind, type) else (kind,)
    structs = [option for option in options if isinstance(option, type) and issubclass(option, msgspec.Struct)]
    return structs[0] if len(structs) == 1 and len(options) <= 2 else None


def _own_faults(value: msgspec.Struct) -> Iterator[tuple[str, str]]:
    check = getattr(value, "faults", None)
    if check is not None:
        yield from check()


def _pointer(path: str) -> str:
    return "".join(f"/{part}" for part in re.findall(r"[^.\[\]]+", path))


def _escape(name: str) -> str:
    return name[:80].replace("~", "~0").replace("/", "~1")


def _json_type(raw: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(raw), "null")
