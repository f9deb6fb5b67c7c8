"""What is on record of a change or a refusal: who, what, of what, when, from where, by which request."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from keruta.domain.catalog.kinds import KindName

Action = Literal[
    "create", "change", "delete", "pause", "resume",
    "cancel", "retry", "accept", "input", "push",
    "drain", "undrain", "disable", "enable", "give_roles", "revoke",
    "replay", "send_again", "close_circuit", "prune", "refused",
]  # fmt: skip
Subject = Literal[
    KindName, "task", "worker", "user", "api_key", "webhook", "dead_letter", "storage", "route",
]  # fmt: skip


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One change, or one refusal. `changes` names the fields that are other than before; never their values.

    `refused` is the reason of a refusal; `offline`: it was while the identity provider was away.
    """

    id: str
    who: str
    action: str
    kind: str
    of: str
    at: datetime
    changes: list[str] = []
    request: str | None = None
    address: str | None = None
    refused: str | None = None
    offline: bool = False


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the audit record, newest first."""

    items: list[AuditEntry]
    next: str | None = None
