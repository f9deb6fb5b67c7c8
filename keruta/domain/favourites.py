"""Favourites of a person. Pure."""

from __future__ import annotations

import re

import msgspec

from keruta.domain.naming import NAME

LIMIT = 50  # of one person
_COLLECTIONS = {
    "repository": "repositories", "queue": "queues", "worker": "workers", "template": "templates",
    "trigger": "triggers",
}  # fmt: skip
_ACTIVE = ("repository", "queue")  # what goes on there has a page of its own
_WORKER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")


class Favourite(msgspec.Struct, frozen=True, kw_only=True):
    """A favourite by its kind and its name."""

    kind: str
    name: str

    @property
    def address(self) -> str:
        """Return the address of its page."""
        return f"/{_COLLECTIONS[self.kind]}/{self.name}" + ("/activity" if self.kind in _ACTIVE else "")


def parse_favourite(kind: str, name: str) -> Favourite | None:
    """Return the favourite that a form names; None for what can't be one."""
    if kind not in _COLLECTIONS or not (_WORKER if kind == "worker" else NAME).fullmatch(name):
        return None
    return Favourite(kind=kind, name=name)
