"""People and their API keys: who may be shut out, who gets which roles, which keys are made."""

from __future__ import annotations

from collections.abc import Sequence

from keruta.domain import permissions
from keruta.domain.messages import message
from keruta.domain.principal import Principal
from keruta.domain.users import ApiKeyMade, ApiKeyRequest, UserView
from keruta.errors import Conflict, Forbidden
from keruta.ports.people import Accounts, RoleStore


def set_disabled(who: Principal, subject: str, *, disabled: bool, accounts: Accounts) -> UserView:
    """Shut someone out, or let them in again. Raises NotFound; Conflict: nobody shuts out themselves."""
    if disabled and (refusal := permissions.disable_refusal(who, subject)):
        raise Conflict(refusal, reason="OwnAccount")
    return accounts.set_disabled(who, subject, disabled=disabled)


def give_roles(
    who: Principal, subject: str, roles: Sequence[str], *, accounts: Accounts, role_store: RoleStore | None
) -> UserView:
    """Give someone these roles and no others, at the identity provider. Raises NotFound, Conflict, Unavailable."""
    accounts.user(subject)
    if refusal := permissions.roles_refusal(who, subject, roles):
        raise Conflict(refusal, reason="OwnAccount")
    if role_store is None:
        raise Conflict(message("identity_roles_elsewhere"), reason="RolesElsewhere")
    return accounts.note_roles(who, subject, role_store.change(subject, roles))


def make_key(who: Principal, wanted: ApiKeyRequest, *, accounts: Accounts) -> ApiKeyMade:
    """Make an API key, which is told this once.

    Raises:
        Forbidden: roles that its owner has not, or an API key asks for another.
        Conflict: there are too many.
    """
    if refusal := permissions.key_refusal(who, wanted):
        reason, said = refusal
        raise Forbidden(said, reason=reason)
    return accounts.make_key(who, wanted)
