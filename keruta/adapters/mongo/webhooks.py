"""Webhooks and their deliveries: what is to be told is on record before it is sent, and how each try went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from keruta import structs
from keruta.adapters.encryption import Sealer
from keruta.adapters.mongo.audit import MongoAudit
from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.paging import newest_first
from keruta.adapters.mongo.tasks import SUMMARY_PROJECTION, to_summary
from keruta.adapters.webhooks import Answered, Message
from keruta.domain.catalog.common import Page
from keruta.domain.chat_messages import chat_body, notice
from keruta.domain.events import Event
from keruta.domain.messages import fields_of, message
from keruta.domain.naming import new_id
from keruta.domain.principal import Principal
from keruta.domain.webhooks import (
    AGAIN_SECONDS,
    EVENTS,
    WEBHOOKS_MOST,
    Delivery,
    WebhookMade,
    WebhookRequest,
    WebhookView,
)
from keruta.errors import Conflict, NotFound, SettingsError
from keruta.translations import render

ANSWER_LETTERS = 500
SENDING_SECONDS = 60  # a try that was begun so long ago is nobody's any more


class MongoWebhooks:
    """Webhooks in one database.

    Args:
        sealer: encrypts secrets, and the addresses of chats.
        public_url: keruta's own address, for links in chats.
    """

    def __init__(self, database: Database, sealer: Sealer, *, public_url: str = "") -> None:
        self._public_url = public_url.rstrip("/")
        self._webhooks = database["webhooks"]
        self._deliveries = database["webhook_deliveries"]
        self._tasks = database["tasks"]
        self._audit = MongoAudit(database)
        self._sealer = sealer

    # ------------------------------------------------------------ webhooks

    def create(self, who: Principal, wanted: WebhookRequest, secret: str) -> WebhookMade:
        """Create a webhook with its encrypted secret.

        Raises Conflict: the name is taken, there are too many, or no key.
        """
        try:
            sealed = self._sealer.seal(f"webhook {wanted.name}", {"secret": secret, "url": wanted.url})
        except SettingsError as error:
            raise Conflict(message("webhook_not_sealed", error=str(error)), reason="NoSealingKey") from error
        row = {
            "_id": wanted.name, "spec": {**msgspec.to_builtins(wanted), "url": wanted.shown_url},
            "created_by": who.name, "created_at": datetime.now(UTC), "sealed": sealed,
        }  # fmt: skip
        with translated():
            if self._webhooks.estimated_document_count() >= WEBHOOKS_MOST:
                raise Conflict(message("webhook_too_many", count=WEBHOOKS_MOST), reason="TooManyWebhooks")
            try:
                self._webhooks.insert_one(row)
            except DuplicateKeyError as error:
                raise Conflict(message("webhook_exists"), reason="NameTaken") from error
            self._audit.record(who.name, "create", "webhook", wanted.name, readers=["role:admin"])
        return WebhookMade(secret=secret, shown=_webhook(row))

    def all(self) -> list[WebhookView]:
        with translated():
            return [_webhook(row) for row in self._webhooks.find().sort("_id", 1)]

    def delete(self, who: Principal, name: str) -> None:
        """Delete a webhook and its waiting attempts. Raises NotFound."""
        with translated():
            if self._webhooks.delete_one({"_id": name}).deleted_count != 1:
                raise NotFound(message("webhook_missing"), reason="WebhookNotFound")
            self._deliveries.delete_many({"webhook": name, "state": "waiting"})
            self._audit.record(who.name, "delete", "webhook", name, readers=["role:admin"])

    # ------------------------------------------------------------ what is to be told

    def note(self, event: Event) -> int:
        """Whoever is to be told of it has a delivery; the same event again makes no other. Returns how many are new."""
        status = EVENTS.get(event.type)
        if status is None or event.subject is None:
            return 0
        with translated():
            task = self._tasks.find_one({"_id": event.subject}, SUMMARY_PROJECTION)
            if task is None:
                return 0
            count = 0
            for row in self._webhooks.find():
                spec = row["spec"]
                if status in spec["events"] and _wants(spec, task):
                    count += self._add(row["_id"], event, status, self._body(spec, event, status, task))
        return count

    def _body(self, spec: Mapping[str, Any], event: Event, status: str, task: Mapping[str, Any]) -> bytes:
        summary = to_summary(task)
        if (chat := spec.get("format", "keruta")) != "keruta":
            page = f"{self._public_url}/tasks/{summary.id}" if self._public_url else ""
            language = spec.get("language", "en")
            return chat_body(chat, notice(summary, status, page, lambda said: render(said, language)))
        told = {"type": f"task.{status}", "timestamp": event.time or datetime.now(UTC), "data": summary}
        return msgspec.json.encode(told)

    def _add(self, webhook: str, event: Event, status: str, body: bytes) -> int:
        now = datetime.now(UTC)
        row = {
            "_id": new_id(), "webhook": webhook, "task": event.subject, "event": event.id, "type": f"task.{status}",
            "body": body, "state": "waiting", "tries": 0, "due_at": now, "created_at": now,
        }  # fmt: skip
        try:
            self._deliveries.insert_one(row)
        except DuplicateKeyError:
            return 0
        return 1

    def deliveries(self, *, webhook: str | None, limit: int, cursor: str | None) -> Page[Delivery]:
        """Newest first. Raises InvalidRequest for a cursor that is none."""
        match = {"webhook": webhook} if webhook else {}
        rows, after = newest_first(self._deliveries, match, limit=limit, cursor=cursor)
        return Page(items=[_delivery(row) for row in rows], next=after)

    def again(self, who: Principal, delivery: str) -> Delivery:
        """Send a webhook attempt once more, at once. Raises NotFound."""
        now = datetime.now(UTC)
        with translated():
            row = self._deliveries.find_one_and_update(
                {"_id": delivery}, {"$set": {"state": "waiting", "due_at": now, "tries": 0}},
                return_document=ReturnDocument.AFTER,
            )  # fmt: skip
            if row is None:
                raise NotFound(message("webhook_no_delivery"), reason="DeliveryNotFound")
            self._audit.record(who.name, "send_again", "webhook", row["webhook"], readers=["role:admin"])
        return _delivery(row)

    # ------------------------------------------------------------ sending

    def take(self, busy: Sequence[str]) -> Message | None:
        """One that is due, of none of these webhooks, for this process alone for a minute; None where none is."""
        now = datetime.now(UTC)
        with translated():
            row = self._deliveries.find_one_and_update(
                {"state": "waiting", "due_at": {"$lte": now}, "webhook": {"$nin": list(busy)}},
                {"$set": {"due_at": now + timedelta(seconds=SENDING_SECONDS)}, "$inc": {"tries": 1}},
                sort=[("due_at", 1)],
                return_document=ReturnDocument.AFTER,
            )
            if row is None:
                return None
            webhook = self._webhooks.find_one({"_id": row["webhook"]})
            if webhook is None:
                self._deliveries.delete_one({"_id": row["_id"]})
                return None
        opened = self._sealer.open(f"webhook {row['webhook']}", webhook["sealed"])
        return Message(
            id=row["_id"], url=opened.get("url") or webhook["spec"]["url"], secret=opened["secret"],
            body=row["body"], tries=row["tries"], webhook=row["webhook"],
        )  # fmt: skip

    def answered(self, message: Message, answer: Answered) -> None:
        """Record a try's result: delivered, to be tried again, or failed for good."""
        now = datetime.now(UTC)
        said: dict[str, Any] = {
            "answered_at": now, "status": answer.status, "due_at": None, **fields_of(answer.said),
            "answer": (answer.text if answer.status is not None else answer.said.text)[:ANSWER_LETTERS],
        }  # fmt: skip
        if answer.good:
            said["state"] = "delivered"
        elif message.tries > len(AGAIN_SECONDS):
            said["state"] = "failed"
        else:
            said["due_at"] = now + timedelta(seconds=max(AGAIN_SECONDS[message.tries - 1], answer.retry_after))
        with translated():
            self._deliveries.update_one({"_id": message.id, "state": "waiting"}, {"$set": said})


def _wants(spec: Mapping[str, Any], task: Mapping[str, Any]) -> bool:
    repository = task["spec"]["repository"].get("name")
    return spec.get("queue") in (None, task["queue"]) and spec.get("repository") in (None, repository)


def _webhook(row: Mapping[str, Any]) -> WebhookView:
    fields = {**row["spec"], "created_at": row["created_at"], "created_by": row["created_by"]}
    return structs.from_plain(fields, WebhookView)


def _delivery(row: Mapping[str, Any]) -> Delivery:
    fields = {name: value for name, value in row.items() if name in Delivery.__struct_fields__}
    return structs.from_plain({**fields, "id": row["_id"], "event": row["type"]}, Delivery)
