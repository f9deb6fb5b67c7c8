"""A script as processes of this machine: started in a session of its own, told to end, killed with all it left behind.

This is no isolation boundary: the script has this user's rights. With bubblewrap it sees the file system read-only but
for its own directory, and a process space of its own.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import select
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from agent.attempt.directory import JobDir

log = logging.getLogger(__name__)

START = Path(__file__).parents[2] / "attempt" / "start.sh"
MARK = "KERUTA_EXECUTION"


class ProcessScript:
    """One attempt's script.

    Args:
        job: its directory.
        env: its environment; must hold `KERUTA_EXECUTION`, by which strays are found.
        isolation: `bubblewrap` or `none`.
    """

    def __init__(self, job: JobDir, env: Mapping[str, str], isolation: str) -> None:
        self._job = job
        self._env = dict(env)
        self._isolation = isolation
        self._child: subprocess.Popen[bytes] | None = None
        self._pid = 0
        self._pidfd = -1

    def await_ready(self, stop: threading.Event) -> None:
        """A process of this machine can start at once."""

    def start(self) -> None:
        """The script runs. The start must be on record before. Raises OSError when nothing can be started."""
        (self._job.control / "go").touch()
        prefix = _bubblewrap(self._job) if self._isolation == "bubblewrap" else []
        self._child = subprocess.Popen(
            [*prefix, "/bin/sh", str(START), str(self._job.control)],
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._pid = self._child.pid
        self._pidfd = os.pidfd_open(self._pid)
        (self._job.root / "process").write_text(f"{self._pid} {_began(self._pid)}")

    def take_up(self) -> bool:
        """Finds the script that a worker before this one started; returns whether it still runs."""
        try:
            pid, began = (self._job.root / "process").read_text().split()
        except (OSError, ValueError):
            return False
        self._pid = int(pid)
        if _began(self._pid) != began:
            return False
        try:
            self._pidfd = os.pidfd_open(self._pid)
        except OSError:
            return False
        return True

    def wait(self, seconds: float) -> bool:
        """Returns whether the script has ended, at the latest after that time."""
        if self._pidfd < 0:
            return True
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    @property
    def died_by(self) -> int | None:
        """The signal that ended the shell around the script, if one did and this process is its parent."""
        if self._child is None:
            return None
        code = self._child.wait()
        return -code if code < 0 else None

    @property
    def told_elsewhere(self) -> bool:
        return False

    def stop(self) -> None:
        """SIGTERM to all of it."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to all of it, and to what left its process group."""
        self._signal(signal.SIGKILL)
        self.sweep()

    def sweep(self) -> int:
        """Nothing that the script started runs any more; returns how many processes had to be killed."""
        killed = 0
        for _ in range(20):
            left = [*_marked(self._env[MARK])]
            if not left:
                break
            for pid in left:  # first stopped, so that none forks away while the others are killed
                _kill(pid, signal.SIGSTOP)
            for pid in left:
                killed += _kill(pid, signal.SIGKILL)
        return killed

    def reads_input(self) -> bool:
        """Whether a process of the script waits for its standard input."""
        if not self._pid:
            return False
        stdin = (self._job.control / "stdin").stat()
        return any(_reads(pid, stdin) for pid in _session(self._pid))

    def close(self) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        if self._child is not None:
            self._child.wait()

    def _signal(self, signal_: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self._pid:
                os.killpg(self._pid, signal_)


def _kill(pid: int, signal_: signal.Signals) -> int:
    try:
        os.kill(pid, signal_)
    except (ProcessLookupError, PermissionError):
        return 0
    return 1


def _began(pid: int) -> str:
    """When a process began, in clock ticks since boot: with its pid, it is that process and no other."""
    try:
        return _stat(pid)[19]
    except (OSError, IndexError):
        return "gone"


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the command's name: state is 0, session 3, start time 19 (proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _session(leader: int) -> Iterator[int]:
    for pid in _pids():
        with contextlib.suppress(OSError, IndexError):
            if _stat(pid)[3] == str(leader):
                yield pid


def _marked(execution: str) -> Iterator[int]:
    """Processes that carry the execution's mark in their environment, zombies left out."""
    mark = f"{MARK}={execution}".encode()
    for pid in _pids():
        with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
            if mark in file.read(1 << 20).split(b"\0"):
                yield pid


def _reads(pid: int, stdin: os.stat_result) -> bool:
    """Whether a process is inside read(0, …) on that pipe.

    Source: proc(5), /proc/PID/syscall; read is 0 on x86-64 and 63 on arm64.
    """
    try:
        call = Path(f"/proc/{pid}/syscall").read_text().split()
        if call[0] not in ("0", "63") or call[1] != "0x0":
            return False
        found = os.stat(f"/proc/{pid}/fd/0")
    except (OSError, IndexError):
        return False
    return (found.st_dev, found.st_ino) == (stdin.st_dev, stdin.st_ino)


@functools.cache
def find_isolation(wanted: str) -> str:
    """`bubblewrap` where it was asked for and works, else `none`, with a word in the log."""
    if wanted == "none":
        return wanted
    program = shutil.which("bwrap")
    if program is not None:
        tried = subprocess.run(
            [program, "--ro-bind", "/", "/", "--unshare-pid", "--proc", "/proc", "--dev", "/dev", "true"],
            capture_output=True,
            check=False,
        )
        if tried.returncode == 0:
            return "bubblewrap"
    if wanted == "bubblewrap":
        raise OSError("bubblewrap was asked for and does not work here")
    log.warning("scripts run with this user's rights: bubblewrap is not there", extra={"action": "no_isolation"})
    return "none"


def _bubblewrap(job: JobDir) -> list[str]:
    """The file system read-only but for the job's own directory; keruta's other directories are not there at all."""
    private = str(job.root.parent.parent)
    return [
        "bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--unshare-pid", "--proc", "/proc", "--tmpfs", "/tmp",  # noqa: S108  its own
        "--tmpfs", private, "--bind", str(job.root), str(job.root), "--ro-bind", str(job.documents), str(job.documents),
        "--ro-bind", str(START), str(START), "--",
    ]  # fmt: skip
