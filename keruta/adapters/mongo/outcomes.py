"""What becomes of an entry of a report: accepted, a repeat, or refused with its reason."""

from __future__ import annotations

from keruta.domain.reports import AnyEntry, Outcome
from keruta.ports import Document, Sender

ACCEPTED, REPEAT = Outcome(accepted=True), Outcome(accepted=True, repeat=True)


def refused(reason: str, message: str) -> Outcome:
    return Outcome(accepted=False, reason=reason, message=message)


STALE = refused("StaleAttempt", "This attempt is no longer the task's current one; stop it.")


def not_theirs(sender: Sender, entry: AnyEntry, document: Document | None) -> Outcome | None:
    if document is None:
        return refused("NoSuchTask", "There is no such task.")
    attempt = document.get("attempt") or {}
    if attempt.get("number") != entry.attempt:
        return STALE
    if (sender.worker and attempt["worker"] != sender.worker) or (sender.attempt and attempt["id"] != sender.attempt):
        return refused("NotYours", "This attempt is not the sender's.")
    return None
