"""Nudges workers: a `task.assigned` by HTTP, without token or specification, to allowed addresses only.

A worker says its own address, so it is hostile input: what it resolves to must lie in a network that the settings name.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from keruta.adapters.background import Background
from keruta.adapters.cloudevents import encode
from keruta.adapters.http_client import Http, NoAnswerError
from keruta.domain.events import TASK_ASSIGNED, Event
from keruta.domain.naming import new_id
from keruta.ports import WorkerSlots

log = logging.getLogger(__name__)

LOOK_UP_SECONDS = 2.0
_PATH = re.compile(r"/[A-Za-z0-9_-]{1,64}")  # a worker may take nudges at a path that only keruta knows


class HttpNudges:
    """`keruta.ports.Nudges` by HTTP, sent by a thread of its own: a worker that hangs holds nobody up."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = [ipaddress.ip_network(network) for network in networks]
        self._http = Http(3, connect_seconds=1)
        self._work: Background[tuple[str, Event]] = Background("nudges", self._send, limit=1000)

    def nudge(self, worker: WorkerSlots, tasks: Sequence[str]) -> None:
        if not worker.address:
            return
        event = Event(id=new_id(), type=TASK_ASSIGNED, subject=tasks[0], data={"worker": worker.id})
        if not self._work.put((worker.address, event)):
            log.warning("nudge dropped: too many wait", extra={"action": "nudge_dropped"})

    def _send(self, nudge: tuple[str, Event]) -> None:
        address, event = nudge
        target = self._allowed(address)
        if target is None:
            log.warning("a worker's address is not allowed", extra={"action": "nudge_refused", "address": address})
            return
        headers, body = encode(event)
        try:
            self._http.ask("POST", target, body=body, headers=headers)
        except NoAnswerError as error:
            log.info("nudge lost: %s", error, extra={"action": "nudge_lost", "address": address})

    def _allowed(self, address: str) -> str | None:
        """The address with its host resolved, so that what was checked is what is called; None if it may not be."""
        from keruta.adapters.deadlines import addresses_of  # loads urllib3

        try:
            parts = urlsplit(address)
            host, port = parts.hostname or "", parts.port or 80
            ip = ipaddress.ip_address(addresses_of(host, port, LOOK_UP_SECONDS)[0])
        except (OSError, ValueError, IndexError):
            return None
        if parts.scheme != "http" or not any(ip in network for network in self._networks):
            return None
        path = parts.path if _PATH.fullmatch(parts.path) else "/"
        return f"http://{f'[{ip}]' if ip.version == 6 else ip}:{port}{path}"
