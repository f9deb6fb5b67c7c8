"""Git as a program, started by GitPython: in an environment made here, in a process group of its own, within a time
limit.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import BinaryIO

import msgspec
from git.cmd import safer_popen

from keruta.adapters.git import memory
from keruta.adapters.git.faults import TransientError, fault, killed
from keruta.adapters.git.slowness import Slowness, asks_a_server
from keruta.domain.messages import message
from keruta.errors import PhaseError

LOOK_EVERY_SECONDS = 0.2
OUT_LIMIT_BYTES = 256 << 20  # of what Git writes; a server decides how much of it that is
ERROR_LIMIT_BYTES = 256 << 10  # of its words, the last ones
SLOW_STALLS = 10  # so many times the time of silence may a server send next to nothing
NOT_FOUND = 127  # a shell's exit code for a program that is not there
_BLOCK_BYTES = 1 << 16
QUIET = ("-c", "advice.detachedHead=false", "-c", "gc.auto=0", "-c", "maintenance.auto=false")


class Interrupted(Exception):  # noqa: N818  not an error of Git's
    """Git was ended before it was done."""


class Stopped(Interrupted):
    """The job was told to end while Git ran."""


class TimedOut(Interrupted):
    """The time limit was reached while Git ran."""


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """Output and exit code of a Git process."""

    out: bytes
    err: bytes
    exit_code: int


class Git:
    """Git in one directory and environment.

    Args:
        env: the whole environment; nothing of keruta's own environment is passed on.
        stop: set when the job is to end; what runs is ended with it.
        deadline: by `time.monotonic()`.
        most_bytes: how much it may write.
    """

    def __init__(
        self, directory: Path, env: Mapping[str, str], stop: threading.Event, deadline: float,
        most_bytes: int = OUT_LIMIT_BYTES,
    ) -> None:  # fmt: skip
        self.directory = directory
        self.env = dict(env)
        self._stop = stop
        self._deadline = deadline
        self._most_bytes = most_bytes

    def with_env(self, env: Mapping[str, str], directory: Path | None = None) -> Git:
        """Return Git in another environment, with the same limits."""
        return Git(directory or self.directory, env, self._stop, self._deadline, self._most_bytes)

    def until(self, stop: threading.Event) -> Git:
        """Return Git that is ended by another event, with the same time limit."""
        return Git(self.directory, self.env, stop, self._deadline, self._most_bytes)

    def within(self, seconds: float) -> Git:
        """Return Git with another time limit, from now."""
        return Git(self.directory, self.env, self._stop, time.monotonic() + seconds, self._most_bytes)

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
        done = self.run(*arguments, stdin=stdin, reason=reason)
        if done.exit_code == -signal.SIGKILL:  # not by this process: `run` raises then
            raise killed()
        if done.exit_code != 0 and done.exit_code not in allowed:
            raise fault(done.err.decode("utf-8", "replace"), reason)
        return done.out

    def run(self, *arguments: str, stdin: bytes | BinaryIO | None = None, reason: str = "CloneFailed") -> Output:
        """Run Git to its end, whatever its exit code.

        Args:
            stdin: what it reads, or a file to read from.

        Raises:
            PhaseError: it wrote more than it may, or (TransientError) its server sent next to nothing.
            Stopped, TimedOut: see there.
        """
        self.check_time()
        source: int | BinaryIO = subprocess.DEVNULL
        if stdin is not None:
            source = subprocess.PIPE if isinstance(stdin, bytes) else stdin
        try:
            # GitPython's `execute` adds to the environment that this process has, such as a GIT_DIR; this does not.
            running: subprocess.Popen[bytes] = safer_popen(
                ["git", "-C", str(self.directory.absolute()), *memory.options(), *arguments],
                env=self.env, cwd="/", start_new_session=True,
                stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
        except FileNotFoundError as error:
            return Output(out=b"", err=f"git: {error.strerror}".encode(), exit_code=NOT_FOUND)
        slow = self._slowness(running.pid, arguments)
        too_slow = False
        try:
            with _Exchange(running, stdin if isinstance(stdin, bytes) else b"", self._most_bytes) as exchange:
                while not exchange.over(LOOK_EVERY_SECONDS):
                    too_slow = too_slow or (slow is not None and slow.reached())
                    if self._stop.is_set() or time.monotonic() > self._deadline or exchange.too_much or too_slow:
                        _end(running)
        except BaseException:
            _end(running)
            raise
        self.check_time()
        if exchange.too_much:
            raise PhaseError(reason, message("git_too_much", limit=self._most_bytes))
        if too_slow:
            raise TransientError(reason, message("git_trickles", seconds=int(self._slow_seconds)))
        return Output(out=bytes(exchange.out), err=bytes(exchange.err), exit_code=running.returncode)

    @property
    def _slow_seconds(self) -> float:
        """Return for how many seconds a server may send next to nothing; 0 without a limit for silence."""
        return SLOW_STALLS * float(self.env.get("GIT_HTTP_LOW_SPEED_TIME", 0))

    def _slowness(self, group: int, arguments: Collection[str]) -> Slowness | None:
        return Slowness(group, self._slow_seconds) if self._slow_seconds and asks_a_server(arguments) else None


class _Exchange:
    """Input and captured output of a process.

    Args:
        given: for its standard input, where that is a pipe.
        most_bytes: of what it writes, the beginning; it is to be ended when it writes more.
    """

    def __init__(self, process: subprocess.Popen[bytes], given: bytes, most_bytes: int) -> None:
        self._process = process
        self._given = memoryview(given)
        self._most_bytes = most_bytes
        self.out = bytearray()
        self.err = bytearray()
        self.too_much = False
        self._open = selectors.DefaultSelector()
        streams = (
            (process.stdin, selectors.EVENT_WRITE, self._write),
            (process.stdout, selectors.EVENT_READ, self._take_out),
            (process.stderr, selectors.EVENT_READ, self._take_error),
        )
        for stream, event, act in streams:
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
                self._open.register(stream, event, act)

    def __enter__(self) -> _Exchange:
        return self

    def __exit__(self, *_: object) -> None:
        for key in list(self._open.get_map().values()):
            self._close(key)
        self._open.close()

    def over(self, seconds: float) -> bool:
        """Go on for a while; return whether the process has ended and nothing of what it wrote is to come."""
        if not self._open.get_map():
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                return False
            return True
        for key, _ in self._open.select(seconds):
            if not key.data(key.fd):
                self._close(key)
        return False

    def _close(self, key: selectors.SelectorKey) -> None:
        self._open.unregister(key.fileobj)
        with contextlib.suppress(OSError):  # it ended before it took its input
            key.fileobj.close()  # type: ignore[union-attr]

    def _write(self, descriptor: int) -> bool:
        try:
            self._given = self._given[os.write(descriptor, self._given[:_BLOCK_BYTES]) :]
        except BlockingIOError:
            return True
        except OSError:
            return False
        return bool(self._given)

    def _take_out(self, descriptor: int) -> bool:
        block = os.read(descriptor, _BLOCK_BYTES)
        if len(self.out) + len(block) > self._most_bytes:
            self.too_much = True
        else:
            self.out += block
        return bool(block)

    def _take_error(self, descriptor: int) -> bool:
        block = os.read(descriptor, _BLOCK_BYTES)
        self.err += block
        if len(self.err) > 2 * ERROR_LIMIT_BYTES:
            del self.err[:-ERROR_LIMIT_BYTES]
        return bool(block)


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
