"""Asks a forge what it alone knows about an event: who keruta is there, and what a trigger needs of an event."""

from __future__ import annotations

import logging

from keruta.domain.catalog.triggers import TriggerSpec
from keruta.domain.deliveries import Due, Verdict
from keruta.domain.forge_answers import ForgeError
from keruta.domain.forge_facts import Facts, questions
from keruta.domain.forges import ForgeEvent
from keruta.domain.messages import message
from keruta.errors import Conflict
from keruta.ports.deliveries import DeliveryStore, OwnAccount
from keruta.ports.forges import ForgeApi, Forges

log = logging.getLogger(__name__)

# After each try that failed, the next one comes so much later; after the last, nothing is started.
ASK_AGAIN_SECONDS = (5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 21_600.0)
ACCOUNT_TRIES = 3  # a forge that does not say who keruta is holds up no other event for longer


def must_ask(found: Verdict, event: ForgeEvent, account: OwnAccount) -> bool:
    """Say whether the forge must be asked before a task may start."""
    from_forge = event.kind not in ("schedule", "run", "event")
    return found.state == "ask" or (found.state in ("start", "held") and from_forge and not account.known)


def ask(store: DeliveryStore, forges: Forges, spec: TriggerSpec, due: Due) -> tuple[Facts, int | None]:
    """Return the facts that a trigger needs, and keruta's account. Raises ForgeError, NotFound, Conflict."""
    assert spec.forge is not None
    account = store.account(spec)
    identity, api = account.id, None
    if not account.known:
        try:
            api = forges.open(spec.forge)
            identity = api.account().id
            store.note_account(spec.forge, identity)
        except (ForgeError, Conflict) as error:
            # One that refuses the credential lets keruta do nothing there, so the event is somebody else's.
            if isinstance(error, ForgeError) and error.kind in ("away", "limited") and due.tries < ACCOUNT_TRIES:
                raise
            log.warning("own account not known", extra={"action": "account_not_known", "forge": spec.forge})
    wanted = questions(spec, due.event)
    if not wanted.any:
        return Facts(), identity
    repository = due.at_forge
    if repository is None and not wanted.needed:
        return Facts(), identity
    if repository is None:
        raise Conflict(message("forge_no_credential", name=spec.forge), reason="CredentialMissing")
    return _facts(api or forges.open(spec.forge), repository, spec, due.event), identity


def _facts(api: ForgeApi, repository: str, spec: TriggerSpec, event: ForgeEvent) -> Facts:
    wanted = questions(spec, event)
    return Facts(
        permission=api.permission(repository, event.sender or "", event.sender_id)
        if wanted.permission and event.sender
        else None,
        pull_request=api.pull_request_head(repository, event.number)
        if wanted.pull_request and event.number is not None
        else None,
        branches=api.branches_at(repository, event.commit, event.ref)
        if wanted.branches and event.commit is not None
        else [],
        labels=_labels(api, repository, event) if wanted.labels else None,
    )


def _labels(api: ForgeApi, repository: str, event: ForgeEvent) -> list[str] | None:
    """Return which labels an event has put on; None where the forge does not say."""
    assert event.number is not None
    assert event.at is not None
    try:
        put = api.labels_put(repository, event.number, event.at)
    except ForgeError as error:
        if not error.lasting:
            raise
        return None
    return [name for name in put if name in event.labels] or None
