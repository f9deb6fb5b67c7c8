"""Reads a request: its body as a typed value, and where it came from."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import flask
import msgspec

from keruta import structs
from keruta.domain.decode import convert
from keruta.domain.json_reading import FaultyJsonError, decode_json
from keruta.domain.messages import message
from keruta.errors import InvalidRequest, TooLarge, UnsupportedMedia
from keruta.http.problems import BadRequest

T = TypeVar("T", bound=msgspec.Struct)

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def address_of(request: flask.Request) -> str:
    """Return the client's address, as the gateway in front of keruta saw it."""
    seen = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    return (seen or request.remote_addr or "")[:45]


def idempotency_key(request: flask.Request) -> str | None:
    """Return the client's `Idempotency-Key`, if there is one. Raises InvalidRequest."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidRequest(message("http_idempotency_key"), reason="InvalidHeader")
    return key


def read_body(request: flask.Request, cls: type[T], limit_bytes: int) -> T:
    """The request's body as a typed value.

    Raises:
        UnsupportedMedia, TooLarge, BadRequest: it is not JSON that keruta reads.
        InvalidRequest: with every fault, and where it is.
    """
    value, faults = convert(_read_json(request, limit_bytes), cls)
    if value is None:
        raise InvalidRequest.of(faults)
    return value


def read_text(request: flask.Request, kind: str, limit_bytes: int) -> str:
    """The body as text of that media type. Raises UnsupportedMedia, TooLarge, BadRequest."""
    try:
        return _read_bytes(request, limit_bytes, kind).decode()
    except UnicodeDecodeError as error:
        raise BadRequest(message("http_not_utf8")) from error


def read_batch(request: flask.Request, cls: type[T], limit_bytes: int) -> T:
    """The body of an agent, decoded in one go: it is a program's, so the first fault is enough."""
    try:
        return structs.from_json(_read_bytes(request, limit_bytes), type=cls)
    except msgspec.ValidationError as error:
        raise InvalidRequest(message("http_batch_fault", error=str(error))) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(message("http_not_json")) from error


def _read_json(request: flask.Request, limit_bytes: int) -> Any:
    try:
        return decode_json(_read_bytes(request, limit_bytes))
    except FaultyJsonError as error:
        raise BadRequest(message("http_not_json_at", error=error.said), reason="MalformedJson") from error


def _read_bytes(request: flask.Request, limit_bytes: int, kind: str = "application/json") -> bytes:
    if request.mimetype != kind:
        raise UnsupportedMedia(message("http_content_type", kind=kind))
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedMedia(message("http_content_encoding", encoding=encoding[:40]))
    if (request.content_length or 0) > limit_bytes:
        raise TooLarge(message("http_body_too_large", limit=limit_bytes))
    body = request.stream.read(limit_bytes + 1)
    if len(body) > limit_bytes:
        raise TooLarge(message("http_body_too_large", limit=limit_bytes))
    return body
