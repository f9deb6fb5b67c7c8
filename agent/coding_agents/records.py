"""Values of records that anybody may have written: of the expected type, or empty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


def decoded(line: bytes) -> Mapping[str, Any] | None:
    """Return the JSON object in a line; None where it holds none."""
    if not line.startswith(b"{"):
        return None
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None
    return found if isinstance(found, dict) else None


def text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**12 else 0


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def mappings(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
