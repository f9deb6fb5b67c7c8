"""Starts the processes of one machine, starts again what dies, and ends them all.

Each child gets SIGTERM from the kernel when this process dies, however it dies. Each runs in a session of its own, so
that Ctrl-C reaches this process alone, which ends the others in order.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from keruta.errors import KerutaError
from keruta.local.preloaded import Forked

log = logging.getLogger(__name__)

RESTARTS_MOST = 10
RESTARTS_WITHIN_SECONDS = 60.0
RESTART_FIRST_SECONDS = 0.1
RESTART_MOST_SECONDS = 5.0
THREADS_END_SECONDS = 1.0
_PR_SET_PDEATHSIG = 1


class DiesTooOftenError(KerutaError):
    """A process ended again and again."""


class Child(msgspec.Struct):
    """A process to be kept alive.

    Args:
        forked: the command is `PYTHON -m MODULE …`, and is at first run in a process forked from this one.
    """

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    log: Path
    cwd: Path
    grace_seconds: float = 10.0
    forked: bool = False
    process: subprocess.Popen[bytes] | Forked | None = None
    deaths: list[float] = msgspec.field(default_factory=list)
    again_at: float = 0.0

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Supervisor:
    """The children, in the order in which they are started; they are ended in the reverse order."""

    def __init__(self, said: Callable[[str], None]) -> None:
        self._children: dict[str, Child] = {}
        self._said = said
        self._libc = ctypes.CDLL(None, use_errno=True)

    def start(self, child: Child) -> None:
        self._children[child.name] = child
        self._spawn(child)

    def pids(self) -> dict[str, int]:
        return {child.name: child.process.pid for child in self._children.values() if child.process is not None}

    def alive(self, name: str) -> bool:
        return self._children[name].alive

    def look(self) -> None:
        """Starts again what has died. Raises DiesTooOftenError, with where to look."""
        now = time.monotonic()
        for child in self._children.values():
            if child.alive:
                continue
            if not child.again_at:
                self._note_death(child, now)
            elif now >= child.again_at:
                self._spawn(child)

    def end(self) -> None:
        """All children have ended; what does not listen is killed with its session."""
        for child in reversed(self._children.values()):
            _end(child)

    def _spawn(self, child: Child) -> None:
        child.again_at = 0.0
        child.log.parent.mkdir(parents=True, exist_ok=True)
        with child.log.open("ab") as out:
            child.process = self._start_forked(child, out) if self._may_fork(child) else self._start_program(child, out)

    def _may_fork(self, child: Child) -> bool:
        """Return whether a copy of this process finds nothing half done or open: at the start, without other threads.

        A database client's threads end a moment after it was closed.
        """
        if not child.forked or child.process is not None:
            return False
        until = time.monotonic() + THREADS_END_SECONDS
        while threading.active_count() > 1 and time.monotonic() < until:
            time.sleep(0.01)
        return threading.active_count() == 1

    def _start_forked(self, child: Child, out: BinaryIO) -> Forked:
        arguments = child.command[child.command.index("-m") + 1 :]
        return Forked(arguments, env=child.env, cwd=child.cwd, out=out.fileno(), prepare=self._die_with_parent)

    def _start_program(self, child: Child, out: BinaryIO) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            list(child.command),
            env=dict(child.env),
            cwd=child.cwd,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            preexec_fn=self._die_with_parent,
        )

    def _die_with_parent(self) -> None:
        self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    def _note_death(self, child: Child, now: float) -> None:
        assert child.process is not None
        code = child.process.wait()
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        child.deaths = [at for at in child.deaths if now - at < RESTARTS_WITHIN_SECONDS] + [now]
        if len(child.deaths) > RESTARTS_MOST:
            raise DiesTooOftenError(
                f"{child.name} ended {how}, for the {len(child.deaths)}th time within a minute; "
                f"its log says why: {child.log}"
            )
        _kill_session(child.process.pid)
        child.again_at = now + min(RESTART_FIRST_SECONDS * 2 ** (len(child.deaths) - 1), RESTART_MOST_SECONDS)
        self._said(f"{child.name} ended {how}; starting it again")


def _end(child: Child) -> None:
    process = child.process
    if process is None:
        return
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(child.grace_seconds)
        except subprocess.TimeoutExpired:
            log.warning("%s does not end; killed", child.name, extra={"action": "child_killed"})
    _kill_session(process.pid)
    process.wait()


def _kill_session(leader: int) -> None:
    """End all processes in a server's process group (its workers), which would keep its port."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
