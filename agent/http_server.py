"""A small HTTP server for this machine's or this Pod's own use: a bounded number of connections, and no traceback."""

from __future__ import annotations

import http.server
import logging
import threading
from typing import Any

log = logging.getLogger(__name__)

CONNECTIONS = 32  # more than the programs of one script open


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
