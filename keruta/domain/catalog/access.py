"""Grants: the people and groups who may see, use and manage a repository or queue, and its tasks.

Roles say what someone may do at all; a grant says on what. Without grants an entry is everyone's, as their roles allow.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta

from keruta.domain.principal import EVERYONE

ADMIN = "role:admin"
# No control character, and nothing that YAML or a line takes for an end: what goes out must come in again.
CALLED = r"[^\x00-\x20\x7f-\xa0\u2028\u2029\ufeff][^\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]{0,199}"
Grantee = Annotated[
    str,
    Meta(
        pattern=rf"^(user|name|group|role):{CALLED}$",
        description="name:… or group:… (or user:…, the issuer's own subject; or role:…)",
    ),
]
Grantees = Annotated[list[Grantee], Meta(max_length=200)]


class Access(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Grants. Who manages may also run, and who runs may also read; administrators may everything."""

    read: Grantees = []
    run: Grantees = []
    manage: Grantees = []


class CredentialAccess(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Grants on a credential. Who manages it may use it, and who uses it may see it; administrators may everything.

    Without grants everybody sees that it is there, and administrators alone may use it.
    """

    read: Grantees = []
    use: Grantees = []
    manage: Grantees = []


AnyAccess = Access | CredentialAccess


def readers(access: AnyAccess | None, owner: str | None = None) -> list[str]:
    """Under which names an entry, or a task of `owner`'s on it, is visible."""
    if access is None:
        return [EVERYONE]
    own = [f"user:{owner}"] if owner is not None else []
    users = access.use if isinstance(access, CredentialAccess) else access.run
    return _once([ADMIN, *own, *access.read, *users, *access.manage])


def managers(granted: Iterable[AnyAccess | None], owner: str | None = None) -> list[str]:
    """Return the names that may change an entry, or a task of `owner`'s on these entries."""
    own = [f"user:{owner}"] if owner is not None else []
    return _once([ADMIN, *own, *(name for access in granted if access is not None for name in access.manage)])


def may_run(access: Access | None, names: Iterable[str]) -> bool:
    """Says whether one of these names may run tasks on an entry."""
    return access is None or not {ADMIN, *access.run, *access.manage}.isdisjoint(names)


def may_use(access: CredentialAccess | None, names: Iterable[str]) -> bool:
    """Says whether one of these names may use a credential: without grants, administrators alone."""
    granted = [ADMIN] if access is None else [ADMIN, *access.use, *access.manage]
    return not set(granted).isdisjoint(names)


def _once(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
