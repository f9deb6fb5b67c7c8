"""A script as processes of this machine: started in a session of its own, told to end, killed with all it left behind.

With a fence (`agent.runners.process.fence`) it has a file system and a process space of its own, which the kernel ends
with it. Without one this is no boundary: the script has this user's rights, and what it leaves behind is found because
`start.sh` is its subreaper, and by a mark in its environment.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from agent.attempt.directory import JobDir
from agent.attempt.script_environment import PATH_DEFAULT
from agent.runners.process.fence import INSIDE, Fence, in_memory

START = Path(__file__).parents[2] / "attempt" / "start.sh"
MARK = "KERUTA_EXECUTION"
GONE_SECONDS = 5.0
FREEZE_ROUNDS = 50
_PR_SET_CHILD_SUBREAPER = 36
_CHILD = re.compile(rb'"child-pid": *([0-9]+)')

_libc = ctypes.CDLL(None, use_errno=True)


class ProcessScript:
    """One attempt's script.

    Args:
        job: its directory.
        env: its environment; must hold `KERUTA_EXECUTION`, by which strays are found.
        fence: what keeps it apart, if anything does.
        closed: whether it has no network.
    """

    def __init__(self, job: JobDir, env: Mapping[str, str], fence: Fence | None, *, closed: bool = False) -> None:
        self._job = job
        self._closed = closed
        self._env = dict(env)
        self._fence = fence
        self._child: subprocess.Popen[bytes] | None = None
        self._pid = 0
        self._pidfd = -1
        self._stopping = False
        self._told = 0  # the process group inside the fence that was told to end

    def await_ready(self, stop: threading.Event) -> None:
        """A process of this machine can start at once."""

    def start(self) -> None:
        """The script runs. The start must be on record before. Raises OSError when nothing can be started."""
        self._job.let_start()
        fence = self._fence
        arguments = subprocess.DEVNULL if fence is None else in_memory(self._fenced(fence))
        try:
            self._child = subprocess.Popen(
                ["/bin/sh", str(START), str(self._job.given), str(self._job.control)],
                env=self._start_environment(),
                stdin=arguments,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=_become_subreaper if fence is None else None,
            )
        finally:
            if fence is not None:
                os.close(arguments)
        self._pid = self._child.pid
        self._pidfd = os.pidfd_open(self._pid)
        (self._job.root / "process").write_text(f"{self._pid} {_began(self._pid)}")

    def _fenced(self, fence: Fence) -> bytes:
        return fence.arguments(self._job, self._env, closed=self._closed)

    def _start_environment(self) -> dict[str, str]:
        """Return the environment of `start.sh` itself. Inside a fence, the fence sets the script's environment."""
        if self._fence is None:
            return {**self._env, "KERUTA_SUBREAPER": "1"}
        return {
            "PATH": PATH_DEFAULT,
            "KERUTA_FENCE": self._fence.program,
            "KERUTA_GIVEN": str(self._job.seen_at(INSIDE).given),
            MARK: self._env[MARK],  # by which bubblewrap's processes are known: a number alone may be another's by now
        }

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
        if self._stopping and self._fence is not None:
            self._tell_inside()  # it may not have been there yet, or its check may have begun since
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
        """SIGTERM to the script; not to what runs it, which is to write down how it ended."""
        self._stopping = True
        if self._fence is None:
            self._signal(signal.SIGTERM)
        else:
            self._tell_inside()

    def kill(self) -> None:
        """SIGKILL to all of it, and to what left its process group."""
        if self._fence is None and self._pid:
            _end_descendants(self._pid)
        self._signal(signal.SIGKILL)
        self.sweep()

    def freeze(self) -> None:
        """Stop every process of the script, again until none is left that another has started meanwhile."""
        for _ in range(FREEZE_ROUNDS):
            moving = [pid for pid in self._all() if not _is_stopped(pid)]
            if not moving:
                return
            for pid in moving:
                _kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        for pid in self._all():
            _kill(pid, signal.SIGCONT)

    def _all(self) -> list[int]:
        """The processes of the script, without the shell around it."""
        if self._fence is not None:
            inside = self._inside()
            return [*_same_space(inside)] if inside else []
        children = _descendants(self._pid) if self._pid else set()  # of 0 every process of the machine descends
        return sorted({*children, *_marked(self._env[MARK])} - {self._pid})

    def sweep(self) -> int:
        """Kill every process that the script started and left; return their number."""
        if self._fence is not None:
            self._await_end_inside()
            return 0
        killed = 0
        for _ in range(20):
            left = [*_marked(self._env[MARK])]
            if not left:
                break
            killed += _end_all(left)
        return killed

    def _tell_inside(self) -> None:
        inside = self._inside()
        if inside and inside != self._told and _signal_group(inside, signal.SIGTERM):
            self._told = inside

    def _inside(self) -> int:
        """The first process inside the fence, which leads a session of its own there; 0 where there is none yet."""
        found = _CHILD.search(self._job.fence_state())
        return int(found[1]) if found and _is_marked(int(found[1]), self._env[MARK]) else 0

    def _await_end_inside(self) -> None:
        """The kernel ends what is inside with its first process; that takes a moment."""
        until = time.monotonic() + GONE_SECONDS
        while (inside := self._inside()) and time.monotonic() < until:
            _kill(inside, signal.SIGKILL)
            time.sleep(0.001)

    def reads_input(self) -> bool:
        """Return whether a process of the script waits for its standard input."""
        if not self._pid:
            return False
        try:
            stdin = os.fstat(descriptor := self._job.open_stdin())
            os.close(descriptor)
        except OSError:
            return False
        pids = _session(self._pid) if self._fence is None else _same_space(self._inside())
        return any(_reads(pid, stdin) for pid in pids)

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


def _end_all(pids: list[int]) -> int:
    """Kill processes; first all are stopped, so that none forks away while the others are killed."""
    for pid in pids:
        _kill(pid, signal.SIGSTOP)
    return sum(_kill(pid, signal.SIGKILL) for pid in pids)


def _end_descendants(root: int) -> None:
    """Kill all that descends from a process, but not itself: while it lives, it is the subreaper of what is left."""
    for _ in range(200):
        found = _descendants(root)
        if not found:
            return
        _end_all(sorted(found))


def _descendants(root: int) -> set[int]:
    """Return the processes that descend from a process, zombies left out."""
    parents: dict[int, int] = {}
    for pid in _pids():
        with contextlib.suppress(OSError, IndexError, ValueError):
            state, parent = _stat(pid)[:2]
            if state not in "ZX":
                parents[pid] = int(parent)
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {root}


def _is_stopped(pid: int) -> bool:
    """Return whether a process stands still, or is gone."""
    try:
        return _stat(pid)[0] in "TtZX"
    except (OSError, IndexError):
        return True


def _signal_group(group: int, signal_: signal.Signals) -> bool:
    """Send a signal to a process group; returns whether there is one."""
    try:
        os.killpg(group, signal_)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _become_subreaper() -> None:
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _same_space(first: int) -> Iterator[int]:
    """The processes of a process space, by the first of them."""
    try:
        space = os.readlink(f"/proc/{first}/ns/pid")
    except OSError:
        return
    for pid in _pids():
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/ns/pid") == space:
                yield pid


def _began(pid: int) -> str:
    """Return a process's start in clock ticks since boot, which together with its pid identifies it."""
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
    return (pid for pid in _pids() if _is_marked(pid, execution))


def _is_marked(pid: int, execution: str) -> bool:
    mark = f"{MARK}={execution}".encode()
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return mark in file.read(1 << 20).split(b"\0")
    except OSError:
        return False


def _reads(pid: int, stdin: os.stat_result) -> bool:
    """Return whether a process waits in read(0, …) on that pipe.

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
