"""Stand-in for Knative and the gateway on one machine: a broker with its triggers, ticks, and the one address.

It keeps events in memory, as an in-memory channel does: what dies with it is found by the tick. Run as
`python -m keruta.local.knative_emulator CONFIG`, a JSON file (`Config`).
"""

from __future__ import annotations

import asyncio
import hmac
import itertools
import logging
import random
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import msgspec
from aiohttp import web

from keruta import logs, structs
from keruta.domain.events import PING, Event
from keruta.domain.naming import new_id
from keruta.local.manifests import Delivery, Manifests, Ping, Trigger, load
from keruta.local.router import Router

log = logging.getLogger(__name__)

WAITING_LIMIT = 100_000
AT_ONCE = 8
_AGAIN = frozenset({404, 408, 409, 429})  # and 5xx: as Knative does

Headers = Mapping[str, str]


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Locations: the manifests, each service's address, own ports, and the file with the events' token."""

    manifests: str
    services: dict[str, str]
    public_port: int
    broker_port: int
    token_file: str


class StandIn:
    """Broker, ticks and router (`keruta.local.router`) in one process."""

    def __init__(self, config: Config, manifests: Manifests) -> None:
        self._config = config
        self._manifests = manifests
        self._queues: dict[str, asyncio.Queue[tuple[Headers, bytes]]] = {
            trigger.name: asyncio.Queue(WAITING_LIMIT) for trigger in manifests.triggers
        }
        self._token = Path(config.token_file).read_text().strip()
        self._client: aiohttp.ClientSession
        self._rng = random.Random()  # noqa: S311  it only spreads retries

    async def run(self) -> None:
        """Serves until it is cancelled."""
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=1.5)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as client:
            self._client = client
            router = Router(client, self._manifests, self._config.services)
            await _listen(self.broker(), self._config.broker_port)
            await _listen(router.server(), self._config.public_port)
            tasks = [
                *(self._deliver_all(t) for t in self._manifests.triggers for _ in range(AT_ONCE)),
                *(self._tick(ping) for ping in self._manifests.pings),
            ]
            await asyncio.gather(*tasks)

    # ------------------------------------------------------------ broker

    def broker(self) -> web.Server:
        """Return the factory of each sender's connection."""
        return web.Server(self._take_event, access_log=None)  # type: ignore[arg-type]  # None is for no log

    async def _take_event(self, request: web.Request) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            return web.Response(status=401)
        if "ce-type" not in request.headers:
            return web.Response(status=400, text="an event in binary mode has a ce-type\n")
        try:
            body = await request.read()
        except (web.RequestPayloadError, ConnectionError):  # the sender has gone, and will send the whole event again
            return web.Response(status=400)
        headers = {name.lower(): value for name, value in request.headers.items()}
        kept = {name: value for name, value in headers.items() if name.startswith("ce-") or name == "content-type"}
        for trigger in self._manifests.triggers:
            if all(kept.get(f"ce-{name}") == value for name, value in trigger.attributes):
                try:
                    self._queues[trigger.name].put_nowait((kept, body))
                except asyncio.QueueFull:
                    return web.Response(status=503)
        return web.Response(status=202)

    async def _deliver_all(self, trigger: Trigger) -> None:
        while True:
            headers, body = await self._queues[trigger.name].get()
            await self._deliver(trigger.subscriber, trigger.path, headers, body, trigger.delivery)

    async def _deliver(self, service: str, path: str, headers: Headers, body: bytes, delivery: Delivery) -> None:
        for attempt in itertools.count():
            status = await self._post(service, path, headers, body)
            if 200 <= status < 300:
                return
            if attempt >= delivery.retry or not (status >= 500 or status in _AGAIN):
                break
            pause = delivery.delay_seconds * (2**attempt if delivery.exponential else attempt + 1)
            await asyncio.sleep(min(pause, 30) * (0.75 + self._rng.random() / 2))
        log.warning("not delivered: %d", status, extra={"action": "event_dead", "service": service})
        if delivery.dead_letters is not None:
            sink, uri = delivery.dead_letters
            told = {**headers, "ce-knativeerrorcode": str(status), "ce-knativeerrordest": service}
            await self._post(sink, uri, told, body)

    async def _post(self, service: str, path: str, headers: Headers, body: bytes) -> int:
        sent = {**headers, "Authorization": f"Bearer {self._token}"}
        url = self._config.services[service] + path
        for last in (False, True):
            try:
                async with self._client.post(
                    url, data=body, headers=sent, timeout=aiohttp.ClientTimeout(total=60)
                ) as answer:
                    await answer.read()
                    return answer.status
            except aiohttp.ServerDisconnectedError:
                if last:
                    return 503
            except (aiohttp.ClientError, TimeoutError, OSError):
                return 503
        return 503

    # ------------------------------------------------------------ ticks

    async def _tick(self, ping: Ping) -> None:
        """Send ticks at the clock's own multiples, as cron does. A late tick is left out: the next does its work."""
        busy: asyncio.Task[None] | None = None
        while True:
            now = time.time()
            await asyncio.sleep(ping.every_seconds - now % ping.every_seconds)
            if busy is not None and not busy.done():
                continue
            event = Event(id=new_id(), type=PING, source=f"/keruta/{ping.name}", time=datetime.now(UTC))
            headers = {
                "ce-specversion": "1.0",
                "ce-id": event.id,
                "ce-type": event.type,
                "ce-source": event.source,
                "content-type": "application/json",
            }
            busy = asyncio.create_task(self._deliver(ping.sink, ping.path, headers, ping.data.encode(), Delivery()))


async def _listen(server: Callable[[], asyncio.BaseProtocol], port: int) -> None:
    """Open a port of this machine; where it is taken, the process ends with a sentence."""
    try:
        await asyncio.get_running_loop().create_server(server, "127.0.0.1", port)
    except OSError as error:
        sys.exit(f"cannot listen on port {port}: {error.strerror}")


def main(path: str) -> None:
    logs.configure("standin")
    config = structs.from_json(Path(path).read_bytes(), type=Config)
    try:
        asyncio.run(StandIn(config, load(Path(config.manifests))).run())
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main(sys.argv[1])
