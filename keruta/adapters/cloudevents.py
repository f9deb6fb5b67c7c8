"""CloudEvents 1.0 in HTTP's binary mode, both ways.

functions-framework's own decorator ignores what a function returns and echoes a bad request's headers, tokens included;
so functions take plain HTTP and events are decoded here.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md#31-binary-content-mode
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import msgspec
from cloudevents.conversion import to_binary
from cloudevents.exceptions import GenericException
from cloudevents.http import CloudEvent, from_http

from keruta.adapters.http_client import Http, NoAnswerError
from keruta.adapters.identity.service_account import NoTokenError, ServiceAccount, service_account
from keruta.domain.events import Event
from keruta.domain.generic_events import ForeignEvent
from keruta.domain.messages import message
from keruta.errors import InvalidRequest
from keruta.settings import Settings

log = logging.getLogger(__name__)


def decode(headers: Mapping[str, str], body: bytes) -> Event:
    """Reads an event from a request. Raises InvalidRequest, which names no header's value."""
    try:
        event = from_http(dict(headers), body)
        kept = event.data if isinstance(event.data, dict) else {}
        return Event(
            id=event["id"], type=event["type"], source=event["source"], subject=event.get("subject"), data=kept
        )
    except (GenericException, KeyError, ValueError) as error:
        raise InvalidRequest(message("http_not_a_cloudevent"), reason="InvalidEvent") from error


def decode_foreign(headers: Mapping[str, str], body: bytes) -> ForeignEvent:
    """Read an event of any source, in binary or structured mode. Raises InvalidRequest."""
    try:
        event = from_http(dict(headers), body)
        data = event.data
        written = data if isinstance(data, bytes) else b"" if data is None else msgspec.json.encode(data)
        found = ForeignEvent(
            id=event["id"],
            type=event["type"],
            source=event["source"],
            subject=event.get("subject"),
            data=written,
        )
    except (GenericException, KeyError, ValueError, TypeError, RecursionError, msgspec.MsgspecError) as error:
        raise InvalidRequest(message("http_not_a_cloudevent"), reason="InvalidEvent") from error
    if not all(isinstance(one, str) and 0 < len(one) <= 1000 for one in (found.id, found.type, found.source)):
        raise InvalidRequest(message("http_not_a_cloudevent"), reason="InvalidEvent")
    return found


def encode(event: Event) -> tuple[dict[str, str], bytes]:
    """Writes an event as headers and body."""
    attributes: dict[str, Any] = {"id": event.id, "type": event.type, "source": event.source}
    if event.subject is not None:
        attributes["subject"] = event.subject
    if event.time is not None:
        attributes["time"] = event.time.isoformat()
    attributes["datacontenttype"] = "application/json"
    headers, body = to_binary(CloudEvent(attributes, event.data), data_marshaller=msgspec.json.encode)
    return dict(headers), bytes(body)


class HttpEvents:
    """Gives events to a broker's address.

    Args:
        url: the broker's ingress; empty for none.
        account: whose token the broker is shown; without one that is good, the event goes out without.
        types: the types of events that somebody receives; empty for all.
    """

    def __init__(self, url: str, account: ServiceAccount, types: frozenset[str] = frozenset()) -> None:
        self._url = url
        self._types = types
        self._account = account
        self._http = Http(10, connect_seconds=2, connections=4)

    def send(self, event: Event) -> bool:
        """Returns whether the broker took the event, or nobody receives it; never raises."""
        if not self._url or (self._types and event.type not in self._types):
            return True
        headers, body = encode(event)
        headers |= self._authorization()
        for last in (False, True):
            try:
                response = self._http.ask("POST", self._url, body=body, headers=headers)
            except NoAnswerError as error:
                if not last:
                    continue  # a kept connection that was closed meanwhile
                log.warning("event not sent: %s", error, extra={"action": "event_not_sent"})
                return False
            if response.status < 300:
                return True
            log.warning("event refused with %d", response.status, extra={"action": "event_refused"})
            return False
        return False

    def _authorization(self) -> dict[str, str]:
        try:
            return {"Authorization": f"Bearer {self._account.token()}"}
        except NoTokenError:
            return {}


def event_sender(settings: Settings) -> HttpEvents:
    """Make a sender to the broker that is set, as the service account that is set."""
    url = settings.issuer_url or settings.issuer
    account = service_account(url, settings.client_id, settings.client_secret_file, settings.event_token_file)
    return HttpEvents(settings.broker_url, account, settings.event_types)
