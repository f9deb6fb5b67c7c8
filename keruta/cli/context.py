"""Options that every command shares, such as JSON output."""

from __future__ import annotations

from typing import Any

import click


class Context:
    """Shared by a command and the group above it."""

    def __init__(self) -> None:
        self.json = False
        self.server: str | None = None


pass_context = click.make_pass_decorator(Context, ensure=True)


def _json_flag(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Context).json = True


def _server(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.ensure_object(Context).server = value


def server_option(command: Any) -> Any:
    return click.option(
        "--server",
        metavar="NAME|URL",
        expose_value=False,
        callback=_server,
        help="The keruta to talk to: a server of config.toml, or an address that you are signed in to.",
    )(command)


def json_option(command: Any) -> Any:
    return click.option(
        "--json", is_flag=True, expose_value=False, callback=_json_flag, help="Print JSON, one document per line."
    )(command)
