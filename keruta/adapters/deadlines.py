"""One deadline for a whole exchange with another server, however it doles out its answer.

urllib3's time-outs bound each read: a byte now and then goes on for ever. Here a connection is shut down when the time
of what it is used for is over; whoever reads from it then finds its end.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from keruta.adapters.background import Background

WATCHED_MOST = 10_000  # not yet seen by the thread; beyond them urllib3's own time-outs are all there is

_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


class Deadline:
    """The end of one exchange, and the connections that it uses."""

    def __init__(self) -> None:
        self.passed = False
        self._lock = threading.Lock()
        self._connections: list[socket.socket] = []

    def uses(self, connection: socket.socket) -> None:
        """This one is shut down at the end; by a descriptor of its own, which no handshake takes away."""
        copy = socket.socket(fileno=os.dup(connection.fileno()))
        with self._lock:
            self._connections.append(copy)
        if self.passed:
            self.end()

    def end(self) -> None:
        """The time is over."""
        with self._lock:
            self.passed = True
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """The exchange is over."""
        with self._lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()


class _Clock:
    """Ends deadlines when they are due, all of a process in one thread."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Deadline]] = []
        self._numbers = itertools.count()
        self._work: Background[tuple[float, int, Deadline]] = Background(
            "deadlines", self._note, limit=WATCHED_MOST, look=self._end_due, look_seconds=self._left
        )

    def add(self, deadline: Deadline, seconds: float) -> None:
        self._work.put((time.monotonic() + seconds, next(self._numbers), deadline))

    def _note(self, due: tuple[float, int, Deadline]) -> None:
        heapq.heappush(self._due, due)

    def _left(self) -> float | None:
        return max(self._due[0][0] - time.monotonic(), 0) if self._due else None

    def _end_due(self) -> None:
        while self._due and self._due[0][0] <= time.monotonic():
            heapq.heappop(self._due)[2].end()


_clock = _Clock()


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[Deadline]:
    """What is asked through the pools below, by this thread, is cut off after so many seconds."""
    made = Deadline()
    token = _current.set(made)
    _clock.add(made, seconds)
    try:
        yield made
    finally:
        _current.reset(token)
        made.close()


class _Watched:
    """A connection of urllib3's that the deadline of whoever uses it ends."""

    sock: socket.socket | None

    def _new_conn(self) -> socket.socket:
        made: socket.socket = super()._new_conn()  # type: ignore[misc]
        if (current := _current.get()) is not None:
            current.uses(made)
        return made

    def request(self, *given: Any, **options: Any) -> None:
        if (current := _current.get()) is not None and self.sock is not None:
            current.uses(self.sock)  # one that was kept from an exchange before
        super().request(*given, **options)  # type: ignore[misc]


class _Http(_Watched, HTTPConnection):
    pass


class _Https(_Watched, HTTPSConnection):
    pass


class HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Http


class HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Https


POOLS = {"http": HttpPool, "https": HttpsPool}
