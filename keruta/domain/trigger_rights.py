"""The principal that a trigger's tasks run as, and the reason for which a trigger has stopped."""

from __future__ import annotations

import msgspec

from keruta.domain.catalog import access
from keruta.domain.catalog.service_accounts import ServiceAccountSpec
from keruta.domain.catalog.triggers import TriggerSpec
from keruta.domain.messages import Message, message
from keruta.domain.principal import Principal
from keruta.domain.roles import RUN


class RunsAs(msgspec.Struct, frozen=True, kw_only=True):
    """The principal of a trigger's tasks; and why the trigger starts none."""

    principal: Principal | None = None
    stopped: Message | None = None


def runs_as(spec: TriggerSpec, editor: Principal | None, account: ServiceAccountSpec | None) -> RunsAs:
    """Decide as whom a trigger runs: as its service account while its last editor may use that, else as the editor.

    Args:
        editor: who saved the trigger last, with the roles and groups that they have now; None for one who is unknown
            or shut out.
        account: the service account that the trigger names, as it is now.
    """
    if spec.service_account is not None and account is None:
        return RunsAs(stopped=message("trigger_account_gone", name=spec.service_account))
    own = account.principal if account is not None else editor
    if editor is None or not editor.roles & RUN:
        return RunsAs(principal=own, stopped=message("delivery_editor"))
    if account is not None and not access.may_use(account.access, editor.names):
        return RunsAs(principal=own, stopped=message("trigger_account_refused", who=editor.name, name=account.name))
    return RunsAs(principal=own)
