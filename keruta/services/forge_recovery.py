"""Finds what a forge did not deliver, or keruta did not take: compares branches, tags and open pull requests with the
records, and what was done to issues, said in comments and in reviews since.

What is found becomes a delivery as the forge would have sent it, under the event's own identity, so the event itself
still makes no second task when it comes late. A difference counts when it is there for a while: its delivery may be on
its way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from keruta import metrics
from keruta.domain.catalog.triggers import TriggerSpec
from keruta.domain.forge_answers import ForgeError
from keruta.domain.forge_payloads import read_event
from keruta.domain.forge_recovery import delivery_name
from keruta.domain.forges import ForgeEvent
from keruta.errors import Conflict, NotFound
from keruta.ports.deliveries import DeliveryStore
from keruta.ports.forges import ForgeApi, Forges, NamedPayload
from keruta.ports.recovery import Compared, RecoveryStore

log = logging.getLogger(__name__)

OVERLAP = timedelta(minutes=10)
REST_SECONDS = 60.0
COMPARE_SECONDS = 180.0  # for all requests of one comparison


def recover(store: RecoveryStore, deliveries: DeliveryStore, forges: Forges, now: datetime, public_url: str) -> int:
    """Compare one trigger that was not compared for the longest time, if it is due; return the deliveries made."""
    due = store.due(now)
    if due is None or due.spec.forge is None or deliveries.rests(due.spec.forge):
        return 0
    repository = deliveries.at_forge(due.spec)
    if repository is None:
        return 0
    try:
        api = forges.open(due.spec.forge, COMPARE_SECONDS)
        missed = _missed(api, repository, due, store, now, f"{public_url}/events/v1/{due.spec.name}")
    except ForgeError as error:
        deliveries.rest(due.spec.forge, error.again_seconds or REST_SECONDS)
        log.warning("forge not compared: %s", error, extra={"action": "forge_not_compared", "trigger": due.spec.name})
        return 0
    except (NotFound, Conflict):
        return 0
    provider, count = deliveries.provider(due.spec), 0
    for name, payload in missed:
        event = read_event(provider, name, payload)
        if event.kind is None or store.heard(due.spec.name, event):
            continue
        count += _add(deliveries, store, due.spec, event, msgspec.json.encode(payload))
    store.compared(due, now)
    return count


def _add(deliveries: DeliveryStore, store: RecoveryStore, spec: TriggerSpec, event: ForgeEvent, body: bytes) -> bool:
    """Note what was missed, so that the event itself counts as a repeat if it comes late; then store it, once.

    Returns:
        Whether it was not found before.
    """
    store.recovering(spec.name, event)
    try:
        _, new = deliveries.add(spec.name, delivery_name(event), event, body)
    except Conflict:
        new = False  # it was found before, and its text was changed since
    metrics.DELIVERIES.labels(outcome="recovered" if new else "repeated").inc()
    log.warning("delivery recovered", extra={"action": "delivery_recovered", "trigger": spec.name, "event": event.name})
    return new


def _missed(
    api: ForgeApi, repository: str, due: Compared, store: RecoveryStore, now: datetime, address: str
) -> list[NamedPayload]:
    """Return what there is and no delivery told of: each event's name, and its payload.

    What the forge refuses for good is left out: its token may not be allowed to see the webhooks, or a repository may
    have no issues. Raises ForgeError where it may answer later.
    """
    since = due.since - OVERLAP if due.since is not None else None
    parts: list[tuple[set[str], Callable[[], Iterator[NamedPayload]]]] = [
        (set(due.spec.events), lambda: _sent_again(api, repository, address, due.since or now)),
        ({"push"}, lambda: _moved(api, repository, due, store, now, "branch", api.branches(repository))),
        ({"tag"}, lambda: _moved(api, repository, due, store, now, "tag", api.tags(repository))),
        ({"pull_request"}, lambda: _pull_requests(api, repository, due, store, now)),
    ]
    if since is not None:
        parts += [
            ({"comment", "review_comment"}, lambda: _comments(api, repository, due, since)),
            ({"issue"}, lambda: iter(api.issues_since(repository, since))),
            ({"review_comment"}, lambda: iter(api.reviews_since(repository, since))),
        ]
    found: list[NamedPayload] = []
    for events, part in parts:
        if not events & set(due.spec.events):
            continue
        try:
            found += part()
        except ForgeError as error:
            if not error.lasting:
                raise
            said = str(error)
            log.warning("forge not compared: %s", said, extra={"action": "part_not_compared", "trigger": due.spec.name})
    return found


def _sent_again(api: ForgeApi, repository: str, address: str, since: datetime) -> Iterator[NamedPayload]:
    """Have the forge send again what failed; nothing of it is made here."""
    api.redeliver(repository, address, since)
    return iter(())


def _comments(api: ForgeApi, repository: str, due: Compared, since: datetime) -> Iterator[NamedPayload]:
    for payload in api.comments_since(repository, since, labels=bool(due.spec.labels)):
        yield api.comment_event, payload


def _pull_requests(
    api: ForgeApi, repository: str, due: Compared, store: RecoveryStore, now: datetime
) -> Iterator[NamedPayload]:
    """Yield those with a commit that was not told of, and the ends of those that are open no more."""
    pulls = api.open_pull_requests(repository)
    if pulls is None:
        return
    open_now = set()
    for number, commit, payload in pulls:
        open_now.add(f"pull {number}")
        if store.changed(due, f"pull {number}", commit, now) is not None:
            yield api.pull_request_event, payload
    for key in store.gone(due, "pull ", open_now, now):
        yield api.pull_request_event, api.closed_payload(repository, int(key.removeprefix("pull ")), now)


def _moved(
    api: ForgeApi, repository: str, due: Compared, store: RecoveryStore, now: datetime, kind: Literal["branch", "tag"],
    found: Mapping[str, str] | None,
) -> Iterator[NamedPayload]:  # fmt: skip
    """Yield the pushes of branches or tags; None are too many to compare."""
    if found is None:
        return
    ref = "refs/heads/" if kind == "branch" else "refs/tags/"
    for name, commit in found.items():
        before = store.changed(due, f"{kind} {name}", commit, now)
        if before is not None:
            yield "push", api.push_payload(repository, f"{ref}{name}", before, commit)
    store.gone(due, f"{kind} ", {f"{kind} {name}" for name in found}, now)
