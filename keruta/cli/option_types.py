"""Types of options that click does not have."""

from __future__ import annotations

from typing import Any

import click


class NumberOrWord(click.ParamType[int | str]):
    """A number, or a word that stands in place of one; which words there are, the server knows."""

    name = "number|word"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        return int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value
