"""People as their tokens said: listed, disabled, let in again."""

from __future__ import annotations

from collections.abc import Sequence

import flask

from admin.auth import paging, principal, serves
from admin.ports import ports
from keruta.domain.task import BODY_LIMIT_BYTES
from keruta.domain.users import Me, RolesRequest, SignIn, UserView
from keruta.http.answers import json_answer
from keruta.http.requests import read_body
from keruta.services import users as service

blueprint = flask.Blueprint("users", __name__)


@serves(blueprint, "list_users")
def list_users() -> flask.Response:
    return json_answer(ports().accounts.users(search=flask.request.args.get("q"), **paging()))


@serves(blueprint, "show_user")
def show_user(subject: str) -> flask.Response:
    return json_answer(ports().accounts.user(subject))


@serves(blueprint, "disable_user")
def disable_user(subject: str) -> flask.Response:
    return json_answer(service.set_disabled(principal(), subject, disabled=True, accounts=ports().accounts))


@serves(blueprint, "enable_user")
def enable_user(subject: str) -> flask.Response:
    return json_answer(service.set_disabled(principal(), subject, disabled=False, accounts=ports().accounts))


@serves(blueprint, "set_roles")
def set_roles(subject: str) -> flask.Response:
    body = read_body(flask.request, RolesRequest, BODY_LIMIT_BYTES)
    return json_answer(give_roles(subject, body.roles))


def give_roles(subject: str, wanted: Sequence[str]) -> UserView:
    """Raises NotFound, Conflict, Unavailable."""
    return service.give_roles(
        principal(), subject, wanted, accounts=ports().accounts, role_store=ports().keycloak_roles
    )


@serves(blueprint, "me")
def me() -> flask.Response:
    """Return the caller as keruta knows them."""
    who = principal()
    return json_answer(
        Me(
            subject=who.subject, name=who.name, mail=who.mail, roles=sorted(who.roles), groups=sorted(who.groups),
            offline=who.offline,
        )
    )  # fmt: skip


@serves(blueprint, "sign_in")
def sign_in() -> flask.Response:
    settings = ports().settings
    return json_answer(SignIn(issuer=settings.issuer, client=settings.cli_client_id))
