"""Git as a program, by GitPython: in an environment made here, in a process group of its own, within a time limit."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import BinaryIO

import git
import msgspec

from keruta.adapters.git.faults import fault

LOOK_EVERY_SECONDS = 0.2
QUIET = ("-c", "advice.detachedHead=false", "-c", "gc.auto=0", "-c", "maintenance.auto=false")


class Interrupted(Exception):  # noqa: N818  not an error of Git's
    """Git was ended before it was done."""


class Stopped(Interrupted):
    """The job was told to end while Git ran."""


class TimedOut(Interrupted):
    """The time limit was reached while Git ran."""


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """What a Git process wrote, and its exit code."""

    out: bytes
    err: bytes
    exit_code: int


class Git:
    """Git in one directory and environment.

    Args:
        env: the whole environment; nothing of keruta's own environment is passed on.
        stop: set when the job is to end; what runs is ended with it.
        deadline: by `time.monotonic()`.
    """

    def __init__(self, directory: Path, env: Mapping[str, str], stop: threading.Event, deadline: float) -> None:
        self.directory = directory
        self.env = dict(env)
        # GitPython expands $ and ~ in its directory, and runs in this process's own where there is none: `-C` does not.
        self._git = git.Git("/")
        self._stop = stop
        self._deadline = deadline

    def with_env(self, env: Mapping[str, str], directory: Path | None = None) -> Git:
        """Return Git in another environment, with the same limits."""
        return Git(directory or self.directory, env, self._stop, self._deadline)

    def within(self, seconds: float) -> Git:
        """Return Git with another time limit, from now."""
        return Git(self.directory, self.env, self._stop, time.monotonic() + seconds)

    @property
    def seconds_left(self) -> float:
        """The time until the limit."""
        return self._deadline - time.monotonic()

    def check_time(self) -> None:
        """Raise Stopped or TimedOut when the job is to end or its time is up."""
        if self._stop.is_set():
            raise Stopped
        if time.monotonic() > self._deadline:
            raise TimedOut

    def pause(self, seconds: float) -> None:
        """Wait, but not longer than the job goes on."""
        self._stop.wait(min(seconds, max(0.0, self.seconds_left)))
        self.check_time()

    def __call__(self, *arguments: str, stdin: bytes | None = None, reason: str = "CloneFailed") -> str:
        """Run Git and return what it wrote, as text.

        Raises:
            PhaseError: it ended badly; its last line is told, never its arguments.
            Stopped, TimedOut: see there.
        """
        return self.read(*arguments, stdin=stdin, reason=reason).decode("utf-8", "replace")

    def read(
        self, *arguments: str, stdin: bytes | None = None, reason: str = "CloneFailed", allowed: Collection[int] = ()
    ) -> bytes:
        """Run Git and return what it wrote. Raises as a call does.

        Args:
            allowed: exit codes besides 0 that are no failure.
        """
        done = self.run(*arguments, stdin=stdin)
        if done.exit_code != 0 and done.exit_code not in allowed:
            raise fault(done.err.decode("utf-8", "replace"), reason)
        return done.out

    def run(self, *arguments: str, stdin: bytes | BinaryIO | None = None) -> Output:
        """Run Git to its end, whatever its exit code.

        Args:
            stdin: what it reads, or a file to read from.

        Raises:
            Stopped, TimedOut: see there.
        """
        self.check_time()
        given = stdin if isinstance(stdin, bytes) else None
        source: int | BinaryIO = subprocess.DEVNULL
        if stdin is not None:
            source = subprocess.PIPE if isinstance(stdin, bytes) else stdin
        # GitPython adds to the environment that this process has; `env -i` leaves nothing of that, such as a GIT_DIR.
        made = [f"{name}={value}" for name, value in self.env.items()]
        process = self._git.execute(
            ["env", "-i", *made, "git", "-C", str(self.directory.absolute()), *arguments],
            as_process=True,
            istream=source,
            start_new_session=True,
        )
        running: subprocess.Popen[bytes] = process.proc  # type: ignore[assignment]
        while True:
            try:
                out, err = running.communicate(given, timeout=LOOK_EVERY_SECONDS)
                break
            except subprocess.TimeoutExpired:
                given = None  # it has been given
                if self._stop.is_set() or time.monotonic() > self._deadline:
                    _end(running)
        self.check_time()
        return Output(out=out or b"", err=err or b"", exit_code=running.returncode)


def _end(process: subprocess.Popen[bytes]) -> None:
    for signal_ in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, signal_)
        except ProcessLookupError:
            return
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            continue
        return
