"""Signs statements on attempts that have ended. Run by the tick; safe by many at a time: the first one is kept."""

from __future__ import annotations

import logging

from keruta import __version__
from keruta.domain.naming import attempt_id
from keruta.domain.provenance import statement
from keruta.errors import SettingsError
from keruta.ports import ProvenanceStore, Signer

log = logging.getLogger(__name__)


def publish_key(store: ProvenanceStore, signer: Signer) -> None:
    """Show the key that is in use now, where there is one: so that it can be noted before it has signed anything."""
    try:
        store.publish(signer.public())
    except SettingsError as error:
        log.info("no statements are signed: %s", error, extra={"action": "no_provenance_key"})


def sign_due(store: ProvenanceStore, signer: Signer, *, builder: str) -> int:
    """Sign what is due, and return how many statements that were. A key is published before it has signed anything.

    Args:
        builder: this keruta's address.
    """
    due = store.due()
    if not due:
        return 0
    signed = 0
    try:
        store.publish(signer.public())
        for one in due:
            said = [(a, statement(one.task, a, builder=builder, version=__version__)) for a in one.attempts]
            store.keep(one, [(attempt_id(one.task.id, a.number), signer.sign(what)) for a, what in said])
            signed += len(said)
    except SettingsError as error:  # the rest of the tick goes on
        log.warning("statements of %d tasks stay due: %s", len(due), error, extra={"action": "provenance_due"})
    return signed
