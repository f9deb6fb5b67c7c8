"""Servers that stand between two parts and misbehave."""

from __future__ import annotations

import contextlib
import http.client
import random
import selectors
import socket
import threading
import time
from base64 import b64encode
from urllib.parse import urlsplit

from tests.support.serving import Quiet, Serving


class Proxy(Serving):
    """Passes requests on to an address that is set later.

    Args:
        lose: how often an answer is lost after the work was done.
        double: how often a request is made twice.
        loses: the methods whose answers may be lost.
        delay_seconds: the most that a request is held back, so that requests overtake each other.
    """

    def __init__(
        self,
        *,
        lose: float = 0,
        double: float = 0,
        delay_seconds: float = 0,
        answer_first: bool = False,
        loses: tuple[str, ...] = ("POST",),
    ) -> None:
        self.target = ""
        self.passed = self.lost = self.doubled = 0
        self._rng = random.Random(11)
        proxy = self

        class Handler(Quiet):
            def do_POST(self) -> None:
                body = self.body()
                if answer_first:  # as a broker does
                    self.answer(202)
                    threading.Thread(
                        target=proxy._later, args=(self.path, dict(self.headers), body, delay_seconds, double)
                    ).start()
                    return
                if proxy._rng.random() < double:
                    proxy.doubled += 1
                    proxy._pass(self.command, self.path, dict(self.headers), body)
                answer = proxy._pass(self.command, self.path, dict(self.headers), body)
                if proxy._rng.random() < lose and self.command in loses:
                    proxy.lost += 1
                    self.close_connection = True
                    return
                if answer is None:
                    self.close_connection = True
                    return
                status, content = answer
                self.answer(status, content)

            do_GET = do_PUT = do_DELETE = do_POST  # noqa: N815

        super().__init__(Handler)

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


class ConnectProxy(Serving):
    """A forward proxy for https, as a company has one: it makes tunnels, and notes to where.

    Args:
        login: what it asks everyone for, as USER:PASSWORD.
    """

    def __init__(self, login: str = "") -> None:
        self.tunnels: list[str] = []
        proxy = self

        class Handler(Quiet):
            def do_CONNECT(self) -> None:
                given = self.headers.get("Proxy-Authorization", "")
                if login and given != f"Basic {b64encode(login.encode()).decode()}":
                    self.answer(407, b"", {"Proxy-Authenticate": 'Basic realm="company"'})
                    return
                proxy.tunnels.append(self.path)
                host, _, port = self.path.rpartition(":")
                try:
                    other = socket.create_connection((proxy.names.get(host, host.strip("[]")), int(port)), timeout=10)
                except OSError:
                    self.answer(502)
                    return
                self.send_response(200)
                self.end_headers()
                self.close_connection = True
                with other, contextlib.suppress(OSError):
                    _join(self.connection, other)

        self.names: dict[str, str] = {}  # what only the proxy can resolve
        super().__init__(Handler)


def _join(one: socket.socket, other: socket.socket) -> None:
    """Passes bytes on in both directions until either side ends."""
    with selectors.DefaultSelector() as waiting:
        waiting.register(one, selectors.EVENT_READ, other)
        waiting.register(other, selectors.EVENT_READ, one)
        while True:
            for key, _ in waiting.select(30):
                content = key.fileobj.recv(65536)  # type: ignore[union-attr]
                if not content:
                    return
                key.data.sendall(content)
