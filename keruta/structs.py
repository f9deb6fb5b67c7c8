"""Structs made from JSON or from plain data, safely in several threads at once.

msgspec reads a struct's annotations when the struct is first used, and marks it as read before it has ended. A second
thread that uses the struct in between ends the process with a segmentation fault (msgspec 0.22). So one thread prepares
each type, under a lock, before it is used. Nothing else in keruta decodes into a type.
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar, overload

import msgspec

T = TypeVar("T")

_lock = threading.Lock()
_prepared: set[Any] = set()


@overload
def from_json(data: bytes | str, type: type[T]) -> T: ...
@overload
def from_json(data: bytes | str, type: Any) -> Any: ...
def from_json(data: bytes | str, type: Any) -> Any:
    """Return a value of that type. Raises msgspec.MsgspecError, which says where the JSON differs from the type."""
    _prepare(type)
    return msgspec.json.decode(data, type=type)


@overload
def from_plain(value: Any, type: type[T], *, strict: bool = True) -> T: ...
@overload
def from_plain(value: Any, type: Any, *, strict: bool = True) -> Any: ...
def from_plain(value: Any, type: Any, *, strict: bool = True) -> Any:
    """Return a value of that type, made from dicts, lists and scalars. Raises msgspec.ValidationError."""
    _prepare(type)
    return msgspec.convert(value, type, strict=strict)


def _prepare(type: Any) -> None:
    if type in _prepared:
        return
    with _lock:
        msgspec.json.Decoder(type)
        _prepared.add(type)
