"""The routes of people, of their API keys, and of what they did."""

from __future__ import annotations

from keruta.domain.api.route import PAGED, Parameter, Route
from keruta.domain.audit import AuditPage
from keruta.domain.catalog.common import Page
from keruta.domain.roles import ANYONE, MANAGE, READ
from keruta.domain.users import ApiKeyMade, ApiKeyRequest, ApiKeyView, Me, RolesRequest, SignIn, UserView

PEOPLE: tuple[Route, ...] = (
    Route(
        name="me", method="GET", path="/api/v1/me", summary="Who asks, as keruta sees them", roles=READ, answer=Me,
    ),
    Route(
        name="sign_in", method="GET", path="/api/v1/sign-in", summary="Where people sign in, for programs that do",
        roles=ANYONE, answer=SignIn,
    ),
    Route(
        name="list_users", method="GET", path="/api/v1/users", summary="Who has been here, by name", roles=MANAGE,
        answer=Page[UserView], problems=(422,),
        query=(Parameter(name="q", description="what the name begins with"), *PAGED),
    ),
    Route(
        name="show_user", method="GET", path="/api/v1/users/{subject}", summary="Show someone", roles=MANAGE,
        answer=UserView, problems=(404,),
    ),
    Route(
        name="disable_user", method="POST", path="/api/v1/users/{subject}/disable", roles=MANAGE, answer=UserView,
        summary="Let someone in no more, whatever tokens they have", problems=(404, 409),
    ),
    Route(
        name="enable_user", method="POST", path="/api/v1/users/{subject}/enable", roles=MANAGE, answer=UserView,
        summary="Let someone in again", problems=(404,),
    ),
    Route(
        name="set_roles", method="PUT", path="/api/v1/users/{subject}/roles", roles=MANAGE, answer=UserView,
        summary="Give someone these roles at Keycloak; they count with the next token", body=RolesRequest,
        problems=(400, 404, 409, 413, 415, 422),
    ),
    Route(
        name="list_api_keys", method="GET", path="/api/v1/api-keys", roles=READ, answer=Page[ApiKeyView],
        summary="List one's API keys, newest first; an administrator's list has everyone's", query=PAGED,
        problems=(422,),
    ),
    Route(
        name="create_api_key", method="POST", path="/api/v1/api-keys", summary="Make an API key; it is shown this once",
        roles=READ, body=ApiKeyRequest, answer=ApiKeyMade, status=201, problems=(400, 409, 413, 415, 422),
    ),
    Route(
        name="revoke_api_key", method="DELETE", path="/api/v1/api-keys/{id}", summary="Revoke an API key", roles=READ,
        status=204, problems=(404,),
    ),
    Route(
        name="list_audit", method="GET", path="/api/v1/audit", roles=MANAGE, answer=AuditPage,
        summary="Who changed what and who was refused, newest first; as NDJSON where Accept asks for it",
        problems=(422,),
        query=(
            Parameter(name="who", description="only what this one did"),
            Parameter(name="kind", description="only what was done to this kind of thing"),
            Parameter(name="of", description="only what was done to this one; needs kind"),
            *PAGED,
        ),
    ),
)  # fmt: skip
