"""A function for `python -m functions` with short waits: its bodies are read whole, its answers are large."""

from __future__ import annotations

import flask

from keruta.http import serving

serving.QUIET_SECONDS, serving.REQUEST_SECONDS = 0.5, 1.0


def app(request: flask.Request) -> bytes:
    request.get_data()
    return bytes(64 << 20) if request.path == "/large" else b"here"
