"""What becomes of an entry of a report: accepted, a repeat, or refused with its reason."""

from __future__ import annotations

from keruta.domain.messages import message
from keruta.domain.reports import AnyEntry, Outcome, refused
from keruta.ports import Document, Sender

ACCEPTED, REPEAT = Outcome(accepted=True), Outcome(accepted=True, repeat=True)

STALE = refused("StaleAttempt", message("attempt_not_current"))


def not_theirs(sender: Sender, entry: AnyEntry, document: Document | None) -> Outcome | None:
    if document is None:
        return refused("NoSuchTask", message("task_missing"))
    attempt = document.get("attempt") or {}
    if attempt.get("number") != entry.attempt:
        return STALE
    if (sender.worker and attempt["worker"] != sender.worker) or (sender.attempt and attempt["id"] != sender.attempt):
        return refused("NotYours", message("attempt_not_senders"))
    return None
