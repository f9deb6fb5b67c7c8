"""The settings in force, for a person to look at: each with what it means, and nothing that opens anything."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections.abc import Mapping

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
    tree = ast.parse(inspect.getsource(Settings)).body[0]
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            assert isinstance(below.value, ast.Constant)
            found[field.target.id] = " ".join(str(below.value.value).split())
    return found
