"""Which keruta a person means: KERUTA_URL and KERUTA_TOKEN, or the one that runs on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from keruta.client import Client
from keruta.errors import KerutaError
from keruta.onemachine.state import Running, State, find


def connect() -> Client:
    """Raises KerutaError, with what to do, when there is none."""
    url, token = os.environ.get("KERUTA_URL"), os.environ.get("KERUTA_TOKEN")
    if url and token:
        return Client(url, token)
    if url or token:
        raise KerutaError("set both KERUTA_URL and KERUTA_TOKEN, or neither")
    running = find_running()
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
        raise KerutaError("no keruta is running here: start one with `make run`, or set KERUTA_URL and KERUTA_TOKEN")
    return running
