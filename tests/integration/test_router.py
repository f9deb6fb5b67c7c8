"""The router of one machine keeps the contract that the cluster's gateway keeps."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from keruta.local.manifests import load
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
