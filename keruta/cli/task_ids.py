"""Ids of tasks as people type them: whole, the beginning of one, or `last`."""

from __future__ import annotations

import re

import click

from keruta.client import Client

LAST = "last"
LOOKED_AT = 20
_WHOLE = 26
_BEGINNING = re.compile(r"[0-9a-hjkmnp-tv-z]{4,25}")


def find(client: Client, given: str) -> str:
    """Return a task's whole id.

    Args:
        given: an id, the first four or more letters of one, or `last`: the newest task of the caller.

    Raises:
        click.ClickException: no task's id begins like that, or several tasks' ids do; these are named.
        ApiError: keruta refused, or did not answer.
    """
    if given == LAST:
        newest = client.tasks(owner=client.me().name, limit=1).items
        if not newest:
            raise click.ClickException("you have no task yet, so there is no last one")
        return newest[0].id
    beginning = given.lower()
    if not _BEGINNING.fullmatch(beginning):
        return given
    found = [one for one in client.tasks(q=beginning, limit=LOOKED_AT).items if one.id.startswith(beginning)]
    if not found:
        raise click.ClickException(f"no task's id begins with {given}")
    if len(found) > 1:
        names = "\n".join(f"  {one.id}  {one.status}  {one.name or one.repository.url}" for one in found)
        raise click.ClickException(f"the ids of several tasks begin with {given}; type more of it:\n{names}")
    return found[0].id
