"""Open streams: bounded for each person and for the process."""

from __future__ import annotations

import flask
import pytest

from admin.site import stream_limits
from admin.site.stream_limits import StreamLimits, count_body
from keruta.errors import TooManyRequests, Unavailable


def test_one_person_can_not_take_all_streams() -> None:
    """Beyond their own bound they are told when to try again; others still have room."""
    limits = StreamLimits(per_person=2, per_process=3)
    first, _ = limits.take("ann"), limits.take("ann")

    with pytest.raises(TooManyRequests) as caught:
        limits.take("ann")
    limits.take("bob")
    with pytest.raises(Unavailable):
        limits.take("cleo")
    first()
    first()  # a stream is closed once, however often that is said

    assert caught.value.retry_after_seconds > 0
    limits.take("ann")
    with pytest.raises(Unavailable):
        limits.take("cleo")


def test_one_sender_can_not_have_all_bodies_on_their_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """By token, cookie or address; others have their own share, and reading and events do not count."""
    monkeypatch.setattr(stream_limits, "BODIES", StreamLimits(per_person=1, per_process=4))
    app = flask.Flask("admin")

    def send(method: str = "POST", path: str = "/api/v1/queues", address: str = "a", **headers: str) -> None:
        environ = {f"HTTP_{name.upper()}": value for name, value in headers.items()}
        with app.test_request_context(path, method=method, environ_overrides=environ):
            count_body(flask.request, address)

    for headers in ({"authorization": "Bearer a"}, {"cookie": "session=a"}, {}):
        send(**headers)
        with pytest.raises(TooManyRequests):
            send(**headers)
        for path, method in (("/api/v1/queues", "GET"), ("/events/webhooks", "POST")):
            send(method, path, **headers)
    send(address="b")
    with pytest.raises(Unavailable):
        send(address="c")
