"""Options of the command line for the fields of a catalog entry, by their types."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import click
import msgspec

from keruta.cli.option_types import NumberOrWord
from keruta.cli.reading import read_text
from keruta.domain.catalog.credentials import ALL_SECRETS
from keruta.domain.catalog.kinds import Kind

FROM_FILES = (*ALL_SECRETS, "text", "known_hosts", "script")  # long, or secret: never on a command line


def options(kind: Kind) -> list[click.Parameter]:
    """Return an option for each field, by its type; nested values are given as JSON."""
    options: list[click.Parameter] = []
    for field in msgspec.structs.fields(kind.spec):
        name = field.encode_name
        if name == "name":
            continue
        flag = f"--{name.replace('_', '-')}"
        kind_of = _plain_type(field.type)
        if name in FROM_FILES:
            options.append(
                click.Option(
                    [f"{flag}-file", name], metavar="PATH", help=f"{name}, from a file, or from standard input for -."
                )
            )
        elif kind_of is bool:
            options.append(click.Option([f"{flag}/--no-{flag[2:]}", name], default=None))
        elif kind_of is list:
            options.append(click.Option([flag, name], multiple=True, help="Can be given several times."))
        elif kind_of is dict:
            options.append(click.Option([flag, name], multiple=True, metavar="NAME=VALUE"))
        elif kind_of is NumberOrWord:
            options.append(click.Option([flag, name], type=NumberOrWord()))
        elif kind_of in (int, float):
            options.append(click.Option([flag, name], type=kind_of))
        else:
            options.append(click.Option([flag, name], metavar="JSON" if kind_of is object else "TEXT"))
    return options


@functools.cache
def _plain_type(kind: Any) -> type:
    """Return bool, int, float, NumberOrWord, str, list (of texts), dict (of texts), or object for values in JSON."""
    found = _bare(msgspec.inspect.type_info(kind))
    if isinstance(found, msgspec.inspect.UnionType):
        kinds = {type(_bare(one)) for one in found.types} - {msgspec.inspect.NoneType}
        if kinds == {msgspec.inspect.IntType, msgspec.inspect.LiteralType}:
            return NumberOrWord
        found = _bare(next(one for one in found.types if not isinstance(one, msgspec.inspect.NoneType)))
    if isinstance(found, msgspec.inspect.ListType):
        words = (msgspec.inspect.StrType, msgspec.inspect.LiteralType)
        return list if isinstance(_bare(found.item_type), words) else object
    if isinstance(found, msgspec.inspect.DictType):
        return dict if isinstance(_bare(found.value_type), msgspec.inspect.StrType) else object
    known: dict[type, type] = {
        msgspec.inspect.BoolType: bool,
        msgspec.inspect.IntType: int,
        msgspec.inspect.FloatType: float,
        msgspec.inspect.StrType: str,
        msgspec.inspect.LiteralType: str,
    }
    return known.get(type(found), object)


def _bare(found: msgspec.inspect.Type) -> msgspec.inspect.Type:
    return found.type if isinstance(found, msgspec.inspect.Metadata) else found


def fields_given(kind: Kind, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that the command line names, as the API takes them."""
    types = {field.encode_name: _plain_type(field.type) for field in msgspec.structs.fields(kind.spec)}
    spec: dict[str, Any] = {}
    for name, value in given.items():
        if value is None or value == ():
            continue
        if name in FROM_FILES:
            spec[name] = read(value, strip=name not in ("text", "script"))
        elif types[name] is list:
            spec[name] = list(value)
        elif types[name] is dict:
            spec[name] = dict(pair.split("=", 1) for pair in value if "=" in pair)
            if len(spec[name]) != len(value):
                raise click.ClickException(f"--{name} takes NAME=VALUE, and each name once")
        elif types[name] is object:
            try:
                spec[name] = msgspec.json.decode(value)
            except msgspec.DecodeError as error:
                raise click.ClickException(f"--{name.replace('_', '-')} takes JSON: {error}") from error
        else:
            spec[name] = value
    return spec


def read(path: str, *, strip: bool = False) -> str:
    """Return a file's text, or standard input's for `-`; for a secret, without the last line end."""
    text = read_text(path, encoding="utf-8")
    return text.rstrip("\r\n") if strip and text.count("\n") <= 1 else text
