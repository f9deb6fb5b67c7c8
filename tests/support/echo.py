"""A service behind a gateway, by hand: it says byte for byte what reached it, and answers as its path says."""

from __future__ import annotations

import contextlib
import gzip
import json
import socketserver
import threading
from types import TracebackType
from typing import Any, Self

GZIPPED = gzip.compress(b"packed by the service", mtime=0)
ANSWERS: dict[str, bytes] = {
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "304": b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n',
    "gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(GZIPPED), GZIPPED),
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Late: 1\r\n\r\n",
    "hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "hop": b"HTTP/1.1 200 OK\r\nConnection: X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=9\r\nX-Kept: 1\r\n"
    b"Content-Length: 2\r\n\r\nok",
    "until-closed": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall that there is",
    "two-cookies": b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n",
    "untyped": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "bad-request": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno",
    "redirect": b"HTTP/1.1 302 Found\r\nLocation: /elsewhere?x=1\r\nContent-Length: 0\r\n\r\n",
}


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server: Any = self.server
        with contextlib.suppress(ConnectionError, ValueError):
            while (line := self.rfile.readline()).strip():
                self.one(line, server.echo)
                if server.echo.closes:
                    return

    def one(self, line: bytes, echo: Echo) -> None:
        method, path, _ = line.decode("latin-1").split()
        headers = []
        while (header := self.rfile.readline()).strip():
            name, _, value = header.decode("latin-1").partition(":")
            headers.append((name.lower(), value.strip()))
        seen = {
            "method": method,
            "target": path,
            "headers": headers,
            "body": self.body(dict(headers)).decode("latin-1"),
        }
        echo.seen.append(seen)
        what = path.partition("?")[0].rpartition("/")[2]
        if what == "stream":
            return self.stream(echo)
        answer = ANSWERS.get(what)
        if answer is None:
            said = json.dumps(seen).encode()
            answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(said)
            answer += said
        if method == "HEAD":
            answer = answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        self.wfile.write(answer)
        if what == "until-closed":
            raise ConnectionError
        return None

    def stream(self, echo: Echo) -> None:
        """One event; the next when the test says so; then notes when the reader has gone."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        self.connection.settimeout(20)
        with contextlib.suppress(TimeoutError):
            try:
                if echo.go_on.wait(20):
                    self.wfile.write(b"data: 2\n\n")
                gone = self.rfile.read(1) == b""
            except ConnectionError:
                gone = True
            if gone:
                echo.reader_gone.set()
        raise ConnectionError

    def body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() != "chunked":
            wanted = int(headers.get("content-length", 0))
            body = self.rfile.read(wanted)
            if len(body) < wanted:
                raise ConnectionError  # as every server sees it: the request was cut off
            return body
        found = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return found


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class Echo:
    """The service, while it is entered; `seen` are the requests that reached it."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._server: Any = _Server((host, 0), _Handler)
        self._server.echo = self
        self.port: int = self._server.server_address[1]
        self.reset()

    def reset(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.go_on, self.reader_gone = threading.Event(), threading.Event()
        self.closes = False

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()
