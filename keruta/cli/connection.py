"""Choice of the keruta to talk to, the first of these that is there:

1. the server of `--server`;
2. KERUTA_URL, with KERUTA_TOKEN or the sign-in there;
3. the server of KERUTA_SERVER;
4. the system that runs in this directory;
5. the default server of `config.toml`, then the newest sign-in;
6. the system that runs elsewhere on this machine.
"""

from __future__ import annotations

import os

import click

from keruta.cli import servers
from keruta.cli.context import Context
from keruta.cli.login import signed_in
from keruta.cli.machine import find_running, here
from keruta.client import Client
from keruta.errors import KerutaError
from keruta.local.state import find


def connect() -> Client:
    """Return a client of the chosen system. Raises KerutaError, with what to do, where there is none."""
    if chosen := _chosen():
        return _server(servers.named(chosen))
    url, token = os.environ.get("KERUTA_URL"), os.environ.get("KERUTA_TOKEN")
    if url and token:
        return Client(url, token)
    if token:
        raise KerutaError("KERUTA_TOKEN is set; set KERUTA_URL, too")
    if url:
        return _server(servers.Server(url=url))
    if name := os.environ.get("KERUTA_SERVER"):
        return _server(servers.named(name))
    state = find(here())
    running = state.running() if state else None
    if running is not None:
        return Client(running.url, running.token)
    if (default := servers.config().default) is not None:
        return _server(servers.named(default))
    if (own := signed_in()) is not None:
        return _as_person(own.url)
    running = find_running()
    return Client(running.url, running.token)


def address() -> str:
    """Return the address of the chosen system, without anybody's token. Raises KerutaError where there is none."""
    if name := _chosen() or ("" if os.environ.get("KERUTA_URL") else os.environ.get("KERUTA_SERVER")):
        return servers.named(name).url
    if url := os.environ.get("KERUTA_URL"):
        return url
    state = find(here())
    running = state.running() if state else None
    if running is None and (default := servers.config().default) is not None:
        return servers.named(default).url
    return (running or find_running()).url


def _chosen() -> str | None:
    context = click.get_current_context(silent=True)
    found = context.find_object(Context) if context is not None else None
    return found.server if found is not None else None


def _server(server: servers.Server) -> Client:
    token = servers.token_of(server)
    if token is not None:
        return Client(server.url, token)
    if (own := signed_in(server.url)) is None:
        raise KerutaError(
            f"nobody is signed in to {server.url} here: run `keruta login {server.url}`, or set KERUTA_TOKEN"
        )
    return _as_person(own.url)


def _as_person(url: str) -> Client:
    """Return a client with the sign-in at this address, whose token is renewed when it is about to run out."""

    def fresh_token() -> str:
        if (own := signed_in(url)) is None:
            raise KerutaError(f"nobody is signed in to {url} any more: run `keruta login {url}`")
        return own.access_token

    return Client(url, fresh_token)
