"""An app for `keruta.http.serving.Worker` with short waits: its bodies are read whole, its answers are large."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from keruta.http import serving

serving.QUIET_SECONDS, serving.REQUEST_SECONDS = 0.5, 1.0


def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    environ["wsgi.input"].read()
    start("200 OK", [])
    return [bytes(64 << 20)] if environ["PATH_INFO"] == "/large" else [b"here"]
