"""The keruta of this machine: its directory, and whether it runs."""

from __future__ import annotations

import os
from pathlib import Path

from keruta.cli.errors import DIRECTORY_GONE
from keruta.errors import KerutaError
from keruta.local.installation import start_command
from keruta.local.state import Running, State, find, passed_over


def find_state() -> State:
    """The directory of the system that runs on this machine. Raises KerutaError when there is none."""
    state = find(here())
    if state is None:
        raise KerutaError(f"there is no keruta on this machine: start one with `{start_command()}`" + _others())
    return state


def find_running() -> Running:
    """The system that runs on this machine. Raises KerutaError when none does."""
    state = find(here())
    running = state.running() if state else None
    if running is None:
        raise KerutaError(
            f"no keruta is running here: start one with `{start_command()}`, or `keruta login URL`" + _others()
        )
    return running


def _others() -> str:
    """Name what was found and not used."""
    passed = passed_over(here()) if not os.environ.get("KERUTA_HOME") else []
    return f"; {passed[0]} is not used: it belongs to another user, or others may write there" if passed else ""


def here() -> Path:
    """Return the current directory. Raises KerutaError when it was removed."""
    try:
        return Path.cwd()
    except OSError as error:
        raise KerutaError(DIRECTORY_GONE) from error
