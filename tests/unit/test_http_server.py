"""The agent's small HTTP server: how many connections it serves, and what it says of one that breaks off."""

from __future__ import annotations

import http.server
import logging
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from agent.http_server import BoundedServer


class Slow(http.server.BaseHTTPRequestHandler):
    """Answers once it is let go."""

    go: threading.Event

    def do_GET(self) -> None:
        self.go.wait(10)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"x" * 1_000_000)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[BoundedServer]:
    Slow.go = threading.Event()
    made = BoundedServer(("127.0.0.1", 0), Slow, connections=1, name="a test")
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    Slow.go.set()
    made.shutdown()
    thread.join()
    made.server_close()


def connect(server: BoundedServer) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", server.server_port), 10)
    made.sendall(b"GET / HTTP/1.0\r\n\r\n")
    return made


def test_a_connection_too_many_is_closed(server: BoundedServer) -> None:
    with connect(server) as first, connect(server) as second:
        try:
            assert second.recv(100) == b""
        except ConnectionResetError:
            pass
        Slow.go.set()
        assert first.recv(100).startswith(b"HTTP/1.0 200")


def test_a_connection_that_breaks_off_is_a_line_in_the_log(
    server: BoundedServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    broken = connect(server)
    broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset, not closed in order
    broken.close()
    Slow.go.set()
    until = time.monotonic() + 10
    while "broke off" not in caplog.text and time.monotonic() < until:
        time.sleep(0.01)

    assert "a connection to a test broke off" in caplog.text
    assert "Traceback" not in capfd.readouterr().err
