"""The authenticated principal of a request, and checks of its permission to use a view."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NoReturn, TypedDict, cast

import flask

from admin.ports import ports
from admin.site import sessions
from admin.site.pages import View
from keruta import logs
from keruta.domain.api.table import BY_NAME
from keruta.domain.messages import Message, message
from keruta.domain.principal import Principal
from keruta.domain.roles import ANYONE, DISPATCHER
from keruta.errors import Forbidden, InvalidRequest, Unauthenticated, fault
from keruta.http.authentication import authorize, bearer_token


def principal() -> Principal:
    """Return the authenticated principal. Available only after `serves` has admitted the request."""
    return cast(Principal, flask.g.principal)


LIMIT_MOST = 200
NUMBER_DIGITS = 9  # of a number in a query
LIMIT_DEFAULT = 50


class Paging(TypedDict):
    """The requested page of a list."""

    limit: int
    cursor: str | None


def paging() -> Paging:
    """Return the page that the query asks for. Raises InvalidRequest."""
    return Paging(limit=number("limit", LIMIT_DEFAULT, LIMIT_MOST), cursor=flask.request.args.get("cursor"))


def number(name: str, default: Any, most: int) -> Any:
    """A whole number of the query, from 1. Raises InvalidRequest."""
    text = flask.request.args.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > NUMBER_DIGITS or not 1 <= int(text) <= most:
        refuse(name, message("http_whole_number", most=most))
    return int(text)


def flag(name: str) -> bool:
    """A yes or no of the query; the bare name is a yes. Raises InvalidRequest."""
    text = flask.request.args.get(name, "false").lower()
    if text not in ("", "1", "true", "0", "false"):
        refuse(name, message("http_flag"))
    return text in ("", "1", "true")


def refuse(name: str, said: Message) -> NoReturn:
    """Raises InvalidRequest for a parameter of the query."""
    raise InvalidRequest(message("http_fault_at", at=name, fault=said), faults=[fault(f"?{name}", said)])


def _token() -> str:
    """The request's own, or that of the page that it comes from: by its cookie, to read; with a form's token, to write.

    Raises:
        Unauthenticated, Forbidden.
    """
    if "Authorization" in flask.request.headers or not sessions.cookie("session"):
        return bearer_token(flask.request)
    if flask.request.method != "GET":
        sessions.check_form_token()
    return sessions.access_token()


def present_principal(route: str) -> Callable[[], Principal | None]:
    """Return a function that authenticates the caller again during a long answer. It returns None once they may no
    longer use the route of that name.

    Made within the request; what it returns needs none.
    """
    needs, roles = ports(), BY_NAME[route].roles
    secret = sessions.cookie("session") if "Authorization" not in flask.request.headers else ""
    given = "" if secret else bearer_token(flask.request)

    def now() -> Principal | None:
        token = sessions.token_of(needs, secret) if secret else given
        try:
            found = needs.verifier.check_again(token) if token is not None else None
        except (Unauthenticated, Forbidden):
            return None
        return found if found is not None and found.roles & roles else None

    return now


def serves(blueprint: flask.Blueprint, name: str) -> Callable[[View], View]:
    """Serves the route of that name in `keruta.domain.api.table`: its method, its address, for its roles."""
    route = BY_NAME[name]

    def wrap(view: View) -> View:
        @functools.wraps(view)
        def let_in(**parameters: str) -> flask.Response:
            if route.roles != ANYONE:
                if route.roles == DISPATCHER:
                    authorize(route, bearer_token(flask.request), ports().deliveries)
                else:
                    authorize(route, _token(), ports().verifier)
                # What is changed while the identity provider is away is marked in the audit record.
                with logs.bind(offline=ports().verifier.issuer_away_since is not None):
                    return view(**parameters)
            return view(**parameters)

        let_in.route = route  # type: ignore[attr-defined]
        rule = route.path.replace("{path}", "<path:path>").replace("{", "<").replace("}", ">")
        blueprint.add_url_rule(rule, name, let_in, methods=[route.method], provide_automatic_options=False)
        return let_in

    return wrap
