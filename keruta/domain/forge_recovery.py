"""Rules for finding what a forge has not delivered: what a delivery tells of, and what it tells it by. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import timedelta

from keruta.domain.forges import ForgeEvent

TELLING = frozenset({"opened", "reopened", "synchronized"})
NEAR = timedelta(seconds=10)  # an event's own time and its record at the forge differ by less


def delivery_name(event: ForgeEvent) -> str:
    """Return what a delivery of an event is called that was found by comparison: events have names of their own.

    Identities have names of branches and labels in them, which may be long.
    """
    digest = hashlib.sha256(event.identity.encode()).hexdigest()[:16]
    return f"recovered-{event.identity[:150].replace(' ', '-')}-{digest}"


def head_of(event: ForgeEvent) -> str | None:
    """Return the branch, tag or pull request that an event tells the commit of."""
    if event.commit is None:
        return None
    if event.kind in ("push", "tag"):
        return f"{'branch' if event.kind == 'push' else 'tag'} {event.ref}"
    if event.kind == "pull_request" and event.change in TELLING and event.number is not None:
        return f"pull {event.number}"
    return None


def moments_of(event: ForgeEvent) -> list[str]:
    """Return what an event says was done, where its identity is not the same in what the forge lists later.

    An event and its entry in the forge's lists that are of about one time are the same. Comments have numbers.
    """
    if event.kind == "issue":
        return [f"issue {event.number} {event.change} {label}" for label in event.added or ("",)]
    if event.kind == "review_comment" and event.identity.startswith(f"{event.name} "):  # Gitea's have no number
        said = hashlib.sha256((event.comment or "").strip().encode()).hexdigest()[:16]
        return [f"review {event.number} {said}"]
    return []


def is_told(found: ForgeEvent, told: Iterable[ForgeEvent]) -> bool:
    """Say whether deliveries have told of what was found at a forge: of the same, and of about the same time.

    The same label may be put on once more, and Gitea's events do not say which one was.
    """
    wanted = set(moments_of(found))
    near = [event for event in told if found.at is None or event.at is None or abs(event.at - found.at) <= NEAR]
    return bool(wanted) and wanted <= {moment for event in near for moment in moments_of(event)}
