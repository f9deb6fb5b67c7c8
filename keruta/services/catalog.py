"""Use cases of the catalog: entries, paused queues, circuits, checks of a repository's server."""

from __future__ import annotations

from typing import Any

from keruta.domain.catalog import access
from keruta.domain.catalog.common import ImportResult
from keruta.domain.catalog.credentials import CredentialView
from keruta.domain.catalog.queues import QueueView
from keruta.domain.catalog.repositories import Validation
from keruta.domain.messages import message
from keruta.domain.model_keys import KeyCheck
from keruta.domain.principal import Principal
from keruta.errors import Forbidden
from keruta.ports.catalog import Catalog, Catalogs, ModelCheck, RemoteCheck, Transfer
from keruta.services.task_commands import CommandPorts, refuse_queued


def create(who: Principal, spec: Any, *, catalog: Catalog) -> Any:
    """Add an entry. Raises Conflict: the name is taken; Forbidden, InvalidRequest."""
    return catalog.create(who, spec)


def replace(who: Principal, name: str, spec: Any, revision: int | None, *, catalog: Catalog) -> Any:
    """Make an entry as it is written; None as the revision means whatever is there.

    Raises:
        NotFound, Forbidden, Conflict, InvalidRequest.
        PreconditionFailed: it was changed meanwhile.
    """
    return catalog.replace(who, name, spec, revision)


def delete(
    who: Principal, name: str, revision: int | None, *, force: bool, catalog: Catalog, commands: CommandPorts
) -> None:
    """Delete an entry; with `force` the queued tasks that need it fail.

    Raises:
        NotFound, Forbidden, PreconditionFailed.
        Conflict: something needs it.
    """
    catalog.delete(who, name, revision, force=force)
    if force:
        refuse_queued(commands, who, catalog.kind.name, name)


def pause(who: Principal, name: str, reason: str, *, catalogs: Catalogs) -> QueueView:
    """Start nothing of a queue until it is resumed. Raises NotFound, Forbidden."""
    paused: QueueView = catalogs["queue"].pause(who, name, reason)
    return paused


def resume(who: Principal, name: str, *, catalogs: Catalogs) -> QueueView:
    """Start a queue's tasks again. Raises NotFound, Forbidden."""
    resumed: QueueView = catalogs["queue"].resume(who, name)
    return resumed


def close_circuit(who: Principal, identity: str, *, catalogs: Catalogs) -> None:
    """Let its tasks run again. Raises NotFound, Forbidden."""
    closed = catalogs.circuits.close(who, identity)
    catalogs.audit.record(who.name, "close_circuit", closed.kind, closed.name, readers=["role:admin"])


def check_repository(who: Principal, name: str, *, catalogs: Catalogs, remote_check: RemoteCheck) -> Validation:
    """Ask a repository's real server what is there; where it works, its tasks run again. Raises NotFound."""
    found = remote_check(catalogs["repository"].show(who, name))
    if found.reason is None:
        catalogs.circuits.close_of(who, "repository", name)
    return found


def check_key(who: Principal, name: str, *, catalogs: Catalogs, model_check: ModelCheck) -> KeyCheck:
    """Ask the model's server whether it takes a key; where it does, tasks that wait for it run again.

    Raises:
        NotFound.
        Forbidden: they may not use the key.
    """
    shown: CredentialView = catalogs["credential"].show(who, name)
    if not access.may_use(shown.access, who.names):
        raise Forbidden(message("credential_not_yours", name=name), reason="GrantMissing")
    found = model_check(name)
    if found.accepted:
        catalogs.circuits.close_of(who, "credential", name)
    return found


def bring_in(who: Principal, text: str, *, dry_run: bool, transfer: Transfer) -> ImportResult:
    """Add and change entries as a YAML document says: all of it, or nothing. Raises InvalidRequest, Forbidden."""
    return transfer.bring_in(who, text, dry_run=dry_run)
