"""The decision that assigns a task to a worker, as planned."""

from __future__ import annotations

from keruta.domain.decisions.values import NOW, Decision, Kept, Later, from_sources
from keruta.domain.lifecycle import Change

_OF_EARLIER = {"pushes": Kept("push.attempt"), "resumes": Kept("resume.attempt")}


def on_assign(worker: str, lease_seconds: float) -> Decision:
    """Decide what becomes of a task that may be claimed: a new attempt, leased to its worker."""
    return Decision(
        change=Change.ASSIGN,
        guard=from_sources(Change.ASSIGN, claimable=True, not_cancelled=True),
        fields={"holder": worker, "lease_until": Later(lease_seconds)},
        attempt={"worker": worker, "execution": None, "assigned_at": NOW, **_OF_EARLIER},
        opens_attempt=True,
    )
