"""Authentication by the request's token, and the check of its roles against the route."""

from __future__ import annotations

import flask

from keruta.domain.api.route import Route
from keruta.domain.messages import message
from keruta.domain.principal import Principal
from keruta.errors import Forbidden, Unauthenticated
from keruta.ports import Verifying


def bearer_token(request: flask.Request) -> str:
    """The request's token. Raises Unauthenticated when there is none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated(message("http_token_required"))
    return token.strip()


def authorize(route: Route, token: str, verifier: Verifying) -> Principal:
    """Says whose token it is, when they may. Raises Unauthenticated or Forbidden."""
    principal = verifier.verify(token)
    flask.g.principal = principal
    if not principal.roles & route.roles:
        raise role_missing(route, principal)
    return principal


def role_missing(route: Route, principal: Principal) -> Forbidden:
    """Return a refusal that names the missing role, and nothing about the requested object."""
    if principal.offline:
        said = message("http_offline_read_only")
        return Forbidden(said, reason="OfflineReadOnly")
    return Forbidden(message("http_role_missing", roles=" or ".join(sorted(route.roles))), reason="RoleMissing")
