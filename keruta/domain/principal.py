"""Principals, as far as their tokens describe them: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from keruta.domain.roles import PEOPLE, READ

EVERYONE = "everyone"
SERVICE = "service-account:"  # begins the subject of a service account, and of no person


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """A person, a service account, or an API key of a person's.

    Args:
        subject: who it is for good, as the issuer says.
        name: what people call it.
        mail_verified: whether the issuer says that the address is theirs.
        client: the program that the token was given to.
        offline: its token has run out while the issuer could not be reached: it may read, and nothing more.
        key: the API key that it came with.
    """

    subject: str
    name: str
    mail: str = ""
    mail_verified: bool = False
    roles: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    client: str = ""
    offline: bool = False
    key: str | None = None

    @property
    def names(self) -> list[str]:
        """Under which names documents may be visible to this one, or its own."""
        return [
            EVERYONE,
            f"user:{self.subject}",
            f"name:{self.name}",
            *(f"group:{group}" for group in sorted(self.groups)),
            *(f"role:{role}" for role in sorted(self.roles)),
        ]

    readers = names

    @property
    def is_person(self) -> bool:
        return bool(self.roles & PEOPLE)


class Sender(msgspec.Struct, frozen=True, kw_only=True):
    """The sender of a report: a worker by its session, or an attempt by its own token."""

    worker: str | None = None
    session: str | None = None
    attempt: str | None = None


def at_path(claims: Mapping[str, Any], path: str) -> frozenset[str]:
    """The texts that a claim holds; `path` goes into objects by dots, as in `realm_access.roles`."""
    value: Any = claims
    for part in path.split(".") if path else ():
        value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, str):
        value = value.split()
    return frozenset(str(one) for one in value) if isinstance(value, list) else frozenset()


def without_slash(groups: Iterable[str]) -> frozenset[str]:
    """Keycloak's groups are paths: the leading slash is none of a group's name."""
    return frozenset(group.removeprefix("/") for group in groups)


def reading_only(roles: frozenset[str]) -> frozenset[str]:
    """Return the roles reduced to reading."""
    return frozenset({"viewer"}) if roles & READ else frozenset()
