"""Entries of the audit record as sentences in the reader's language."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from admin.site.language import gettext, marked
from keruta.domain.audit import AuditEntry
from keruta.domain.catalog.kinds import KINDS

ACTIONS: Mapping[str, str] = {
    "create": marked("added"),
    "change": marked("changed"),
    "delete": marked("deleted"),
    "pause": marked("paused"),
    "resume": marked("resumed"),
    "cancel": marked("cancelled"),
    "retry": marked("tried again"),
    "accept": marked("accepted"),
    "input": marked("answered"),
    "push": marked("kept work pushed"),
    "drain": marked("drained"),
    "undrain": marked("draining ended"),
    "disable": marked("disabled"),
    "enable": marked("enabled"),
    "give_roles": marked("gave roles"),
    "revoke": marked("revoked"),
    "replay": marked("replayed"),
    "run": marked("started"),
    "send_again": marked("sent again"),
    "close_circuit": marked("circuit closed"),
    "prune": marked("old data deleted"),
    "refused": marked("was refused"),
}
SUBJECTS: Mapping[str, str] = {
    "task": marked("task"),
    "repository": marked("repository"),
    "credential": marked("credential"),
    "document": marked("document"),
    "profile": marked("profile"),
    "queue": marked("queue"),
    "forge": marked("forge"),
    "trigger": marked("trigger"),
    "template": marked("template"),
    "service_account": marked("service account"),
    "worker": marked("worker"),
    "user": marked("user"),
    "api_key": marked("API key"),
    "webhook": marked("webhook"),
    "dead_letter": marked("dead letter"),
    "storage": marked("storage"),
    "route": marked("route of the API"),
}
_PAGES = {"task": "tasks", "user": "users", **{name: kind.path for name, kind in KINDS.items()}}


def action_name(action: str) -> str:
    return gettext(ACTIONS[action]) if action in ACTIONS else action


def subject_name(kind: str) -> str:
    return gettext(SUBJECTS[kind]) if kind in SUBJECTS else kind


def subject_address(entry: AuditEntry) -> str | None:
    """Return the address of the subject's page, or None for a kind without pages. The subject may have been deleted."""
    page = _PAGES.get(entry.kind)
    return f"/{page}/{quote(entry.of, safe='')}" if page else None


GLOBALS = {
    "action_name": action_name, "subject_name": subject_name, "subject_address": subject_address,
    "subjects": tuple(SUBJECTS),
}  # fmt: skip
