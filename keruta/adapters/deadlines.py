"""One deadline for a whole exchange with another server, however it doles out its answer.

urllib3's time-outs bound each read: a byte now and then goes on for ever. Here a connection is shut down when the time
of what it is used for is over; whoever reads from it then finds its end. Looking up a name, and trying one address of a
host after another, lie within the same time.
"""

from __future__ import annotations

import contextlib
import heapq
import ipaddress
import itertools
import os
import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from keruta.adapters.background import Background

LOOKUPS_MOST = 32  # at once; one that a name server does not answer goes on after its asker has given up
ADDRESSES_MOST = 8  # of one host, that are tried
WATCHED_MOST = 10_000  # not yet seen by the thread; beyond them urllib3's own time-outs are all there is

_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


class Deadline:
    """The end of one exchange, and the connections that it uses."""

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._ends_at = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._connections: list[socket.socket] = []

    @property
    def seconds_left(self) -> float:
        return max(self._ends_at - time.monotonic(), 0.0)

    def uses(self, connection: socket.socket) -> None:
        """Shut this connection down at the deadline, by a duplicate of its descriptor that no handshake replaces."""
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
    """Cut off this thread's requests through the pools below after this many seconds."""
    made = Deadline(seconds)
    token = _current.set(made)
    _clock.add(made, seconds)
    try:
        yield made
    finally:
        _current.reset(token)
        made.close()


_lookups = threading.BoundedSemaphore(LOOKUPS_MOST)


def addresses_of(host: str, port: int, seconds: float) -> list[str]:
    """The addresses of a host. Raises OSError, TimeoutError when they are not known in time."""
    with contextlib.suppress(ValueError):
        return [str(ipaddress.ip_address(host.strip("[]")))]
    ends_at = time.monotonic() + seconds
    if not _lookups.acquire(timeout=seconds):
        raise TimeoutError("the address of a host was not looked up in time")
    answer: queue.SimpleQueue[list[str] | OSError] = queue.SimpleQueue()

    def look() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answer.put(list(dict.fromkeys(str(row[4][0]) for row in found)))
        except (OSError, UnicodeError) as error:
            answer.put(error if isinstance(error, OSError) else socket.gaierror(socket.EAI_NONAME, str(error)))
        finally:
            _lookups.release()

    threading.Thread(target=look, name="look-up", daemon=True).start()
    try:
        found = answer.get(timeout=max(ends_at - time.monotonic(), 0.001))
    except queue.Empty:
        raise TimeoutError("the address of a host was not looked up in time") from None
    if isinstance(found, OSError):
        raise found
    return found


def watch(connection: socket.socket) -> None:
    """Shut a connection down at this thread's deadline, if it has one."""
    if (current := _current.get()) is not None:
        current.uses(connection)


def time_left(most: float) -> float:
    """Return the seconds left of this thread's deadline, at most the given number."""
    current = _current.get()
    return most if current is None else min(most, current.seconds_left)


class _Watched:
    """A connection of urllib3's that the deadline of whoever uses it ends."""

    sock: socket.socket | None
    timeout: Any
    port: Any
    _dns_host: str

    def _new_conn(self) -> socket.socket:
        current = _current.get()
        if current is None:
            made: socket.socket = super()._new_conn()  # type: ignore[misc]
            return made
        host, timeout = self._dns_host, self.timeout
        try:
            addresses = addresses_of(host, self.port, current.seconds_left)
        except TimeoutError as error:
            raise ConnectTimeoutError(self, str(error)) from error
        except socket.gaierror as error:
            raise NameResolutionError(host, self, error) from error  # type: ignore[arg-type]
        try:
            return self._connected(current, addresses[:ADDRESSES_MOST])
        finally:
            self._dns_host, self.timeout = host, timeout

    def _connected(self, current: Deadline, addresses: list[str]) -> socket.socket:
        """A connection to the first address that takes one, within what is left of the time."""
        for address in addresses:
            left = current.seconds_left
            self._dns_host = address
            self.timeout = min(self.timeout, left) if isinstance(self.timeout, int | float) else left
            try:
                made: socket.socket = super()._new_conn()  # type: ignore[misc]
            except (ConnectTimeoutError, NewConnectionError):
                if address == addresses[-1] or not current.seconds_left:
                    raise
                continue
            current.uses(made)
            return made
        raise ConnectTimeoutError(self, "the host has no address")

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
