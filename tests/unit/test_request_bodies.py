"""Bodies of requests, as they are read."""

from __future__ import annotations

import flask
import msgspec
import pytest

from keruta.http.problems import BadRequest
from keruta.http.requests import read_batch


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
