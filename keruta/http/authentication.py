"""Who asks, by the request's token, and whether their roles allow the route."""

from __future__ import annotations

import flask

from keruta.domain.api.route import Route
from keruta.domain.principal import Principal
from keruta.errors import Forbidden, Unauthenticated
from keruta.ports import Verifying


def bearer_token(request: flask.Request) -> str:
    """The request's token. Raises Unauthenticated when there is none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("This needs a token: Authorization: Bearer …")
    return token.strip()


def authorize(route: Route, token: str, verifier: Verifying) -> Principal:
    """Says whose token it is, when they may. Raises Unauthenticated or Forbidden."""
    principal = verifier.verify(token)
    flask.g.principal = principal
    if not principal.roles & route.roles:
        raise role_missing(route, principal)
    return principal


def role_missing(route: Route, principal: Principal) -> Forbidden:
    """What is missing, and no word of what is there."""
    if principal.offline:
        said = (
            "Your sign-in has run out while the identity provider can't be reached: until it is back you may read only."
        )
        return Forbidden(said, reason="OfflineReadOnly")
    return Forbidden(f"This needs the role {' or '.join(sorted(route.roles))}.", reason="RoleMissing")
