"""Permissions on objects, as pure functions. Roles allow an action in general; these rules decide on which objects.

A refusal is a message, or None where it is allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from keruta import structs
from keruta.domain.address import may_be_sent, same_address
from keruta.domain.catalog import access
from keruta.domain.catalog.access import Access, CredentialAccess
from keruta.domain.catalog.coding_agents import CodingAgentOptions
from keruta.domain.catalog.credentials import WITHOUT_HOSTS, allowed_hosts
from keruta.domain.catalog.forges import ForgeSpec
from keruta.domain.catalog.profiles import named_credentials
from keruta.domain.lifecycle import HELD
from keruta.domain.messages import Message, kind_word, message
from keruta.domain.naming import NAME
from keruta.domain.principal import Principal
from keruta.domain.users import ApiKeyRequest
from keruta.errors import Fault, fault

ADMIN = "admin"


def may_read(who: Principal, readers: Iterable[str]) -> bool:
    """Return whether someone may know of an object with these readers."""
    return not set(readers).isdisjoint(who.names)


def change_refusal(who: Principal, kind: str, name: str, managers: Iterable[str]) -> Message | None:
    """Return the refusal, if any, of a change of an entry of the catalog."""
    if not set(managers).isdisjoint(who.names):
        return None
    return message("catalog_not_yours", kind=kind, name=name)


def sees_all_keys(who: Principal) -> bool:
    """Return whether someone may list and revoke everyone's API keys."""
    return ADMIN in who.roles


def key_refusal(who: Principal, wanted: ApiKeyRequest) -> tuple[str, Message] | None:
    """Return the refusal, if any, of making an API key: the reason and the message."""
    if who.key is not None:
        return "KeyNotAllowed", message("identity_key_makes_no_key")
    if missing := sorted(set(wanted.roles) - who.roles):
        return "RoleMissing", message("identity_role_not_yours", role=missing[0])
    return None


def disable_refusal(who: Principal, subject: str) -> Message | None:
    """Return the refusal, if any, of shutting someone out."""
    return message("identity_disable_self") if subject == who.subject else None


def roles_refusal(who: Principal, subject: str, roles: Iterable[str]) -> Message | None:
    """Return the refusal, if any, of giving someone these roles and no others."""
    if subject == who.subject and ADMIN not in roles:
        return message("identity_own_role")
    return None


def may_see_circuit(who: Principal, name: str, *, reads_entry: bool, reads_task: bool) -> bool:
    """Return whether someone may see a circuit: with its entry, or for an address that no entry has, with its last
    task.
    """
    by_address = NAME.fullmatch(name) is None
    return reads_entry or ADMIN in who.roles or (by_address and reads_task)


def close_refusal(who: Principal, kind: str, name: str, granted: Access | None) -> Message | None:
    """Return the refusal, if any, of closing a circuit of what these grants are on."""
    if access.may_run(granted, who.names):
        return None
    return message("submission_not_permitted", kind=kind, name=name)


def attempt_is_over(status: str) -> bool:
    """Return whether a task's current attempt may fetch and store nothing more. A lost attempt may still come back."""
    return status not in HELD


# ---------------------------------------------------------------- credentials

Fields = Mapping[str, Any]  # an entry's spec as it is stored


def naming_refusal(
    who: Principal, kind: str, before: Fields | None, after: Fields, credentials: Mapping[str, Fields]
) -> Message | None:
    """Return the refusal, if any, of naming a credential in an entry, or of changing its address.

    Args:
        before: the entry as it was; None for a new one.
        credentials: those that the entry names now, by name.
    """
    for _, name in _newly_named(kind, before, after):
        spec = credentials[name]
        if not access.may_use(_credential_access(spec), who.names):
            return message("credential_not_yours", name=name)
        if spec["type"] not in WITHOUT_HOSTS and not hosts_of(spec) and ADMIN not in who.roles:
            return message("credential_without_hosts", name=name)
    return None


def address_faults(kind: str, before: Fields | None, after: Fields, credentials: Mapping[str, Fields]) -> list[Fault]:
    """Return a fault for each credential that an entry would send to a host outside the credential's hosts."""
    if kind in ("trigger", "forge"):
        signs = credentials.get(after["webhook_secret"] or "")
        wrong = signs is not None and signs["type"] != "webhook_secret"
        faults = [fault("/webhook_secret", message("trigger_secret_type"))] if wrong else []
        return faults + (_forge_faults(after, credentials) if kind == "forge" else [])
    if kind != "repository":
        return []
    named = [(at, credentials[name]) for at, name in _newly_named(kind, before, after)]
    return [fault(at, said) for at, spec in named if (said := sending_refusal(spec, after["url"])) is not None]


def _forge_faults(after: Fields, credentials: Mapping[str, Fields]) -> list[Fault]:
    """Return a fault where a forge would be signed in at with a credential of another type, or for other hosts."""
    opens = credentials.get(after["credential"] or "")
    if opens is None:
        return []
    if opens["type"] not in ("forge_token", "github_app"):
        return [fault("/credential", message("forge_credential_type"))]
    spec = structs.from_plain(dict(after), ForgeSpec)
    refused = sending_refusal(opens, spec.address)
    return [fault("/credential", refused)] if refused is not None else []


def account_refusal(
    who: Principal, kind: str, before: Fields | None, after: Fields, accounts: Mapping[str, Fields]
) -> Message | None:
    """Return the refusal, if any, of changing a trigger that runs as a service account, or its groups.

    Args:
        accounts: the service accounts that the entry names now, by name.
    """
    name = after["service_account"] if kind == "trigger" else None
    if name is not None and not access.may_use(_credential_access(accounts[name]), who.names):
        return message("service_account_not_yours", name=name)
    same = kind != "service_account" or after["groups"] == (before or {}).get("groups", [])
    if not same and ADMIN not in who.roles:
        return message("service_account_groups")
    return None


def forge_refusal(
    who: Principal, before: Fields | None, after: Fields, named: Mapping[str, Mapping[str, Fields]]
) -> Fault | None:
    """Return the refusal, if any, of a trigger that newly names a forge or another repository, where it will report.

    Args:
        named: the entries that it names now, by kind and name.
    """
    name = after.get("forge")
    same = ("forge", "repository")
    if not name or (before is not None and all(before.get(one) == after.get(one) for one in same)):
        return None
    spec = structs.from_plain(dict(named["forge"][name]), ForgeSpec)
    if not access.may_run(spec.access, who.names):
        return fault("/forge", message("submission_not_permitted", kind=kind_word("forge"), name=name))
    if spec.repository_of(named["repository"][after["repository"]]["url"]) is None:
        return fault("/forge", message("forge_other_repository", forge=name, repository=after["repository"]))
    return None


def moving_refusal(who: Principal, before: Fields | None, after: Fields, forges: Iterable[Fields]) -> Message | None:
    """Return the refusal, if any, of giving a repository another address, for which triggers speak to its forge.

    With the forge's credential keruta reads and writes what is at that address: its branches, pull requests and
    comments. So it takes the same right as a trigger that names the forge.

    Args:
        forges: those that triggers of this repository name.
    """
    if before is None or same_address(before["url"]) == same_address(after["url"]):
        return None
    specs = [structs.from_plain(dict(one), ForgeSpec) for one in forges]
    if all(access.may_run(spec.access, who.names) for spec in specs):
        return None
    return message("repository_of_forge")


def sending_refusal(credential: Fields, url: str) -> Message | None:
    """Return the refusal, if any, of sending a credential to an address.

    One without hosts goes wherever an administrator named it.
    """
    hosts = hosts_of(credential)
    if not hosts or may_be_sent(hosts, url):
        return None
    return message("credential_other_host", name=credential["name"], hosts=", ".join(hosts[:5]))


def hosts_of(credential: Fields) -> list[str]:
    """The hosts that a credential may be sent to; empty where it says none."""
    return allowed_hosts(credential["type"], credential.get("hosts") or (), credential.get("api_url"))


def _credential_access(credential: Fields) -> CredentialAccess | None:
    found = credential.get("access")
    return structs.from_plain(found, CredentialAccess) if found is not None else None


def _sends_to(kind: str, entry: Fields) -> str | None:
    """Return the address that an entry's credentials are sent to, also where it is its kind's own and not written."""
    url: str | None = entry.get("url")
    if kind == "forge":
        return f"{entry['type']} {url}"
    if kind == "profile":
        return CodingAgentOptions(
            coding_agent=entry.get("coding_agent"), model=entry.get("model"), base_url=entry.get("base_url")
        ).model_address
    return url


def _newly_named(kind: str, before: Fields | None, after: Fields) -> Iterator[tuple[str, str]]:
    """Yield each place where an entry newly names a credential, or names it for a new address."""
    moved = before is not None and _sends_to(kind, before) != _sends_to(kind, after)
    if kind == "repository":
        for field in ("read_credential", "push_credential"):
            name = after.get(field)
            if name and (before is None or moved or before.get(field) != name):
                yield f"/{field}", name
    elif kind == "forge":
        for field in ("credential", "webhook_secret"):
            name = after.get(field)
            if name and (before is None or moved or before.get(field) != name):
                yield f"/{field}", name
    elif kind == "trigger":
        secret = after["webhook_secret"]
        if secret and (before is None or before.get("webhook_secret") != secret):
            yield "/webhook_secret", secret
    elif kind == "profile":
        was = named_credentials(before or {})
        for at, name in named_credentials(after).items():
            if was.get(at) != name or (moved and at == "/model_credential"):
                yield at, name
