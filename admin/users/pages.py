"""The pages of people: who has been here, and one of them."""

from __future__ import annotations

import flask

from admin.auth import paging, principal
from admin.ports import ports
from admin.site.pages import go, page, shows
from admin.users.routes import give_roles
from keruta.domain.decode import convert
from keruta.domain.users import RolesRequest
from keruta.errors import InvalidRequest
from keruta.services import users as service

blueprint = flask.Blueprint("people_pages", __name__)


@shows(blueprint, "list_users", "/users")
def users() -> flask.Response:
    search = flask.request.args.get("q") or None
    return page("users/list.html", found=ports().accounts.users(search=search, **paging()))


@shows(blueprint, "show_user", "/users/<subject>")
def user(subject: str) -> flask.Response:
    return page(
        "users/user.html", person=ports().accounts.user(subject), gives_roles=ports().keycloak_roles is not None
    )


@shows(blueprint, "disable_user", "/users/<subject>/disable", "POST")
def disable(subject: str) -> flask.Response:
    service.set_disabled(principal(), subject, disabled=True, accounts=ports().accounts)
    return go(f"/users/{subject}", "disabled")


@shows(blueprint, "enable_user", "/users/<subject>/enable", "POST")
def enable(subject: str) -> flask.Response:
    service.set_disabled(principal(), subject, disabled=False, accounts=ports().accounts)
    return go(f"/users/{subject}", "enabled")


@shows(blueprint, "set_roles", "/users/<subject>/roles", "POST")
def roles(subject: str) -> flask.Response:
    wanted, faults = convert({"roles": flask.request.form.getlist("roles")}, RolesRequest)
    if wanted is None:
        raise InvalidRequest.of(faults)
    give_roles(subject, wanted.roles)
    return go(f"/users/{subject}", "roles_given")
