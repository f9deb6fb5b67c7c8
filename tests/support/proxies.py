"""Servers that stand between two parts and misbehave."""

from __future__ import annotations

import http.client
import http.server
import random
import threading
import time
from types import TracebackType
from urllib.parse import urlsplit


class Proxy:
    """Passes requests on to an address that is set later.

    Args:
        lose: how often an answer is lost after the work was done.
        double: how often a request is made twice.
        delay_seconds: the most that a request is held back, so that requests overtake each other.
    """

    def __init__(
        self, *, lose: float = 0, double: float = 0, delay_seconds: float = 0, answer_first: bool = False
    ) -> None:
        self.target = ""
        self.passed = self.lost = self.doubled = 0
        self._rng = random.Random(11)
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if answer_first:  # as a broker does
                    self.send_response(202)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    threading.Thread(
                        target=proxy._later, args=(self.path, dict(self.headers), body, delay_seconds, double)
                    ).start()
                    return
                if proxy._rng.random() < double:
                    proxy.doubled += 1
                    proxy._pass(self.command, self.path, dict(self.headers), body)
                answer = proxy._pass(self.command, self.path, dict(self.headers), body)
                if proxy._rng.random() < lose and self.command == "POST":
                    proxy.lost += 1
                    self.close_connection = True
                    return
                if answer is None:
                    self.close_connection = True
                    return
                status, content = answer
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PUT = do_POST  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _later(self, path: str, headers: dict[str, str], body: bytes, delay_seconds: float, double: float) -> None:
        times = 2 if self._rng.random() < double else 1
        self.doubled += times - 1
        for _ in range(times):
            time.sleep(self._rng.random() * delay_seconds)
            self._pass("POST", path, headers, body)

    def _pass(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes] | None:
        parts = urlsplit(self.target)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=30)
        try:
            connection.request(
                method, path, body, {n: v for n, v in headers.items() if n.lower() not in ("host", "connection")}
            )
            response = connection.getresponse()
            self.passed += 1
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
