"""Sentences of keruta's refusals. Source: RFC 9457, problem documents"""

from __future__ import annotations

import msgspec

from keruta import structs


class _Problem(msgspec.Struct):
    detail: str = ""


def detail_of(answer: bytes) -> str | None:
    """Return the sentence in an answer; None where it is no problem document."""
    try:
        return structs.from_json(answer, type=_Problem).detail
    except msgspec.DecodeError:
        return None
