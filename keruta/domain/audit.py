"""Entries of the audit record: who, what, of what, when, from where, by which request."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from keruta.domain.catalog.kinds import KindName
from keruta.domain.messages import Message, as_message, kind_word, message, reason_word

Action = Literal[
    "create", "change", "delete", "pause", "resume",
    "cancel", "retry", "accept", "input", "push",
    "drain", "undrain", "disable", "enable", "give_roles", "revoke",
    "replay", "run", "send_again", "close_circuit", "prune", "refused",
]  # fmt: skip
Subject = Literal[
    KindName, "task", "worker", "user", "api_key", "webhook", "dead_letter", "storage", "route",
]  # fmt: skip


# What an action is said by, but for a refusal, which has its reason.
_CODES = frozenset({
    "audit_create", "audit_change", "audit_delete", "audit_pause", "audit_resume",
    "audit_cancel", "audit_retry", "audit_accept", "audit_input", "audit_push",
    "audit_drain", "audit_undrain", "audit_disable", "audit_enable", "audit_give_roles", "audit_revoke",
    "audit_replay", "audit_run", "audit_send_again", "audit_close_circuit", "audit_prune",
})  # fmt: skip


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One change, or one refusal. `changes` names the fields that are other than before; never their values.

    `refused` is the reason of a refusal; `offline`: it was while the identity provider was away. `message` is the entry
    as a sentence.
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
    message: str | None = None
    message_code: str | None = None
    message_arguments: dict[str, Any] | None = None


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the audit record, newest first."""

    items: list[AuditEntry]
    next: str | None = None


def sentence(who: str, action: str, kind: str, of: str, refused: str | None) -> Message:
    """Say an entry in one sentence. One of an unknown action, of another version, is said as it is written."""
    if action == "refused":
        return message("audit_refused", who=who, kind=kind_word(kind), of=of, reason=reason_word(refused))
    code = f"audit_{action}"
    if code not in _CODES:
        return as_message(f"{who}: {action} {kind} {of}")
    return message(code, who=who, kind=kind_word(kind), of=of)
