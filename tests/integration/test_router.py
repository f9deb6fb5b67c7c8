"""The router of one machine keeps the contract that the cluster's gateway keeps."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from keruta.local.knative_emulator import Config, StandIn
from keruta.local.manifests import Manifests, load
from keruta.local.router import Router
from tests.support.echo import Echo
from tests.support.gateway_contract import Gateway, GatewayContract

BASE = Path(__file__).parents[2] / "knative" / "base"
HOST = "keruta.example.com"


async def _serve(echo: Echo, ready: threading.Event, port: list[int], end: asyncio.Event) -> None:
    manifests = load(BASE)
    services = dict.fromkeys(manifests.services, f"http://127.0.0.1:{echo.port}")
    async with aiohttp.ClientSession(auto_decompress=False) as client:
        router = Router(client, manifests, services)
        server = await asyncio.get_running_loop().create_server(router.server(), "127.0.0.1", 0)
        port.append(server.sockets[0].getsockname()[1])
        ready.set()
        await end.wait()
        server.close()


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[int, Echo]]:
    loop, ready, port, end = asyncio.new_event_loop(), threading.Event(), [], asyncio.Event()
    with Echo() as echo:
        thread = threading.Thread(target=lambda: loop.run_until_complete(_serve(echo, ready, port, end)))
        thread.start()
        assert ready.wait(20)
        yield port[0], echo
        loop.call_soon_threadsafe(end.set)
        thread.join(20)
        loop.close()


@pytest.fixture
def gateway(served: tuple[int, Echo]) -> Gateway:
    served[1].reset()
    return Gateway(("127.0.0.1", served[0]), HOST, served[1])


class TestRouter(GatewayContract):
    """Each fact of the contract, on the router."""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[int]:
    """The port of a broker without triggers; its token is `token`."""
    token = tmp_path / "token"
    token.write_text("token")
    config = Config(manifests="", services={}, public_port=0, broker_port=0, token_file=str(token))
    stand_in = StandIn(config, Manifests(services={}, triggers=(), pings=(), rules=()))
    loop, ready, end, port = asyncio.new_event_loop(), threading.Event(), asyncio.Event(), []

    async def serve() -> None:
        server = await loop.create_server(stand_in.broker(), "127.0.0.1", 0)
        port.append(server.sockets[0].getsockname()[1])
        ready.set()
        await end.wait()
        server.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(20)
    yield port[0]
    loop.call_soon_threadsafe(end.set)
    thread.join(20)
    loop.close()


def _reset_in_mid_body(port: int, path: str) -> None:
    """Send half of a request's body, then a reset, as a process does that is killed with unread data."""
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer token\r\nce-type: t\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(head.encode() + b"Content-Length: 100\r\n\r\n" + b"x" * 50)
        time.sleep(0.1)  # the server is in the handler now, waiting for the other half
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _answers(port: int) -> None:
    """Wait for an answer on another connection, so that the server has noticed the reset."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(f"GET /none HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        while connection.recv(4096):
            pass


@pytest.mark.parametrize("server", ["broker", "router"])
def test_a_sender_that_is_killed_in_mid_body_is_no_error_of_the_server(
    server: str, broker: int, served: tuple[int, Echo], caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is logged as an error: the sender sends the whole request again."""
    port, path = (broker, "/") if server == "broker" else (served[0], "/api/v1/tasks")
    with caplog.at_level(logging.WARNING):
        _reset_in_mid_body(port, path)
        _answers(port)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
