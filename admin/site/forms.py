"""A form of what the API takes: its fields from the type, and from what was typed back to the same document.

What a form sends is checked as any client's body is (`keruta.domain.decode.convert`), so its faults stand beside the
fields that they are of. A line that begins with a quote is a JSON string: so a text with line ends is one, too.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import yaml
from msgspec import inspect
from werkzeug.datastructures import MultiDict

from keruta.domain.decode import convert
from keruta.domain.messages import message
from keruta.domain.yaml_reading import FaultyYamlError, read_plain
from keruta.errors import Fault, fault

T = TypeVar("T", bound=msgspec.Struct)

LONG = frozenset(
    {"text", "description", "script", "prompt", "check", "instructions", "known_hosts", "private_key", "value"}
)
FIRST = ("name", "description")  # of a form; the rest is in the order of the type
MAYBE = {"yes": True, "no": False}
SECRET = frozenset({"token", "private_key", "value"})


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One field of a form.

    Args:
        path: where it stands in the document, with dots.
        kind: text, long, secret, number, yes, maybe (yes, no or not set), choice, lines, pairs, yaml, group.
        choices: of a choice; "" stands for none.
        fields: of a group.
        optional: whether the group may be left out as a whole.
    """

    path: str
    kind: str
    required: bool = False
    choices: Sequence[str] = ()
    default: str = ""
    fields: Sequence[Field] = ()
    optional: bool = False

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]


@functools.cache
def fields(spec: type[msgspec.Struct]) -> tuple[Field, ...]:
    """Return the fields of a type that the API takes."""
    found = inspect.type_info(spec)
    assert isinstance(found, inspect.StructType)
    return tuple(sorted(_fields(found, ""), key=lambda field: FIRST.index(field.name) if field.name in FIRST else 9))


def _fields(struct: inspect.StructType, above: str) -> Iterator[Field]:
    for one in struct.fields:
        default = one.default if isinstance(one.default, str | int | float) else ""
        yield _field(f"{above}{one.encode_name}", one.type, required=one.required, default=default)


def _field(path: str, kind: inspect.Type, *, required: bool, default: Any) -> Field:
    kind, nullable = _plain(kind)
    name = path.rpartition(".")[2]
    match kind:
        case inspect.StructType():
            return Field(path=path, kind="group", fields=tuple(_fields(kind, f"{path}.")), optional=nullable)
        case inspect.UnionType():
            return Field(path=path, kind="yaml", default=str(default))
        case inspect.LiteralType():
            # As they are declared: msgspec sorts them.
            empty = ("",) if nullable or not default else ()
            values = tuple(str(value) for value in kind.values)
            return Field(path=path, kind="choice", choices=(*empty, *values), default=str(default))
        case inspect.BoolType() if nullable:
            return Field(path=path, kind="maybe", choices=("", *MAYBE))
        case inspect.BoolType():
            return Field(path=path, kind="yes", default="1" if default is True else "")
        case inspect.IntType() | inspect.FloatType():
            return Field(path=path, kind="number", required=required, default="" if default == "" else f"{default:g}")
        case inspect.ListType(item_type=item) if isinstance(_plain(item)[0], inspect.StrType):
            return Field(path=path, kind="lines", required=required)
        case inspect.DictType(value_type=value) if isinstance(_plain(value)[0], inspect.StrType):
            return Field(path=path, kind="pairs")
        case inspect.StrType():
            shape = "secret" if name in SECRET else "long" if name in LONG else "text"
            return Field(path=path, kind=shape, required=required, default=str(default))
    return Field(path=path, kind="yaml")


def _plain(kind: inspect.Type) -> tuple[inspect.Type, bool]:
    """Return a type without its description, and whether it may be null; of several types, the string."""
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    if isinstance(kind, inspect.UnionType):
        rest = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
        if any(isinstance(_plain(one)[0], inspect.ListType) for one in rest[1:]):
            return kind, False  # a word or a list of them
        return _plain(rest[0])[0], len(rest) < len(kind.types)
    return kind, False


# ---------------------------------------------------------------- from a document to what is typed, and back


def filled(wanted: Sequence[Field], document: Mapping[str, Any]) -> dict[str, str]:
    """Return the text of each field, by its path, for a document."""
    found: dict[str, str] = {}
    for field in wanted:
        value = document.get(field.name)
        if field.kind == "group":
            if isinstance(value, Mapping):
                found[field.path] = "1"
                found |= filled(field.fields, value)
        elif field.kind == "secret":
            found[field.path] = ""
        else:
            found[field.path] = _typed(field.kind, value)
    return found


def _typed(kind: str, value: Any) -> str:
    if value is None:
        return ""
    if kind == "yes":
        return "1" if value else ""
    if kind == "maybe":
        return "yes" if value else "no"
    if kind == "number":
        return str(value).removesuffix(".0")
    if kind == "lines":
        return "\n".join(_line(one) for one in value)
    if kind == "pairs":
        return "\n".join(f"{_line(name, '=')}={_line(one)}" for name, one in value.items())
    if kind == "yaml" and isinstance(value, str):
        return value
    if kind == "yaml":
        return yaml.safe_dump(value, allow_unicode=True, sort_keys=False) if value else ""
    return str(value)


def _line(text: str, not_in: str = "\n") -> str:
    plain = text and text == text.strip() and text[0] != '"' and len(text.splitlines()) == 1 and not_in not in text
    return text if plain else json.dumps(text, ensure_ascii=False)


def document(wanted: Sequence[Field], form: MultiDict[str, str]) -> dict[str, Any]:
    """Build the API's document from a submitted form. Unreadable values stay text, so that `convert` reports them."""
    made: dict[str, Any] = {}
    for field in wanted:
        typed = form.get(field.path, "").replace("\r\n", "\n")
        if field.kind == "group":
            inner = document(field.fields, form)
            if typed or (inner and not field.optional):
                made[field.name] = inner
        elif field.kind == "yes":
            made[field.name] = bool(typed)
        elif typed.strip() or (typed and field.kind in ("long", "secret")):
            made[field.name] = _meant(field, typed)
    return made


def _meant(field: Field, typed: str) -> Any:
    match field.kind:
        case "number":
            return _number(typed.strip())
        case "lines":
            return [_text(line) for line in typed.split("\n") if line.strip()]
        case "pairs":
            return dict(_pair(line) for line in typed.split("\n") if line.strip())
        case "yaml":
            try:
                return read_plain(typed)
            except FaultyYamlError:
                return typed
        case "maybe":
            return MAYBE.get(typed.strip(), typed)
        case "text" | "choice":
            return typed.strip()
    return typed


def _number(typed: str) -> Any:
    for kind in (int, float):
        try:
            return kind(typed)
        except ValueError:
            continue
    return typed


def _text(line: str) -> str:
    line = line.strip()
    if line.startswith('"'):
        try:
            value = json.loads(line)
        except ValueError:
            return line
        return value if isinstance(value, str) else line
    return line


def _pair(line: str) -> tuple[str, str]:
    line = line.strip()
    if line.startswith('"'):
        try:
            name, end = json.JSONDecoder().raw_decode(line)
        except ValueError:
            name, end = None, 0
        if isinstance(name, str) and line[end:].startswith("="):
            return name, _text(line[end + 1 :])
    name, _, value = line.partition("=")
    return name.strip(), _text(value)


def read(spec: type[T], form: MultiDict[str, str]) -> tuple[T | None, list[Fault]]:
    """The typed value, or what is wrong with what was typed."""
    return convert(document(fields(spec), form), spec)


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """Faults where they belong: beside their fields (`at` is where within it), and the rest above the form."""

    beside: Mapping[str, Sequence[Fault]]
    above: Sequence[Fault]


def told(wanted: Sequence[Field], faults: Sequence[Fault]) -> Told:
    """Each fault at the field whose path its pointer begins with."""
    kinds = dict(_kinds(wanted))
    paths = sorted(kinds, key=len, reverse=True)
    beside: dict[str, list[Fault]] = {}
    above = []
    for one in faults:
        at = one["at"].strip("/").replace("/", ".")
        path = next((path for path in paths if at == path or at.startswith(f"{path}.")), None)
        if path is None:
            above.append(one)
        else:
            within = at[len(path) + 1 :]
            typed = kinds[path] == "number" and one.get("message_code") == "field_type"
            wrong = fault(within, message("field_number")) if typed else {**one, "at": within}
            beside.setdefault(path, []).append(wrong)
    return Told(beside=beside, above=above)


def _kinds(wanted: Sequence[Field]) -> Iterator[tuple[str, str]]:
    for field in wanted:
        yield field.path, field.kind
        yield from _kinds(field.fields)
