"""What all kinds of the catalog have in common: names, and what is known of every entry beside what was written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

from keruta.domain.messages import Message, message
from keruta.domain.naming import NAME

T = TypeVar("T")
Name = Annotated[
    str, Meta(min_length=1, max_length=63, pattern=f"^{NAME.pattern}$", description="lower-case letters, digits, . _ -")
]
Description = Annotated[str, Meta(max_length=2000)]
Commands = Annotated[list[Annotated[str, Meta(min_length=1, max_length=8192)]], Meta(max_length=50)]
Problems = Iterator[tuple[str, Message | str]]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a list is narrowed to, and its order."""

    filters: Mapping[str, str] = msgspec.field(default_factory=dict)
    search: str | None = None
    sort: str = "name"
    limit: int = 50
    cursor: str | None = None


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an entry. `revision` grows with each change; it is the entry's ETag."""

    revision: int
    created_at: datetime
    updated_at: datetime
    updated_by: str


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A page of a list. `next` is the cursor of the page after it, null on the last."""

    items: list[T]
    next: str | None = None


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """What an import does with one entry."""

    kind: str
    name: str
    action: Literal["create", "change", "none"]
    changes: list[str] = []


class ImportResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, or with `dry_run` would be; entries that stay as they are are counted only."""

    dry_run: bool
    created: int
    changed: int
    unchanged: int
    entries: list[Planned]


def command_faults(at: str, commands: list[str]) -> Problems:
    """What no shell could run."""
    for number, command in enumerate(commands):
        if "\0" in command:
            yield f"{at}/{number}", message("field_nul_in_shell")
