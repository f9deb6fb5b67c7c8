"""Choice of the keruta to talk to: KERUTA_URL and KERUTA_TOKEN, the one that runs here, or the one signed in to."""

from __future__ import annotations

import os

from keruta.cli.login import signed_in
from keruta.cli.machine import find_running, here
from keruta.client import Client
from keruta.errors import KerutaError
from keruta.local.state import find


def connect() -> Client:
    """Return a client of the running system. Raises KerutaError, with what to do, where there is none."""
    url, token = os.environ.get("KERUTA_URL"), os.environ.get("KERUTA_TOKEN")
    if url and token:
        return Client(url, token)
    if token:
        raise KerutaError("KERUTA_TOKEN is set; set KERUTA_URL, too")
    if url:
        if (own := signed_in(url)) is None:
            raise KerutaError(f"nobody is signed in to {url} here: run `keruta login {url}`, or set KERUTA_TOKEN")
        return Client(own.url, _fresh_token)
    state = find(here())
    running = state.running() if state else None
    if running is None and (own := signed_in()) is not None:
        return Client(own.url, _fresh_token)
    running = running or find_running()
    return Client(running.url, running.token)


def _fresh_token() -> str:
    """The token of the sign-in on file, renewed when it is about to run out. Raises KerutaError: it is over."""
    if (own := signed_in()) is None:
        raise KerutaError("nobody is signed in any more: run `keruta login` again")
    return own.access_token
