"""Which keruta a person means: KERUTA_URL and KERUTA_TOKEN, the one that runs here, or the one they signed in to."""

from __future__ import annotations

import os
from pathlib import Path

from keruta.cli.login import signed_in
from keruta.client import Client
from keruta.errors import KerutaError
from keruta.local.state import Running, State, find


def connect() -> Client:
    """Raises KerutaError, with what to do, when there is none."""
    url, token = os.environ.get("KERUTA_URL"), os.environ.get("KERUTA_TOKEN")
    if url and token:
        return Client(url, token)
    if token:
        raise KerutaError("KERUTA_TOKEN is set; set KERUTA_URL, too")
    if url:
        if (own := signed_in(url)) is None:
            raise KerutaError(f"nobody is signed in to {url} here: run `keruta login {url}`, or set KERUTA_TOKEN")
        return Client(own.url, own.access_token)
    state = find(Path.cwd())
    running = state.running() if state else None
    if running is None and (own := signed_in()) is not None:
        return Client(own.url, own.access_token)
    running = running or find_running()
    return Client(running.url, running.token)


def find_state() -> State:
    """The directory of the system that runs on this machine. Raises KerutaError when there is none."""
    state = find(Path.cwd())
    if state is None:
        raise KerutaError("there is no keruta on this machine: start one with `make run`")
    return state


def find_running() -> Running:
    """The system that runs on this machine. Raises KerutaError when none does."""
    state = find(Path.cwd())
    running = state.running() if state else None
    if running is None:
        raise KerutaError("no keruta is running here: start one with `make run`, or `keruta login URL`")
    return running
