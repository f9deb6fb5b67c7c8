"""Who asks, and what admin needs from the world, for a view."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import flask

from keruta.adapters.tokens import Principal
from keruta.domain.api import ANYONE, BY_NAME, DISPATCHER
from keruta.edge import authorize

if TYPE_CHECKING:
    from admin.app import Ports

View = Callable[..., flask.Response]


def ports() -> Ports:
    """What admin needs, in this process."""
    return cast("Ports", flask.current_app.extensions["keruta"]())


def principal() -> Principal:
    """Who asks; known once `serves` has let the request in."""
    return cast(Principal, flask.g.principal)


def serves(blueprint: flask.Blueprint, name: str) -> Callable[[View], View]:
    """Serves the route of that name in `keruta.domain.api`: its method, its address, for its roles."""
    route = BY_NAME[name]

    def wrap(view: View) -> View:
        @functools.wraps(view)
        def let_in(**parameters: str) -> flask.Response:
            if route.roles != ANYONE and not (route.roles == DISPATCHER and not ports().settings.event_auth):
                flask.g.principal = authorize(route, flask.request, ports().verifier)
            return view(**parameters)

        rule = route.path.replace("{path}", "<path:path>").replace("{", "<").replace("}", ">")
        blueprint.add_url_rule(rule, name, let_in, methods=[route.method], provide_automatic_options=False)
        return let_in

    return wrap
