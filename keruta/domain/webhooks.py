"""Webhooks out: who is told when a task ends, or waits for an answer, and how each telling went.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from keruta.domain.catalog.common import Name, Problems
from keruta.domain.chat_messages import ChatFormat
from keruta.domain.events import task_event
from keruta.domain.messages import Message, message

SECRET_PREFIX = "whsec_"  # noqa: S105  a secret's beginning
WEBHOOKS_MOST = 100
# How long after each try the next one is made; after the last it has failed.
AGAIN_SECONDS = (5, 60, 300, 1800, 7200, 18_000, 43_200)

WebhookFormat = Literal["keruta"] | ChatFormat
Language = Literal["en", "ja"]
Told = Literal["succeeded", "failed", "cancelled", "waiting"]
TOLD: tuple[Told, ...] = ("succeeded", "failed", "cancelled", "waiting")
EVENTS: dict[str, Told] = {task_event(status): status for status in TOLD}


class WebhookRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A webhook to be made. Without `queue` or `repository` it is told of every task.

    Args:
        format: of the body: keruta's own, which is signed, or that of a chat program's incoming webhook.
        language: of the sentences in a chat.
    """

    name: Name
    url: Annotated[str, Meta(min_length=1, max_length=2048, description="https://…")]
    events: Annotated[list[Told], Meta(min_length=1, max_length=4)] = msgspec.field(default_factory=lambda: list(TOLD))
    queue: Name | None = None
    repository: Name | None = None
    format: WebhookFormat = "keruta"
    language: Language = "en"

    def faults(self) -> Problems:
        yield from _url_faults(self.url)

    @property
    def shown_url(self) -> str:
        """The address as it is shown. Whoever has the whole address of a chat's webhook can write to the chat."""
        if self.format == "keruta":
            return self.url
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}/…"


def _url_faults(url: str) -> Iterator[tuple[str, Message | str]]:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        yield "/url", message("field_address")
        return
    if parts.scheme not in ("http", "https") or not host:
        yield "/url", message("field_webhook_address")
    elif parts.username or parts.password:
        yield "/url", message("field_webhook_password")
    if not url.isprintable() or " " in url:
        yield "/url", message("field_address_spaces")


class WebhookView(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook. Its secret is shown once, when it is made; of a chat's address, only the host is shown."""

    name: str
    url: str
    events: list[Told]
    queue: str | None = None
    repository: str | None = None
    format: WebhookFormat = "keruta"
    language: Language = "en"
    created_at: datetime
    created_by: str


class WebhookMade(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook that was just made. `secret` signs its messages, and is shown this once; a chat's has none."""

    secret: str
    shown: WebhookView


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One telling: how often it was tried, and what was answered last. `due_at`: when it is tried again.

    `answer` is what the receiver wrote, or the English of why there is none; `message` says how the last try went.
    """

    id: str
    webhook: str
    task: str
    event: str
    state: Literal["waiting", "delivered", "failed"]
    tries: int
    created_at: datetime
    due_at: datetime | None = None
    answered_at: datetime | None = None
    status: int | None = None
    answer: str | None = None
    message: str | None = None
    message_code: str | None = None
    message_arguments: dict[str, Any] | None = None


def signature(secret: str, identity: str, at: int, body: bytes) -> str:
    """Return the value of `webhook-signature`.

    Args:
        secret: `whsec_` and the key in base64.
        identity: of the message; the same at each try.
        at: when it is sent, in seconds since 1970.
    """
    return signature_by_key(base64.b64decode(secret.removeprefix(SECRET_PREFIX)), identity, str(at), body)


def signature_by_key(key: bytes, identity: str, at: str, body: bytes) -> str:
    """Return the value of `webhook-signature` from the key itself, and the time as the header has it."""
    signed = hmac.digest(key, f"{identity}.{at}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(signed).decode()}"
