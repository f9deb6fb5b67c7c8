"""Takes what forges deliver: checks who signed it, stores it once, answers, and makes the task afterwards."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import flask
import msgspec

from keruta.domain.deliveries import BODY_LIMIT_BYTES
from keruta.domain.messages import message
from keruta.errors import TooLarge, UnsupportedMedia
from keruta.http.function import AnonymousRequest
from keruta.ports import PeopleVerifier
from keruta.ports.deliveries import DeliveryStore
from keruta.services.deliveries import Received, receive, refused
from keruta.settings import Settings


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """The ports of this function.

    Args:
        later: has a delivery processed after the answer has gone out; the tick does what it forgets.
    """

    settings: Settings
    verifier: PeopleVerifier
    store: DeliveryStore
    later: Callable[[str], object]
    check: Callable[[], None]


def receive_event(ports: Ports, asked: AnonymousRequest) -> flask.Response:
    """A delivery that its trigger's secret has signed is stored: 202, for a repeat too."""
    headers = {name.lower(): value for name, value in asked.request.headers.items()}
    received = Received(trigger=asked.parameters["name"], headers=headers, body=_body(asked.request))
    ports.later(receive(ports.store, received, datetime.now(UTC)))
    return flask.Response(status=202)


def _body(request: flask.Request) -> bytes:
    """The body as it was signed. Raises UnsupportedMedia, TooLarge."""
    if request.mimetype != "application/json":
        raise refused("media_type", UnsupportedMedia(message("http_content_type", kind="application/json")))
    too_large = TooLarge(message("http_body_too_large", limit=BODY_LIMIT_BYTES))
    if (request.content_length or 0) > BODY_LIMIT_BYTES:
        raise refused("too_large", too_large)
    body = request.stream.read(BODY_LIMIT_BYTES + 1)
    if len(body) > BODY_LIMIT_BYTES:
        raise refused("too_large", too_large)
    return body
