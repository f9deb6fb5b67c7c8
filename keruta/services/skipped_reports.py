"""Tells forges of events that a trigger's filters have skipped, so that a check that is required does not hang."""

from __future__ import annotations

import logging

from keruta.domain.forge_answers import ForgeError
from keruta.domain.forge_posts import CommitStatus
from keruta.domain.forge_reports import AGAIN_SECONDS
from keruta.domain.forges import CONTEXT
from keruta.domain.messages import message
from keruta.errors import Conflict, NotFound
from keruta.ports.deliveries import DeliveryStore
from keruta.ports.forges import Forges

log = logging.getLogger(__name__)

AT_ONCE = 50


def report_skipped(store: DeliveryStore, forges: Forges, public_url: str) -> int:
    """Send the statuses that are due; return how many were tried."""
    count = 0
    while count < AT_ONCE and (due := store.take_skipped()) is not None:
        count += 1
        spec, commit = due.spec, due.event.commit
        repository = store.at_forge(spec) if spec is not None else None
        if spec is None or spec.forge is None or repository is None or commit is None or store.has_status(due):
            store.skip_told(due, None)
            continue
        if store.rests(spec.forge):
            store.skip_told(due, AGAIN_SECONDS[1])
            continue
        status = CommitStatus(
            state="succeeded", context=f"{CONTEXT}{spec.name}", description=message("report_skipped").text,
            url=f"{public_url}/triggers/{spec.name}/deliveries",
        )  # fmt: skip
        again: float | None = None
        try:
            forges.open(spec.forge).set_status(repository, commit, status)
        except ForgeError as error:
            if not error.lasting and due.tries < len(AGAIN_SECONDS):
                again = max(error.again_seconds or 0.0, float(AGAIN_SECONDS[due.tries]))
                store.rest(spec.forge, error.again_seconds or AGAIN_SECONDS[0])
            log.warning("forge not told: skipped", extra={"action": "forge_not_told", "delivery": due.id})
        except (NotFound, Conflict):
            log.warning("forge not told: skipped", extra={"action": "forge_not_told", "delivery": due.id})
        store.skip_told(due, again)
    return count
