"""keruta's tools by the Model Context Protocol over HTTP, at `/mcp`: each request with its own bearer token.

The token is passed on to keruta's API, which decides what it may do. Cookies count for nothing, a page of another site
can't call (its requests have an `Origin`), and nothing is kept between two requests.
Source of the transport: https://modelcontextprotocol.io/specification, Streamable HTTP.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from contextvars import ContextVar
from typing import Any

from keruta.cli.mcp_server import Tools, server
from keruta.client import Client
from keruta.errors import KerutaError

PATH = "/mcp"
BODY_LIMIT_BYTES = 1024 * 1024
CALLS_AT_ONCE = 64
LOOPBACK = ("127.0.0.1:*", "localhost:*", "[::1]:*")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_token: ContextVar[str] = ContextVar("token")


class BearerOnly:
    """Lets requests with a bearer token pass, and keeps the token for the tools that they call."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 to a request without a token."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        kind, _, token = given[0].decode("latin-1").partition(" ") if len(given) == 1 else ("", "", "")
        if kind.lower() != "bearer" or not token.strip():
            headers = [(b"www-authenticate", b'Bearer realm="keruta"'), (b"content-type", b"text/plain")]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": b"Send a token of keruta as Authorization: Bearer.\n"})
            return
        before = _token.set(token.strip())
        try:
            await self._app(scope, receive, send)
        finally:
            _token.reset(before)


def app(url: str, hosts: Sequence[str]) -> BearerOnly:
    """Return the ASGI application.

    Args:
        url: the address of keruta's API.
        hosts: the names that requests may be addressed to, beside those of this machine; `NAME:*` with any port.

    Raises:
        KerutaError: the SDK is not installed.
    """
    made = server(Tools(lambda: Client(url, _token.get())))
    security = importlib.import_module("mcp.server.transport_security")
    return BearerOnly(
        made.streamable_http_app(
            streamable_http_path=PATH, json_response=True, stateless_http=True, max_request_body_size=BODY_LIMIT_BYTES,
            transport_security=security.TransportSecuritySettings(allowed_hosts=[*LOOPBACK, *hosts]),
        )
    )  # fmt: skip


def serve(url: str, listen: str, hosts: Sequence[str]) -> None:
    """Serve until the process is told to end.

    Args:
        listen: `HOST:PORT`.

    Raises:
        KerutaError: the SDK is not installed, or the address is not one.
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise KerutaError(f"--http takes HOST:PORT, such as 127.0.0.1:8765, not {listen}")
    served = app(url, hosts)
    uvicorn = importlib.import_module("uvicorn")
    uvicorn.run(
        served, host=host.strip("[]"), port=int(port), log_level="warning", access_log=False, server_header=False,
        limit_concurrency=CALLS_AT_ONCE,
    )  # fmt: skip
