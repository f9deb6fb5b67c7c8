"""Looks up as whom a trigger runs: its last editor and its service account, both as they are now."""

from __future__ import annotations

from collections.abc import Callable

from keruta import structs
from keruta.adapters.mongo.client import Database, translated
from keruta.domain.catalog.service_accounts import ServiceAccountSpec
from keruta.domain.catalog.triggers import TriggerSpec
from keruta.domain.principal import Principal
from keruta.domain.trigger_rights import RunsAs, runs_as
from keruta.errors import Unauthenticated


class TriggerRights:
    """Rights of triggers on one database.

    Args:
        editors: finds a person by their subject, as they were last seen; None for one who is shut out.
    """

    def __init__(self, database: Database, editors: Callable[[str], Principal | None]) -> None:
        self._accounts = database["service_accounts"]
        self._editors = editors

    def of(self, spec: TriggerSpec, editor: str) -> RunsAs:
        """Return as whom a trigger runs that was last saved by this subject."""
        account = None
        if spec.service_account is not None:
            with translated():
                row = self._accounts.find_one({"_id": spec.service_account}, ["spec"])
            account = structs.from_plain(row["spec"], ServiceAccountSpec) if row is not None else None
        try:
            person = self._editors(editor)
        except Unauthenticated as error:  # has not come in person for too long
            return RunsAs(principal=account.principal if account is not None else None, stopped=error.message)
        return runs_as(spec, person, account)
