"""`keruta up`: the system on this machine, a first task on the repository here, and then it stays."""

from __future__ import annotations

import os
import shlex
import signal
import threading
import time
from pathlib import Path

import click

from keruta.cli import output
from keruta.cli.follow import follow_to_end
from keruta.cli.local_repository import repository_of
from keruta.cli.machine import here
from keruta.client import ApiError, Client
from keruta.domain.doctor import Isolation
from keruta.errors import KerutaError
from keruta.local.installation import program
from keruta.local.state import State, find
from keruta.local.system import LOOK_EVERY_SECONDS, System

FIRST_SCRIPT = """\
echo "This is commit $(git rev-parse --short HEAD) of $(git remote get-url origin)."
git log -1 --format='  %an: %s'
files=$(git ls-files | wc -l)
lines=$(git ls-files -z | xargs -0 cat 2> /dev/null | wc -l)
echo "It holds $files files with $lines lines."
git ls-files | sed 's/.*\\.//' | sort | uniq -c | sort -rn | head -5 > "$KERUTA_ARTIFACTS/kinds.txt"
echo "files=$files" >> "$KERUTA_OUTPUTS"
echo "lines=$lines" >> "$KERUTA_OUTPUTS"
"""


def bring_up(*, once: bool, first_task: bool, home: Path | None, manifests: Path | None = None) -> int:
    """Runs until Ctrl-C or SIGTERM (or, once, to the first task's end). Returns the exit code."""
    state = State(root=(home or here() / ".keruta").absolute())
    state.make()
    ended = threading.Event()
    for wanted in (signal.SIGINT, signal.SIGTERM):
        signal.signal(wanted, lambda *_: ended.set())
    with state.lock():
        system = System(state, output.note, manifests=manifests)
        began = time.monotonic()
        code = 0
        try:
            output.note("starting: mongod, create_task, dispatch, receive_event, report_status, admin, worker …")
            system.start()
            output.note(f"up in {time.monotonic() - began:.1f} s")
            result: list[int] = []
            if first_task:
                _in_background(system, result, ended, once=once)
            else:
                _say_where(system, state)
            said: Isolation | None = None
            while not ended.wait(LOOK_EVERY_SECONDS):
                system.look()
                said = said or _say_no_fence(state)
                if result and not once:
                    result.clear()
                    _say_where(system, state)
            code = (result or [1])[0] if once else 0
        except KerutaError as error:
            output.fail(str(error))
            code = 1
        finally:
            output.note("ending …")
            system.end()
    return code


def _in_background(system: System, result: list[int], ended: threading.Event, *, once: bool) -> None:
    """The first task; what ends it must not keep the processes from being looked after."""

    def first() -> None:
        try:
            result.append(_first_task(Client(system.url, system.token)))
        except ApiError as error:
            output.fail(error.message.text)
            result.append(1)
        if once:
            ended.set()

    threading.Thread(target=first, daemon=True, name="first-task").start()


def _first_task(client: Client) -> int:
    top = repository_of(Path())
    if top is None:
        raise ApiError("there is no Git repository here to run a first task on")
    repository = top.as_uri()
    task = client.submit({"repository": {"url": repository}, "script": FIRST_SCRIPT, "name": "first task"})
    output.note(f"first task {task.id} on {repository}")
    code = follow_to_end(client, task.id, as_json=False)
    output.artifacts(client.task(task.id).artifacts, as_json=False)
    return code


def _say_no_fence(state: State) -> Isolation | None:
    """Say it where scripts have no fence. Returns None until the worker has written down whether they have one."""
    isolation = state.isolation()
    if isolation is not None and isolation.kind == "none":
        output.note(f"scripts run without a fence, with all rights of your user: {isolation.why}")
    return isolation


def told_where(state: State) -> str:
    """Return what tells a command in another terminal where this system's directory is, if it does not find it."""
    found = find(here())
    chosen = os.environ.get("KERUTA_HOME")
    return "" if found == state and not chosen else f"KERUTA_HOME={shlex.quote(str(state.root))} "


def _say_where(system: System, state: State) -> None:
    click.echo(f"keruta is at {system.url}", err=True)
    click.echo(f"sign in there with the code  {state.sign_in_code_file.read_text()}", err=True)
    click.echo(f'in another terminal:  eval "$({told_where(state)}{program()} env)"; keruta list', err=True)
    output.note(f"logs are in {state.root}/log; press Ctrl-C to stop keruta")
