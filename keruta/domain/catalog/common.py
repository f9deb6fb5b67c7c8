"""Names and metadata that all kinds of the catalog share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Annotated, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

from keruta.domain.messages import Message, message
from keruta.domain.naming import ENV_NAME, NAME

T = TypeVar("T")
Name = Annotated[
    str, Meta(min_length=1, max_length=63, pattern=f"^{NAME.pattern}$", description="lower-case letters, digits, . _ -")
]
Description = Annotated[str, Meta(max_length=2000)]
Commands = Annotated[list[Annotated[str, Meta(min_length=1, max_length=8192)]], Meta(max_length=50)]
Problems = Iterator[tuple[str, Message | str]]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Filters and order of a list."""

    filters: Mapping[str, str] = msgspec.field(default_factory=dict)
    search: str | None = None
    sort: str = "name"
    limit: int = 50
    cursor: str | None = None


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Metadata of an entry. `revision` grows with each change; it is the entry's ETag."""

    revision: int
    created_at: datetime
    updated_at: datetime
    updated_by: str


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A page of a list. `next` is the cursor of the page after it, null on the last."""

    items: list[T]
    next: str | None = None


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """An import's action on one entry."""

    kind: str
    name: str
    action: Literal["create", "change", "none"]
    changes: list[str] = []


class ImportResult(msgspec.Struct, frozen=True, kw_only=True):
    """Result of an import, or with `dry_run` its expected result. Unchanged entries are only counted."""

    dry_run: bool
    created: int
    changed: int
    unchanged: int
    entries: list[Planned]


def command_faults(at: str, commands: list[str]) -> Problems:
    """Yield a problem for each command that no shell could run."""
    for number, command in enumerate(commands):
        if "\0" in command:
            yield f"{at}/{number}", message("field_nul_in_shell")


def nul_faults(at: str, words: Iterable[str]) -> Problems:
    """Yield a problem for each word that no program can be given."""
    for number, word in enumerate(words):
        if "\0" in word:
            yield f"{at}/{number}", message("field_nul")


def env_faults(env: Mapping[str, str]) -> Problems:
    """Yield a problem for each variable, at `/env`, that no program can be given."""
    for name, value in env.items():
        if not ENV_NAME.fullmatch(name):
            yield f"/env/{name[:80]}", message("field_variable_name")
        if "\0" in value:
            yield f"/env/{name[:80]}", message("field_nul")
