"""Takes what forges deliver: checks who signed it, stores it once, answers, and makes the task afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import flask
import msgspec

from keruta.domain.deliveries import BODY_LIMIT_BYTES
from keruta.domain.generic_events import ForeignEvent
from keruta.domain.messages import message
from keruta.errors import TooLarge, UnsupportedMedia
from keruta.http.function import AnonymousRequest, AuthenticatedRequest
from keruta.ports import PeopleVerifier, Verifying
from keruta.ports.deliveries import DeliveryStore
from keruta.services.receiving import Received, receive, refused
from keruta.services.receiving import receive_cloudevent as receive_cloudevent_of
from keruta.settings import Settings


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """The ports of this function.

    Args:
        later: has a delivery processed after the answer has gone out; the tick does what it forgets.
    """

    settings: Settings
    verifier: PeopleVerifier
    deliveries: Verifying
    decode_event: Callable[[Mapping[str, str], bytes], ForeignEvent]
    store: DeliveryStore
    later: Callable[[str], object]
    check: Callable[[], None]


def receive_event(ports: Ports, asked: AnonymousRequest) -> flask.Response:
    """A delivery that its trigger's secret has signed is stored: 202, for a repeat too."""
    headers = {name.lower(): value for name, value in asked.request.headers.items()}
    received = Received(trigger=asked.parameters["name"], headers=headers, body=_body(asked.request))
    ports.later(receive(ports.store, received, datetime.now(UTC)))
    return flask.Response(status=202)


def receive_cloudevent(ports: Ports, asked: AuthenticatedRequest) -> flask.Response:
    """A CloudEvent is stored for every trigger that allows its source: 202, for a repeat too, and if none does.

    422 (not 404) for what is no event: Knative retries a 404.
    """
    body = _within_limit(asked.request)
    for identity in receive_cloudevent_of(ports.store, ports.decode_event(dict(asked.request.headers), body), body):
        ports.later(identity)
    return flask.Response(status=202)


def _body(request: flask.Request) -> bytes:
    """The body as it was signed. Raises UnsupportedMedia, TooLarge."""
    if request.mimetype != "application/json":
        raise refused("media_type", UnsupportedMedia(message("http_content_type", kind="application/json")))
    return _within_limit(request)


def _within_limit(request: flask.Request) -> bytes:
    too_large = TooLarge(message("http_body_too_large", limit=BODY_LIMIT_BYTES))
    if (request.content_length or 0) > BODY_LIMIT_BYTES:
        raise refused("too_large", too_large)
    body = request.stream.read(BODY_LIMIT_BYTES + 1)
    if len(body) > BODY_LIMIT_BYTES:
        raise refused("too_large", too_large)
    return body
