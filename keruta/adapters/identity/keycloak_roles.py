"""People's roles at Keycloak, changed by a service account that may do so there.

Source: https://www.keycloak.org/docs-api/latest/rest-api/index.html (Role Mapper)
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, get_args
from urllib.parse import quote

from keruta.adapters.http_client import Http, NoAnswerError
from keruta.adapters.identity.service_account import NoTokenError, ServiceAccount
from keruta.domain.messages import message
from keruta.domain.users import Role
from keruta.errors import Conflict, NotFound, Unavailable

REQUEST_SECONDS = 5.0
ROLES: tuple[str, ...] = get_args(Role)


class KeycloakRoles:
    """The roles of keruta's in one realm.

    Args:
        issuer_url: where the realm is reached: `…/realms/NAME`.
        account: of a client with `view-users` and `manage-users` of `realm-management`.
    """

    def __init__(self, issuer_url: str, account: ServiceAccount) -> None:
        base, _, realm = issuer_url.rstrip("/").rpartition("/realms/")
        self._users = f"{base}/admin/realms/{realm}/users"
        self._account = account
        self._http = Http(REQUEST_SECONDS)

    def change(self, subject: str, wanted: Iterable[str]) -> list[str]:
        """Someone has these roles of keruta's and no other of them; returns those that they have then.

        Raises:
            NotFound: Keycloak has nobody of this subject.
            Conflict: they have a role through a group, which is changed there; or Keycloak refuses.
            Unavailable: Keycloak is away.
        """
        wanted = set(wanted)
        mappings = f"{self._users}/{quote(subject, safe='')}/role-mappings/realm"
        direct = {role["name"]: role for role in self._ask("GET", mappings) if role["name"] in ROLES}
        free = {role["name"]: role for role in self._ask("GET", f"{mappings}/available") if role["name"] in ROLES}
        if taken := [role for name, role in direct.items() if name not in wanted]:
            self._ask("DELETE", mappings, taken)
        if given := [role for name, role in free.items() if name in wanted]:
            self._ask("POST", mappings, given)
        has = sorted(role["name"] for role in self._ask("GET", f"{mappings}/composite") if role["name"] in ROLES)
        if kept := sorted(set(has) - wanted):
            raise Conflict(
                message("identity_role_by_group", role=kept[0]),
                reason="RoleOfGroup",
            )
        return has

    def _ask(self, method: str, url: str, body: Any = None) -> Any:
        try:
            headers = {"Authorization": f"Bearer {self._account.token()}", "Content-Type": "application/json"}
            sent = None if body is None else json.dumps(body)
            answer = self._http.ask(method, url, body=sent, headers=headers)
            if answer.status == 404:
                raise NotFound(message("identity_not_in_keycloak"), reason="UserNotFound")
            if answer.status == 403:
                raise Conflict(
                    message("identity_keycloak_forbids"),
                    reason="RolesElsewhere",
                )
            if answer.status >= 300:
                raise Unavailable(message("identity_keycloak_failed", status=answer.status))
            return json.loads(answer.body) if answer.body else None
        except (NoTokenError, NoAnswerError, ValueError) as error:
            raise Unavailable(message("identity_keycloak_away")) from error
