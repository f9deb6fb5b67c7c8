"""The settings in force, for a person to look at: each with what it means, and nothing that opens anything."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections.abc import Iterator, Mapping

from keruta.domain.settings_view import SettingView
from keruta.settings import Settings

_PASSWORD = re.compile(r"(?<=://)([^:/@]*):[^@]*@")


def shown(settings: Settings, environ: Mapping[str, str]) -> list[SettingView]:
    """Each of them, by its variable's name. A password within an address is not shown."""
    means = meanings()
    found = []
    for field in settings.__struct_fields__:
        name = f"KERUTA_{field.upper()}"
        value = getattr(settings, field)
        many = isinstance(value, frozenset | tuple)
        text = ", ".join(sorted(value)) if many else "" if value is None else str(value)
        found.append(
            SettingView(
                name=name, value=_PASSWORD.sub(r"\1:…@", text), given=name in environ, means=means.get(field, "")
            )
        )
    return found


@functools.cache
def meanings() -> dict[str, str]:
    """Each setting's field, and what it means: what stands below it in the source."""
    return {name: text for name, _, text in documented_fields(Settings)}


def documented_fields(settings: type) -> Iterator[tuple[str, str | None, str]]:
    """Yield the fields of a class that have a text below them: the name, the default as written, and the text."""
    tree = ast.parse(inspect.getsource(settings)).body[0]
    assert isinstance(tree, ast.ClassDef)
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=text)):
                default = ast.unparse(field.value) if field.value is not None else None
                yield name, default, " ".join(str(text).split())
