"""A small HTTP server on loopback, for one attempt's script."""

from __future__ import annotations

import http.server
import logging
import threading
from typing import Any

log = logging.getLogger(__name__)

CONNECTIONS = 32


class LoopbackServer(http.server.ThreadingHTTPServer):
    """A thread for each connection, and no more of them than a script needs: any user of the machine may connect."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[http.server.BaseHTTPRequestHandler]) -> None:
        self._free = threading.BoundedSemaphore(CONNECTIONS)
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
        log.info("a connection to the loopback server broke off", extra={"action": "connection_broken"})
