"""Notices a Git that asks a server and gets next to nothing, byte by byte, for a long time.

libcurl's low-speed limit and `ssh_guard` end a server that is silent. One that sends a byte now and then passes both:
as much comes from a healthy one that packs objects and sends keepalives. Only how long it goes on tells them apart.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

# Commands that ask a server.
NETWORK = frozenset({"fetch", "ls-remote", "submodule"})
BYTES_A_SECOND = 100  # that Git's processes pass on to each other and to files; each received byte counts about thrice
CPU_SHARE = 0.01  # of one CPU: a Git that resolves deltas or checks files out waits for no server
LOOKS = 10  # in the whole time
_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")


def asks_a_server(arguments: Collection[str]) -> bool:
    """Return whether Git's arguments have it ask a server."""
    return not NETWORK.isdisjoint(arguments)


class Slowness:
    """Says when a process group has done next to nothing for so many seconds.

    Args:
        group: the id of the process group.
        seconds: how long that must be so.
        measure: the work of its processes until now, by process: bytes that were written, and CPU seconds.
    """

    def __init__(
        self, group: int, seconds: float, *, clock: Callable[[], float] = time.monotonic,
        measure: Callable[[int], dict[int, tuple[int, float]]] | None = None,
    ) -> None:  # fmt: skip
        self._group = group
        self._seconds = seconds
        self._clock = clock
        self._measure = measure or work_of
        self._looks: list[tuple[float, int, float]] = [(clock(), 0, 0.0)]
        self._before: dict[int, tuple[int, float]] = {}

    def reached(self) -> bool:
        """Return whether the time is up. Looks at the processes once in a tenth of it."""
        now = self._clock()
        at, written, cpu = self._looks[-1]
        if now - at < self._seconds / LOOKS:
            return False
        work = self._measure(self._group)
        for process, (its_bytes, its_cpu) in work.items():
            bytes_before, cpu_before = self._before.get(process, (0, 0.0))
            written, cpu = written + its_bytes - bytes_before, cpu + its_cpu - cpu_before
        self._before = work
        self._looks.append((now, written, cpu))
        while now - self._looks[1][0] >= self._seconds:
            del self._looks[0]
        return bool(work) and _slow(self._looks, self._seconds)


def _slow(looks: Sequence[tuple[float, int, float]], seconds: float) -> bool:
    (began, bytes_then, cpu_then), (now, bytes_now, cpu_now) = looks[0], looks[-1]
    took = now - began
    return took >= seconds and bytes_now - bytes_then < BYTES_A_SECOND * took and cpu_now - cpu_then < CPU_SHARE * took


def work_of(group: int) -> dict[int, tuple[int, float]]:
    """Return what each process of a group has written and used of the CPU; nothing where the kernel does not say.

    Source: proc_pid_io(5), proc_pid_stat(5)
    """
    found: dict[int, tuple[int, float]] = {}
    for name in os.listdir(_PROC):
        if not name.isdecimal():
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):  # it has ended, or is another user's
            fields = (_PROC / name / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
            if int(fields[2]) == group:
                lines = (line.split() for line in (_PROC / name / "io").read_text().splitlines())
                written = next(int(count) for key, count in lines if key == "wchar:")
                found[int(name)] = (written, (int(fields[11]) + int(fields[12])) / _TICKS)
    return found
