"""A service account: what triggers run as, in place of a person. It cannot sign in, and has no key."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from keruta.domain.catalog.access import CALLED, CredentialAccess
from keruta.domain.catalog.common import Description, Kept, Name
from keruta.domain.principal import SERVICE, Principal

Group = Annotated[str, Meta(pattern=rf"^{CALLED}$")]


class ServiceAccountSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service account as an administrator writes it. Its role is `developer`.

    Args:
        groups: the groups whose grants count for it; its own grants name it as `user:service-account:NAME`.
        access: who may use it: have triggers run as it. Without grants that is administrators alone.
    """

    name: Name
    description: Description = ""
    groups: Annotated[list[Group], Meta(max_length=50)] = []
    access: CredentialAccess | None = None

    @property
    def principal(self) -> Principal:
        own = f"{SERVICE}{self.name}"
        return Principal(subject=own, name=own, roles=frozenset({"developer"}), groups=frozenset(self.groups))


class ServiceAccountView(ServiceAccountSpec, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A service account as the API shows it, with the triggers that run as it."""

    meta: Kept
    used_by: list[str] = []
