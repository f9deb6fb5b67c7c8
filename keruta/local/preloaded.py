"""Processes forked from this one, which has loaded the code of keruta's functions: they share it, and start at once.

The functions and the web admin import much the same. As programs of their own, each would load and hold it again.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import runpy
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

# What these import is what the functions and the web admin import.
MODULES = (
    "functions_framework._http.gunicorn",
    "gunicorn.app.wsgiapp",
    "keruta.http.serving",
    "functions.create_task.handler",
    "functions.dispatch.handler",
    "functions.report_status.handler",
    "functions.receive_event.handler",
    "functions.deliveries",
    "keruta.adapters.mongo.agent_access",
    "keruta.adapters.mongo.reports",
    "admin.bootstrap",
)
LOOK_SECONDS = 0.02
_M_ARENA_MAX = -8


def load(project: Path) -> None:
    """Import the functions' code. What is loaded is not looked through for garbage, so that it stays shared.

    Args:
        project: the directory that holds the packages.
    """
    sys.path.insert(0, str(project))
    gc.disable()
    try:
        for name in MODULES:
            importlib.import_module(name)
    finally:
        sys.path.remove(str(project))
        gc.freeze()
        gc.enable()


class Forked:
    """A module that runs as a program in a process forked from this one. Waited for as `subprocess.Popen` is.

    Args:
        arguments: the module's name, and its arguments.
        out: a file's descriptor, for what it writes.
        prepare: called in the new process, first.
    """

    def __init__(
        self, arguments: Sequence[str], *, env: Mapping[str, str], cwd: Path, out: int, prepare: Callable[[], None]
    ) -> None:
        self.returncode: int | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _become(arguments, env, cwd, out, prepare)

    def poll(self) -> int | None:
        """Return the exit code, or minus the signal's number; None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises subprocess.TimeoutExpired."""
        until = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if until is not None and time.monotonic() > until:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            time.sleep(LOOK_SECONDS)
        return code

    def terminate(self) -> None:
        """Send SIGTERM."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)


def _become(
    arguments: Sequence[str], env: Mapping[str, str], cwd: Path, out: int, prepare: Callable[[], None]
) -> NoReturn:
    """Run the module, and end. What the process before has registered for its end is not run here."""
    code = 1
    try:
        prepare()
        os.setsid()
        _limit_arenas(int(env.get("MALLOC_ARENA_MAX", "0")))
        _take_streams(out)
        for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(one, signal.SIG_DFL)
        os.environ.clear()
        os.environ.update(env)
        os.chdir(cwd)
        sys.path.insert(0, str(cwd))
        sys.argv = list(arguments)
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _limit_arenas(most: int) -> None:
    """Do what the variable MALLOC_ARENA_MAX does, which is read when a program starts. Source: mallopt(3)"""
    if most:
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, most)


def _take_streams(out: int) -> None:
    """Read nothing, write to a file, and hold nothing else open."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (out, 1), (out, 2)):
        os.dup2(source, target)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout, sys.stderr = (
        os.fdopen(number, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False) for number in (1, 2)
    )
