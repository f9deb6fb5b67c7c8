"""People as their tokens said: listed, disabled, let in again."""

from __future__ import annotations

import flask

from admin.asking import paging, principal, serves
from admin.ports import ports
from keruta.domain.people import Me, SignIn
from keruta.edge import json_answer

blueprint = flask.Blueprint("people", __name__)


@serves(blueprint, "list_users")
def list_users() -> flask.Response:
    return json_answer(ports().accounts.users(search=flask.request.args.get("q"), **paging()))


@serves(blueprint, "show_user")
def show_user(subject: str) -> flask.Response:
    return json_answer(ports().accounts.user(subject))


@serves(blueprint, "disable_user")
def disable_user(subject: str) -> flask.Response:
    return json_answer(ports().accounts.set_disabled(principal(), subject, disabled=True))


@serves(blueprint, "enable_user")
def enable_user(subject: str) -> flask.Response:
    return json_answer(ports().accounts.set_disabled(principal(), subject, disabled=False))


@serves(blueprint, "me")
def me() -> flask.Response:
    """Who asks, as keruta sees them."""
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
