"""Commands of forges, beside those that every kind of the catalog has."""

from __future__ import annotations

import sys

import click

from keruta.cli import output
from keruta.cli.connection import connect
from keruta.cli.context import Context, json_option, pass_context


@click.command("validate", help="Sign in at the forge; print the account, or what is wrong.")
@click.argument("name")
@json_option
@pass_context
def _validate(context: Context, name: str) -> None:
    found = connect().validate_forge(name)
    output.entry(found, as_json=context.json)
    sys.exit(0 if found.signed_in else 1)


@click.command("repositories", help="List the repositories that the forge's account may use.")
@click.argument("name")
@click.option("--cursor", help="Show the next page: the cursor that the previous page printed.")
@json_option
@pass_context
def _repositories(context: Context, name: str, cursor: str | None) -> None:
    page = connect().forge_repositories(name, cursor)
    rows = [[one.repository, one.default_branch or "", one.url, one.added or ""] for one in page.items]
    output.table(page, ["repository", "default_branch", "url", "added"], rows, as_json=context.json)


@click.command("add", help="Add a repository of the forge to the catalog.")
@click.argument("name")
@click.argument("repository", metavar="OWNER/NAME")
@click.option("--as", "own", help="Its name in the catalog.")
@click.option("--read-credential")
@click.option("--push-credential")
@json_option
@pass_context
def _add(context: Context, /, name: str, repository: str, own: str | None, **credentials: str | None) -> None:
    given = {key: value for key, value in {"name": own, **credentials}.items() if value is not None}
    output.entry(connect().add_repository(name, {"repository": repository, **given}), as_json=context.json)


@click.command("connect", help="Make or update the webhook at the forge that delivers to a trigger.")
@click.argument("name")
@click.argument("trigger")
@json_option
@pass_context
def _connect(context: Context, name: str, trigger: str) -> None:
    output.entry(connect().connect_trigger(name, trigger), as_json=context.json)


COMMANDS: tuple[click.Command, ...] = (_validate, _repositories, _add, _connect)
