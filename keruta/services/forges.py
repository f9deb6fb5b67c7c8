"""Use cases of forges: sign in, find and add repositories, connect a trigger."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import msgspec

from keruta.domain.catalog.common import Page
from keruta.domain.catalog.forges import (
    SCOPES,
    AddRepository,
    ForgeCheck,
    ForgeRepository,
    ForgeWebhook,
)
from keruta.domain.catalog.repositories import RepositorySpec, RepositoryView
from keruta.domain.catalog.triggers import TriggerSpec
from keruta.domain.forge_answers import ForgeError
from keruta.domain.forge_posts import Hook
from keruta.domain.messages import fields_of, message
from keruta.domain.naming import NAME
from keruta.domain.principal import Principal
from keruta.errors import Conflict, InvalidRequest, NotFound, Problem, Unavailable, fault
from keruta.ports.catalog import Catalog, Catalogs
from keruta.ports.forges import Forges

REASONS = {"away": "ForgeAway", "limited": "ForgeLimited", "unauthorized": "ForgeUnauthorized"}
NAME_MOST = 63
PAGE_NUMBER = re.compile(r"[1-9][0-9]{0,3}")


def check_forge(who: Principal, name: str, *, forges: Forges, public_url: str) -> ForgeCheck:
    """Sign in at a forge, and say as whom. Raises NotFound, Forbidden."""
    spec = forges.manageable(who, name)
    beside: dict[str, Any] = {
        "scopes": SCOPES[spec.type], "webhook_address": f"{public_url}/events/v1/NAME", "at": datetime.now(UTC),
    }  # fmt: skip
    try:
        account = forges.open(name).account()
    except ForgeError as error:
        reason = REASONS.get(error.kind, "ForgeRefused")
        return ForgeCheck(signed_in=False, reason=reason, **fields_of(error.message), **beside)
    except Conflict as error:
        return ForgeCheck(signed_in=False, reason=error.reason, **fields_of(error.message), **beside)
    said = message("forge_signed_in", account=account.login)
    return ForgeCheck(signed_in=True, account=account.login, **fields_of(said), **beside)


def found_repositories(who: Principal, name: str, cursor: str | None, *, forges: Forges) -> Page[ForgeRepository]:
    """Return one page of the repositories at a forge.

    Raises:
        NotFound, Forbidden, Conflict, Unavailable.
        InvalidRequest: the cursor was not issued by this list.
    """
    forges.manageable(who, name)
    if cursor is not None and not PAGE_NUMBER.fullmatch(cursor):
        raise InvalidRequest.cursor()
    page = int(cursor or 1)
    try:
        found = forges.open(name).repositories(page)
    except ForgeError as error:
        raise _problem(error) from error
    known = forges.names_of(who, [one.url for one in found])
    items = [msgspec.structs.replace(one, added=known.get(one.url)) for one in found]
    return Page(items=items, next=str(page + 1) if items else None)


def add_repository(
    who: Principal, name: str, wanted: AddRepository, *, forges: Forges, catalog: Catalog
) -> RepositoryView:
    """Add a repository of a forge to the catalog. Raises NotFound, Forbidden, Conflict, InvalidRequest, Unavailable."""
    spec = forges.manageable(who, name)
    own = wanted.name or _name_of(wanted.repository)
    if own is None:
        raise InvalidRequest.of([fault("/name", message("forge_repository_name"))])
    try:
        found = forges.open(name).repository(wanted.repository)
    except ForgeError as error:
        raise _problem(error) from error
    if spec.repository_of(found.url) is None:
        raise Conflict(message("forge_other_repository", repository=wanted.repository, forge=name))
    made: RepositoryView = catalog.create(who, RepositorySpec(
        name=own, url=found.url, read_credential=wanted.read_credential, push_credential=wanted.push_credential,
        access=wanted.access,
    ))  # fmt: skip
    return made


def connect(
    who: Principal, name: str, trigger: str, *, forges: Forges, catalogs: Catalogs, public_url: str
) -> ForgeWebhook:
    """Have a forge deliver to a trigger. Raises NotFound, Forbidden, Conflict, Unavailable."""
    spec = forges.manageable(who, name)
    connected = forges.trigger(who, trigger, name)
    repository = spec.repository_of(forges.repository_url(connected.spec.repository))
    if repository is None:
        raise Conflict(message("forge_other_repository", repository=connected.spec.repository, forge=name))
    address = f"{public_url}/events/v1/{trigger}"
    events = hook_events(connected.spec)
    if not events:
        raise Conflict(message("forge_no_events", trigger=trigger), reason="NoEvents")
    try:
        made = forges.open(name).put_hook(repository, Hook(address=address, secret=connected.secret, events=events))
    except ForgeError as error:
        raise _problem(error) from error
    catalogs.audit.record(who.name, "change", "trigger", trigger, readers=["role:admin"])
    return ForgeWebhook(trigger=trigger, repository=repository, address=address, events=events, made=made)


def hook_events(spec: TriggerSpec) -> list[str]:
    """Return the events that the forge is to deliver: also that a pull request is closed, which ends its tasks."""
    events: list[str] = list(spec.events)
    if {"comment", "review_comment"} & set(events) and "pull_request" not in events:
        events.append("pull_request")
    return events


def _name_of(repository: str) -> str | None:
    """A name for the catalog, of a repository's own."""
    own = re.sub(r"[^a-z0-9._-]+", "-", repository.rpartition("/")[2].lower())[:NAME_MOST].strip("-._")
    return own if NAME.fullmatch(own) else None


def _problem(error: ForgeError) -> Problem:
    if error.kind == "missing":
        return NotFound(error.message, reason="ForgeMissing")
    if error.lasting or error.kind == "unauthorized":
        return Conflict(error.message, reason=REASONS.get(error.kind, "ForgeRefused"))
    return Unavailable(error.message, reason=REASONS.get(error.kind, "ForgeAway"))
