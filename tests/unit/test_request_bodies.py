"""Bodies of requests, as they are read."""

from __future__ import annotations

import flask
import msgspec
import pytest

from keruta.errors import InvalidRequest, TooLarge, UnsupportedMedia
from keruta.http.problems import BadRequest
from keruta.http.requests import read_batch, read_body


class Batch(msgspec.Struct):
    """A body of an agent."""

    name: str


@pytest.mark.parametrize("body", [b"", b'{"name": "a\xffb"}', b"\xff", b'{"name": "\\ud800"}'])
def test_a_batch_that_is_not_json_is_a_bad_request(body: bytes) -> None:
    """Bytes within a text that are not UTF-8 are the sender's fault, too."""
    with (
        flask.Flask(__name__).test_request_context(method="POST", data=body, content_type="application/json"),
        pytest.raises(BadRequest),
    ):
        read_batch(flask.request, Batch, 1 << 20)


@pytest.mark.parametrize(("encoding", "refused"), [("gzip", True), ("identity", False), ("", False)])
def test_a_packed_body_is_refused(encoding: str, refused: bool) -> None:
    """Its size would say nothing of what is in it."""
    headers = {"Content-Encoding": encoding} if encoding else {}
    with flask.Flask(__name__).test_request_context(
        method="POST", data=b'{"a": 1}', content_type="application/json", headers=headers
    ):
        if not refused:
            assert read_body(flask.request, One, 100) == One(a=1)
            return
        with pytest.raises(UnsupportedMedia):
            read_body(flask.request, One, 100)


def test_a_body_with_a_fault_or_too_large_is_refused() -> None:
    """The fault is named with its place."""
    for body, limit, expected in ((b'{"a": "x"}', 100, InvalidRequest), (b'{"a": 1}', 3, TooLarge)):
        with (
            flask.Flask(__name__).test_request_context(method="POST", data=body, content_type="application/json"),
            pytest.raises(expected),
        ):
            read_body(flask.request, One, limit)


class One(msgspec.Struct):
    a: int
