"""Finds what a forge did not deliver, or keruta did not take: compares branches, open pull requests and new comments
with the records.

What is found becomes a delivery as the forge would have sent it, under the event's own identity, so the event itself
still makes no second task when it comes late. A difference counts when it is there for a while: its delivery may be on
its way.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from keruta import metrics
from keruta.domain.catalog.triggers import TriggerSpec
from keruta.domain.forge_answers import ForgeError
from keruta.domain.forge_payloads import read_event
from keruta.domain.forges import ForgeEvent
from keruta.errors import Conflict, NotFound
from keruta.ports.deliveries import DeliveryStore
from keruta.ports.forges import ForgeApi, Forges
from keruta.ports.recovery import Compared, RecoveryStore

log = logging.getLogger(__name__)

OVERLAP = timedelta(minutes=10)
REST_SECONDS = 60.0


def recover(store: RecoveryStore, deliveries: DeliveryStore, forges: Forges, now: datetime, public_url: str) -> int:
    """Compare one trigger that was not compared for the longest time, if it is due; return the deliveries made."""
    due = store.due(now)
    if due is None or due.spec.forge is None or deliveries.rests(due.spec.forge):
        return 0
    repository = deliveries.at_forge(due.spec)
    if repository is None:
        return 0
    try:
        api = forges.open(due.spec.forge)
        api.redeliver(repository, f"{public_url}/events/v1/{due.spec.name}", due.since or now)
        missed = list(_missed(api, repository, due, store, now))
    except ForgeError as error:
        deliveries.rest(due.spec.forge, error.again_seconds or REST_SECONDS)
        log.warning("forge not compared", extra={"action": "forge_not_compared", "trigger": due.spec.name})
        return 0
    except (NotFound, Conflict):
        return 0
    provider = deliveries.provider(due.spec)
    for key, name, payload in missed:
        event = read_event(provider, name, payload)
        if event.kind is None:
            continue
        _add(deliveries, store, due.spec, key, event, msgspec.json.encode(payload))
    store.compared(due, now)
    return len(missed)


def _add(
    deliveries: DeliveryStore, store: RecoveryStore, spec: TriggerSpec, key: str, event: ForgeEvent, body: bytes
) -> None:
    """Store what was missed, once; then note it, so that the event itself counts as a repeat if it comes late."""
    if key:
        store.recovering(spec.name, key, event.commit)
    _, new = deliveries.add(spec.name, f"recovered-{event.identity}"[:200].replace(" ", "-"), event, body)
    metrics.DELIVERIES.labels(outcome="recovered" if new else "repeated").inc()
    log.warning("delivery recovered", extra={"action": "delivery_recovered", "trigger": spec.name, "event": event.name})


Missed = tuple[str, str, Mapping[str, Any]]


def _missed(api: ForgeApi, repository: str, due: Compared, store: RecoveryStore, now: datetime) -> Iterator[Missed]:
    """Yield what there is and no delivery told of: the record's key, the event's name, and its payload."""
    events = set(due.spec.events)
    if "push" in events and (heads := api.branches(repository)) is not None:
        for branch, commit in heads.items():
            before = store.changed(due, f"branch {branch}", commit, now)
            if before is not None:
                yield f"branch {branch}", "push", api.push_payload(repository, branch, before, commit)
    if "pull_request" in events and (pulls := api.open_pull_requests(repository)) is not None:
        open_now = set()
        for number, commit, payload in pulls:
            open_now.add(f"pull {number}")
            if store.changed(due, f"pull {number}", commit, now) is not None:
                yield f"pull {number}", api.pull_request_event, payload
        for key in store.gone(due, "pull ", open_now, now):
            yield "", api.pull_request_event, api.closed_payload(repository, int(key.removeprefix("pull ")), now)
    if events & {"comment", "review_comment"} and due.since is not None:
        for payload in api.comments_since(repository, due.since - OVERLAP):
            yield "", api.comment_event, payload
