"""Answers in gzip's form, for clients that take it."""

from __future__ import annotations

from collections.abc import Callable

import flask


def pack(response: flask.Response, packed: Callable[[], bytes]) -> None:
    """The answer goes as `packed` gives it, if who asks takes that, and is kept apart by caches from the plain one."""
    response.vary.add("Accept-Encoding")
    if flask.request.accept_encodings.quality("gzip") > 0:
        response.data = packed()
        response.headers["Content-Encoding"] = "gzip"
