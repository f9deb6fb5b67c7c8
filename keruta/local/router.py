"""The one address of one machine: a reverse proxy that treats requests as the cluster's gateway does.

aiohttp's parser reads them (it refuses what two parsers could read differently); what aiohttp would do beyond that, for
browsers and scrapers, is switched off: bodies are passed on as bytes. `tests/support/gateway_contract.py` says what a
gateway does, and is held against Envoy and against this.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any

import aiohttp
import msgspec
from aiohttp import HttpVersion10, web
from aiohttp.http_exceptions import LineTooLong
from yarl import URL

from keruta.local.manifests import Manifests, Rule

log = logging.getLogger(__name__)

BODY_HELD_BYTES = 16 * 1024 * 1024
HEADER_BYTES = 60 * 1024  # Envoy's limits
HEADERS = 100
ANSWER_SECONDS = 60
_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect",
        "content-length",
    }
)  # fmt: skip
_SET = frozenset({"host", "x-forwarded-proto"})  # of a request: the router's own word counts
_ABSOLUTE = re.compile(r"[a-z][a-z0-9+.-]*://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
_ENCODED = re.compile(r"%[0-9a-fA-F]{2}")


class BadTargetError(Exception):
    """The request's target is none that a server serves."""


class Router:
    """Passes requests on to the services, by the manifests' route."""

    def __init__(self, client: aiohttp.ClientSession, manifests: Manifests, services: Mapping[str, str]) -> None:
        self._client = client
        self._manifests = manifests
        self._services = services

    def server(self) -> web.Server:
        """Return the factory of each connection's protocol."""
        return _Server(self._serve, handler_cancellation=True)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.version < HttpVersion10:
            return web.Response(status=400)
        try:
            authority, path, query = target(request.raw_path)
        except BadTargetError:
            return web.Response(status=400)
        rule = self._manifests.route(request.method, path)
        if rule is None:
            return web.Response(status=404)
        if rule.redirect is not None:
            return web.Response(status=302, headers={"Location": rule.redirect})
        try:
            if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= (1, 1):
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                request.writer.output_size = 0
            body = await _body(request)
        except (web.RequestPayloadError, ConnectionError):
            return web.Response(status=400)
        headers = _request_headers(request, rule, authority or request.headers.get("Host", ""))
        if request.can_read_body and request.content_length is not None:
            headers.append(("Content-Length", str(request.content_length)))
        return await self._ask(
            request, rule, URL(self._services[rule.service] + path + query, encoded=True), headers, body
        )

    async def _ask(
        self,
        request: web.BaseRequest,
        rule: Rule,
        url: URL,
        headers: list[tuple[str, str]],
        body: bytes | aiohttp.StreamReader,
    ) -> web.StreamResponse:
        """A kept connection that the service just closed is tried once more where nothing can happen twice."""
        tries = 2 if request.method in ("GET", "HEAD") and isinstance(body, bytes) else 1
        for attempt in range(tries):
            try:
                return await self._pass_on(request, url, headers, body, None if rule.stream else ANSWER_SECONDS)
            except (aiohttp.ClientError, TimeoutError) as error:
                if attempt + 1 < tries and isinstance(error, aiohttp.ServerDisconnectedError):
                    continue
                log.warning("%s does not answer: %s", rule.service, error, extra={"action": "backend_away"})
                break
        return _unavailable(rule.service)

    async def _pass_on(
        self,
        request: web.BaseRequest,
        url: URL,
        headers: list[tuple[str, str]],
        body: bytes | aiohttp.StreamReader,
        seconds: float | None,
    ) -> web.StreamResponse:
        async with self._client.request(
            request.method,
            url,
            headers=headers,
            data=body,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=seconds),
            allow_redirects=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
        ) as answer:
            response = _Answer(status=answer.status, reason=answer.reason)
            for name, value in _end_to_end(answer.headers):
                response.headers.add(name, value)
            if answer.content_length is not None:
                response.content_length = answer.content_length
            await response.prepare(request)
            try:
                async for block in answer.content.iter_any():
                    await response.write(block)
                await response.write_eof()
            except (aiohttp.ClientError, ConnectionError, TimeoutError):  # one has gone; the client sees a cut stream
                if request.transport is not None:
                    request.transport.close()
            return response


class _Answer(web.StreamResponse):
    """A service's answer, without a content type that it did not give."""

    async def _prepare_headers(self) -> None:
        named = "Content-Type" in self.headers
        await super()._prepare_headers()
        if not named:
            self.headers.popall("Content-Type", None)


class _Connection(web.RequestHandler):
    """One client's connection; says which limit a request was beyond."""

    __slots__ = ()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        if not 400 <= status < 500 or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        too_long = isinstance(exc, LineTooLong) or "too many headers" in (message or "").lower()
        refused = web.Response(status=431 if too_long else status)
        refused.force_close()
        return refused


class _Server(web.Server):
    """Makes connections whose bodies are not unpacked."""

    def __call__(self) -> _Connection:
        return _Connection(
            self,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # None is for no log
            auto_decompress=False,
            max_line_size=HEADER_BYTES,
            max_field_size=HEADER_BYTES,
            max_headers=HEADERS,
        )


def target(raw: str) -> tuple[str, str, str]:
    """A request's target as (authority, normalized path, query with its `?`); the authority is "" unless it names one.

    Dots and repeated slashes are taken out of the path, and letters out of their percent-encoding, as the gateway does
    before it looks for a route; all else stays encoded. Raises BadTargetError.
    """
    authority = ""
    if (absolute := _ABSOLUTE.fullmatch(raw)) is not None:
        authority, raw = absolute[1], absolute[2] or "/"
        raw = raw if raw.startswith("/") else f"/{raw}"
    if not raw.startswith("/") or "#" in raw:
        raise BadTargetError
    path, mark, query = raw.partition("?")
    return authority, _normalized(path), mark + query


def _normalized(path: str) -> str:
    path = _ENCODED.sub(lambda found: _decoded(found[0]), path)
    kept: list[str] = []
    parts = path.split("/")[1:]
    for part in parts:
        if part == "..":
            del kept[-1:]
        elif part not in (".", ""):
            kept.append(part)
    return "/" + "/".join(kept) + ("/" if kept and parts[-1] in ("", ".", "..") else "")


def _decoded(encoded: str) -> str:
    """The character, where it means the same with and without its encoding (RFC 3986, 2.3)."""
    character = chr(int(encoded[1:], 16))
    return character if character.isascii() and (character.isalnum() or character in "-._~") else encoded


async def _body(request: web.BaseRequest) -> bytes | aiohttp.StreamReader:
    """Read a small body whole; pass on others as a stream.

    A server's early refusal of a small body would otherwise cut the connection.
    """
    if not request.can_read_body:
        return b""
    small = request.content_length is not None and request.content_length <= BODY_HELD_BYTES
    return await request.content.read() if small else request.content


def _request_headers(request: web.BaseRequest, rule: Rule, host: str) -> list[tuple[str, str]]:
    kept = [(name, value) for name, value in _end_to_end(request.headers) if name.lower() not in _SET]
    return [
        *kept,
        ("Host", rule.host or host),
        ("X-Forwarded-For", request.remote or ""),
        ("X-Forwarded-Host", host),
        ("X-Forwarded-Proto", "http"),
    ]


def _end_to_end(headers: Any) -> Iterable[tuple[str, str]]:
    """Return the headers that are not of one connection only (RFC 9110, 7.6.1)."""
    listed = {name.strip().lower() for value in headers.getall("Connection", ()) for name in value.split(",")}
    return [(name, value) for name, value in headers.items() if name.lower() not in _HOP | listed]


def _unavailable(service: str) -> web.Response:
    problem = {
        "type": "https://keruta.dev/problems/unavailable",
        "title": "Unavailable",
        "status": 503,
        "reason": "Unavailable",
        "detail": f"{service} does not answer; it is being restarted. Try again in a few seconds.",
    }
    return web.Response(
        status=503,
        body=msgspec.json.encode(problem),
        content_type="application/problem+json",
        headers={"Retry-After": "2"},
    )
