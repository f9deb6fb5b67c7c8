"""The description of a route: method, address, roles and types."""

from __future__ import annotations

from typing import Any

import msgspec


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A query parameter."""

    name: str
    description: str
    schema: dict[str, Any] = msgspec.field(default_factory=lambda: {"type": "string"})


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One operation. `answer` is a type, or a media type for what is not JSON.

    `inside`: for those inside the cluster alone; no client is told of it.
    """

    name: str
    method: str
    path: str
    summary: str
    roles: frozenset[str]
    body: Any = None
    answer: Any = None
    status: int = 200
    problems: tuple[int, ...] = ()
    query: tuple[Parameter, ...] = ()
    headers: tuple[Parameter, ...] = ()
    inside: bool = False


_LIMIT = {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}
IDEMPOTENCY_KEY = Parameter(
    name="Idempotency-Key", description="for 24 hours, the same key is the same request",
    schema={"type": "string", "pattern": "^[!-~]{1,255}$"},
)  # fmt: skip
PAGED = (
    Parameter(name="limit", description="how many a page has", schema=_LIMIT),
    Parameter(name="cursor", description="`next` of the page before"),
)
