"""Who may do what to which: pure. Roles say what someone may do at all; these rules say on what.

A refusal is a message, or None where it is allowed.
"""

from __future__ import annotations

from collections.abc import Iterable

from keruta.domain.catalog import access
from keruta.domain.catalog.access import Access
from keruta.domain.messages import Message, message
from keruta.domain.naming import NAME
from keruta.domain.principal import Principal
from keruta.domain.users import ApiKeyRequest

ADMIN = "admin"


def may_read(who: Principal, readers: Iterable[str]) -> bool:
    """Whether what has these readers exists for someone."""
    return not set(readers).isdisjoint(who.names)


def change_refusal(who: Principal, kind: str, name: str, managers: Iterable[str]) -> Message | None:
    """For changing an entry of the catalog."""
    if not set(managers).isdisjoint(who.names):
        return None
    return message("catalog_not_yours", kind=kind, name=name)


def sees_all_keys(who: Principal) -> bool:
    """Whether someone may list and revoke everyone's API keys."""
    return ADMIN in who.roles


def key_refusal(who: Principal, wanted: ApiKeyRequest) -> tuple[str, Message] | None:
    """For making an API key: the reason and the message."""
    if who.key is not None:
        return "KeyNotAllowed", message("identity_key_makes_no_key")
    if missing := sorted(set(wanted.roles) - who.roles):
        return "RoleMissing", message("identity_role_not_yours", role=missing[0])
    return None


def disable_refusal(who: Principal, subject: str) -> Message | None:
    """For shutting someone out."""
    return message("identity_disable_self") if subject == who.subject else None


def roles_refusal(who: Principal, subject: str, roles: Iterable[str]) -> Message | None:
    """For giving someone these roles and no others."""
    if subject == who.subject and ADMIN not in roles:
        return message("identity_own_role")
    return None


def may_see_circuit(who: Principal, name: str, *, reads_entry: bool, reads_task: bool) -> bool:
    """Whether someone may see a circuit: with its entry, or for an address that no entry has, with its last task."""
    by_address = NAME.fullmatch(name) is None
    return reads_entry or ADMIN in who.roles or (by_address and reads_task)


def close_refusal(who: Principal, kind: str, name: str, granted: Access | None) -> Message | None:
    """For closing a circuit of what these grants are on."""
    if access.may_run(granted, who.names):
        return None
    return message("submission_not_permitted", kind=kind, name=name)
