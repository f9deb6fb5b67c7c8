"""gunicorn's threads, which no client holds for as long as it likes: by sending slowly, or by taking slowly.

gunicorn waits without end for the rest of a request, and until an answer has been taken.
"""

from __future__ import annotations

import errno
import socket
import time
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

QUIET_SECONDS = 60.0  # without a byte of a request; and until a part of an answer has been taken
REQUEST_SECONDS = 180.0  # for a whole request, with its body
UPLOAD_SECONDS = 3600.0
LOOK_SECONDS = 1.0  # between two signs of life to the process that started this one; it waits for 30 seconds


class BoundedSocket:
    """A client's connection, whose every wait has an end.

    Args:
        real: the connection; what is not here is the connection's own.
        request_seconds: for a whole request, with its body.
    """

    def __init__(self, real: socket.socket, request_seconds: float) -> None:
        self._real = real
        self._request_seconds = request_seconds
        self._ends_at = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def setblocking(self, flag: bool) -> None:
        """Begin to wait for a request, where `flag` is set."""
        self._real.settimeout(QUIET_SECONDS if flag else 0.0)
        self._ends_at = time.monotonic() + self._request_seconds

    def recv(self, size: int) -> bytes:
        """Raises ConnectionResetError where a client is too slow."""
        before = self._real.gettimeout()
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise _too_slow()
        self._real.settimeout(left if before is None else min(before, left))
        try:
            return self._real.recv(size)
        except TimeoutError as error:
            raise _too_slow() from error
        finally:
            self._real.settimeout(before)

    def sendall(self, data: bytes) -> None:
        """Raises ConnectionResetError where a client is too slow."""
        try:
            self._real.sendall(data)
        except TimeoutError as error:
            raise _too_slow() from error


def _too_slow() -> ConnectionResetError:
    return ConnectionResetError(errno.ECONNRESET, "the client is too slow")


class Worker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's worker with threads, on bounded connections."""

    request_seconds: float | None = None  # None: REQUEST_SECONDS
    _notified_at = -LOOK_SECONDS

    def notify(self) -> None:
        """Give a sign of life, at most once in a second: gunicorn calls this for each event of a connection."""
        now = time.monotonic()
        if now - self._notified_at >= LOOK_SECONDS:
            self._notified_at = now
            super().notify()

    def handle(self, conn: TConn) -> Any:
        if not isinstance(conn.sock, BoundedSocket):
            conn.sock = BoundedSocket(conn.sock, self.request_seconds or REQUEST_SECONDS)
        return super().handle(conn)


class UploadWorker(Worker):
    """The same for a function that takes large files: they may be long on their way, as long as they come."""

    request_seconds = UPLOAD_SECONDS
