"""Sends a webhook's message: signed, to an address that is not inside, and follows no redirect.

The host's name is looked up once, and that address is the one that is spoken to: a name that changes its mind between
the look and the call reaches nothing else.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import ipaddress
import logging
import math
import re
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol
from urllib.parse import urlsplit

import msgspec
import urllib3

from keruta.adapters.background import Background
from keruta.adapters.connection_faults import fault_of
from keruta.adapters.deadlines import POOLS, HttpPool, HttpsPool, addresses_of, deadline, time_left
from keruta.domain import messages
from keruta.domain.webhooks import signature
from keruta.errors import KerutaError
from keruta.network import Pools, context, network

log = logging.getLogger(__name__)

REQUEST_SECONDS = 10.0  # for all of it: the connection, the headers and what is read of the answer
SENDERS = 4
ANSWER_BYTES = 2048
RETRY_AFTER_MOST_SECONDS = 3600
LOOK_SECONDS = 5.0  # how often it is looked for what is due, where nobody says so


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message at one try. `repr` shows neither its secret nor its address, which can be one.

    Args:
        secret: signs it; empty for a chat, which checks no signature.
    """

    id: str
    url: str
    secret: str
    body: bytes
    tries: int
    webhook: str = ""

    def __repr__(self) -> str:
        return f"Message(id={self.id!r}, tries={self.tries})"


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """Result of one try: status and text of the answer, and why it does not count as success.

    Without a status, there was no answer.

    Args:
        retry_after: seconds that the receiver asks to wait before the next try.
    """

    status: int | None
    text: str = ""
    retry_after: int = 0
    why: messages.Message = messages.EMPTY

    @property
    def said(self) -> messages.Message:
        """The result as a sentence."""
        answered = messages.message("webhook_answered", status=self.status or 0)
        return answered if self.good else self.why

    @property
    def good(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class RefusedError(KerutaError):
    """An address that nothing is sent to."""


class Deliveries(Protocol):
    def take(self, busy: Sequence[str]) -> Message | None:
        """One that is due, of none of these webhooks. Raises Unavailable."""
        ...

    def answered(self, message: Message, answer: Answered) -> None:
        """Return the result. Raises Unavailable."""
        ...


class WebhookSender:
    """Sends what is due: several at once, to each webhook one at a time, so that a slow receiver delays no other.

    Args:
        networks: private networks that may be sent to all the same; also over http.
    """

    def __init__(self, deliveries: Deliveries, networks: Sequence[str]) -> None:
        self._deliveries = deliveries
        self._networks = [ipaddress.ip_network(one) for one in networks]
        self._work: Background[None] = Background(
            "webhooks", lambda _: None, limit=1, look=self._send_due, look_seconds=lambda: LOOK_SECONDS
        )
        self._free: list[Background[Message]] = [
            Background(f"webhook-{number}", self._sends(number), limit=1) for number in range(SENDERS)
        ]
        self._senders = tuple(self._free)
        self._busy: set[str] = set()
        self._lock = threading.Lock()

    def start(self) -> None:
        self._work.start()

    def wake(self) -> None:
        """Something is due now."""
        self._work.put(None)

    def _send_due(self) -> None:
        """Gives what is due to the senders, as long as one is free."""
        try:
            while True:
                with self._lock:
                    busy, free = sorted(self._busy), bool(self._free)
                if not free or (message := self._deliveries.take(busy)) is None:
                    return
                with self._lock:
                    self._busy.add(message.webhook)
                    sender = self._free.pop()
                sender.put(message)
        except KerutaError as error:
            self._waits(error)

    def _sends(self, number: int) -> Callable[[Message], None]:
        def send_one(message: Message) -> None:
            try:
                self._deliveries.answered(message, self.send(message))
            except KerutaError as error:
                self._waits(error)
            finally:
                with self._lock:
                    self._busy.discard(message.webhook)
                    self._free.append(self._senders[number])
                self.wake()

        return send_one

    def _waits(self, error: KerutaError) -> None:
        log.warning("webhooks wait: %s", type(error).__name__, extra={"action": "webhooks_wait"})

    def send(self, message: Message) -> Answered:
        """Never raises for what the other side does."""
        at = int(time.time())
        headers = {"Content-Type": "application/json", "User-Agent": "keruta"}
        if message.secret:
            headers |= {
                "webhook-id": message.id, "webhook-timestamp": str(at),
                "webhook-signature": signature(message.secret, message.id, at, message.body),
            }  # fmt: skip
        with deadline(REQUEST_SECONDS) as end:
            try:
                answered = self._post(message, headers)
            except RefusedError as error:
                return Answered(status=None, why=error.message)
            except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                if not end.passed:
                    return Answered(status=None, why=fault_of(error, *_place(message.url), REQUEST_SECONDS))
        if end.passed:
            return Answered(status=None, why=fault_of(TimeoutError(), *_place(message.url), REQUEST_SECONDS))
        return answered

    def _post(self, message: Message, headers: dict[str, str]) -> Answered:
        parts = urlsplit(message.url)
        host, port = _place(message.url)
        if parts.scheme == "https" and not network().direct(host):
            return self._post_by_proxy(message, headers, host, port)
        address = self._address(host, port, parts.scheme)
        timeout = urllib3.Timeout(total=REQUEST_SECONDS)
        if parts.scheme == "https":
            pool: urllib3.HTTPConnectionPool = HttpsPool(
                address, port, timeout=timeout, retries=False, server_hostname=host, assert_hostname=host,
                ssl_context=context(network()) if network().trusts_more else None,
            )  # fmt: skip
        else:
            pool = HttpPool(address, port, timeout=timeout, retries=False)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        with pool:
            answer = pool.urlopen(
                "POST", path, body=message.body, headers={**headers, "Host": parts.netloc}, redirect=False,
                preload_content=False, retries=False,
            )  # fmt: skip
            try:
                text = answer.read(ANSWER_BYTES).decode("utf-8", "replace")
            finally:
                answer.close()
        return _answered(answer, text)

    def _post_by_proxy(self, message: Message, headers: dict[str, str], host: str, port: int) -> Answered:
        """The proxy finds the address; what is known here to be private is refused all the same."""
        try:
            self._address(host, port, "https")
        except socket.gaierror:
            pass  # only the proxy knows names outside
        answer = Pools(timeout=urllib3.Timeout(total=REQUEST_SECONDS), retries=False, kinds=POOLS).request(
            "POST", message.url, body=message.body, headers=headers, redirect=False, preload_content=False
        )
        try:
            return _answered(answer, answer.read(ANSWER_BYTES).decode("utf-8", "replace"))
        finally:
            answer.close()

    def _address(self, host: str, port: int, scheme: str) -> str:
        """The address of a host, if all of its addresses may be sent to. Raises RefusedError, OSError."""
        found = addresses_of(host, port, time_left(REQUEST_SECONDS))
        addresses = [ipaddress.ip_address(one.partition("%")[0]) for one in found]
        for one in addresses:
            plain = getattr(one, "ipv4_mapped", None) or one
            allowed = any(plain in network for network in self._networks)
            if not allowed and (not plain.is_global or plain.is_multicast):
                raise RefusedError(messages.message("webhook_private_address"))
            if not allowed and scheme != "https":
                raise RefusedError(messages.message("webhook_plain_http"))
        return str(addresses[0])


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _answered(answer: urllib3.BaseHTTPResponse, text: str) -> Answered:
    """Return an answer's result: only 2xx is a success, and redirects are not followed."""
    location = answer.headers.get("Location")
    if 300 <= answer.status < 400 and location:
        why = messages.message("webhook_redirect", status=answer.status, location=location[:300])
    else:
        why = messages.message("webhook_status", status=answer.status)
    return Answered(status=answer.status, text=text, why=why, retry_after=_retry_after(answer))


def _retry_after(answer: urllib3.BaseHTTPResponse) -> int:
    """Return the seconds of a refusal's `Retry-After`, an hour at most; 0 where it names none, or a date."""
    wanted = answer.headers.get("Retry-After", "").strip()
    if answer.status not in (429, 503) or not re.fullmatch(r"\d{1,9}(\.\d+)?", wanted, re.ASCII):
        return 0
    return min(math.ceil(float(wanted)), RETRY_AFTER_MOST_SECONDS)
