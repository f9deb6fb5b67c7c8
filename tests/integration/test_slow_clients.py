"""Clients that send or take an answer slowly, at the real servers of admin and of functions."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.support.mongod import free_port

SERVERS = {
    "admin": [
        "gunicorn", "--worker-class=keruta.http.serving.Worker", "--threads=2", "--bind=127.0.0.1:{port}",
        "--no-control-socket", "tests.support.slow_clients:app",
    ],
    "a function": [
        "functions", "--target=app", "--source=tests/support/slow_function.py", "--host=127.0.0.1", "--port={port}",
    ],
}  # fmt: skip


@pytest.fixture(scope="module", params=list(SERVERS))
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server with two threads, which leaves nothing in the user's directories."""
    port = free_port()
    home = tmp_path_factory.mktemp("home")
    environ = {**os.environ, "THREADS": "2", "HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
    command = [sys.executable, "-m", *(part.format(port=port) for part in SERVERS[request.param])]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environ) as server:
        try:
            until = time.monotonic() + 20
            while asked(port) is None:
                assert time.monotonic() < until
            yield port
            assert not list(home.iterdir())
        finally:
            server.terminate()


def asked(port: int) -> bytes | None:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: connection.recv(4096), b""))
    return None


BODY = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "then"),
    [(b"GET / HTTP/1.1\r\nX: ", b"x"), (BODY, b"x"), (BODY, b""), (b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n", b"")],
    ids=["a header byte by byte", "a body byte by byte", "no body", "an answer that nobody takes"],
)
def test_nobody_holds_a_thread_for_as_long_as_they_like(port: int, sent: bytes, then: bytes) -> None:
    """All threads are held, and another client is answered soon all the same."""
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10)) for _ in range(2)]
        for one in slow:
            one.sendall(sent)
        if then:
            until = time.monotonic() + 1.5
            while time.monotonic() < until:
                with contextlib.suppress(ConnectionError):
                    for one in slow:
                        one.sendall(then)
                time.sleep(0.1)

        answer = asked(port)

    assert answer is not None
    assert b"here" in answer
