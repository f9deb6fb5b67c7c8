"""A small HTTP server for this machine's or this Pod's own use: a bounded number of connections, and no traceback."""

from __future__ import annotations

import contextlib
import http.server
import logging
import socket
import threading
from collections.abc import Mapping
from typing import Any

log = logging.getLogger(__name__)

CONNECTIONS = 32  # more than the programs of one script open


class OneAnswerHandler(http.server.BaseHTTPRequestHandler):
    """One request for each connection, and nothing of it in a log: its line is the script's."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "keruta", ""

    def body(self, limit: int) -> bytes | None:
        """Return the request's body; None where it has no length, or more bytes than the limit."""
        try:
            length = int(self.headers.get("Content-Length", "-1"))
        except ValueError:
            length = -1
        return self.rfile.read(length) if 0 <= length <= limit else None

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the answer's status and headers; the connection ends with the answer."""
        self.close_connection = True
        self.send_response(status)
        for name, value in {**headers, "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class BoundedServer(http.server.ThreadingHTTPServer):
    """A thread for each connection, and no more than so many: whoever reaches the address may connect.

    Args:
        connections: how many are served at once; one more is closed at once.
        name: what serves, for the log.
    """

    daemon_threads = True

    def __init__(
        self,
        address: tuple[str, int],
        handler: type[http.server.BaseHTTPRequestHandler],
        *,
        connections: int = CONNECTIONS,
        name: str,
    ) -> None:
        self._free = threading.BoundedSemaphore(connections)
        self._name = name
        super().__init__(address, handler)

    def close(self) -> None:
        """Serve no more. `serve_forever` is woken: by itself it looks twice a second whether it is to end."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.shutdown()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.info("a connection to %s broke off", self._name, extra={"action": "connection_broken"})
