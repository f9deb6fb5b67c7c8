"""One HTTP function: finds the route, says who asks, calls its handler, and answers every error as a problem."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

import flask
import msgspec

from keruta import logs
from keruta.domain.api.route import Route
from keruta.domain.messages import message
from keruta.domain.naming import new_id
from keruta.domain.principal import Principal
from keruta.domain.roles import AGENT, ANYONE, DISPATCHER
from keruta.errors import MethodNotAllowed, NotFound
from keruta.http.answers import count_request, metrics_answer, ready_answer
from keruta.http.authentication import authorize, bearer_token
from keruta.http.problems import as_problem, note_refusal, problem_answer
from keruta.http.requests import address_of
from keruta.ports import Sender
from keruta.settings import Settings

P = TypeVar("P")


class AnonymousRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request on a route that anyone may use, with the route's parameters."""

    request: flask.Request
    parameters: Mapping[str, str]


class AuthenticatedRequest(AnonymousRequest, frozen=True, kw_only=True):
    """A request of a person or a service account whose roles allow the route."""

    principal: Principal


class AgentRequest(AnonymousRequest, frozen=True, kw_only=True):
    """A request with a token that keruta signed: a worker's session, or an attempt's."""

    sender: Sender


class Function(Generic[P]):
    """One function behind functions-framework: `@http` receives every method and path, so it routes by itself.

    Args:
        part: its name in the log.
        settings: this program's.
        ports: makes what its handlers need, in the process that serves, on the first request.
        routes: those that it serves.
        handlers: what serves each of them, by its name; each takes the kind of request that its route's roles make.
    """

    def __init__(
        self,
        part: str,
        settings: Settings,
        ports: Callable[[Settings], P],
        routes: Iterable[Route],
        handlers: Mapping[str, Callable[[P, Any], flask.Response]],
    ) -> None:
        logs.configure(part, settings.log_level)
        self._settings = settings
        self._make_ports = ports
        served = [route for route in routes if route.name in handlers]
        assert len(served) == len(handlers)
        self._routes = [(route, _pattern(route.path), handlers[route.name]) for route in served]
        self._ports: P | None = None
        self._lock = threading.Lock()

    def __call__(self, request: flask.Request) -> flask.Response:
        request_id = new_id()
        with logs.bind(request=request_id, address=address_of(request)):
            try:
                response = self._answer(request)
            except Exception as error:
                problem = as_problem(error)
                if (audit := getattr(self._ports, "audit", None)) is not None:
                    note_refusal(audit, flask.g.get("route", ""), problem)
                response = problem_answer(problem, request_id)
        response.headers["X-Request-Id"] = request_id
        count_request(getattr(flask.g, "route", "none"), response)
        return response

    def _answer(self, request: flask.Request) -> flask.Response:
        if request.method == "GET" and request.path in ("/healthz", "/readyz", "/agent/v1/readyz"):
            if request.path == "/healthz":
                return flask.Response("ok\n", content_type="text/plain")
            ports: Any = self.ports()
            ports.check()
            return ready_answer(ports.verifier.issuer_away_since)
        # Knative's data path always adds this header: only who reaches the Pod itself, as Prometheus does, is answered.
        inside = self._settings.metrics and "X-Forwarded-For" not in request.headers
        if request.method == "GET" and request.path == "/metrics" and inside:
            return metrics_answer()
        matches = [(r, m, h) for r, pattern, h in self._routes if (m := pattern.fullmatch(request.path))]
        if not matches:
            raise NotFound(message("http_nothing_here"))
        for route, match, handler in matches:
            if route.method == request.method:
                flask.g.route = route.name
                return handler(self.ports(), self._ask(route, request, match.groupdict()))
        allowed = ", ".join(sorted({route.method for route, _, _ in matches}))
        raise MethodNotAllowed(message("http_methods", allowed=allowed))

    def _ask(self, route: Route, request: flask.Request, parameters: Mapping[str, str]) -> AnonymousRequest:
        ports: Any = self.ports()
        if route.roles == ANYONE:
            return AnonymousRequest(request=request, parameters=parameters)
        if route.roles == AGENT:
            sender = ports.sessions.verify(bearer_token(request))
            return AgentRequest(request=request, parameters=parameters, sender=sender)
        verifier = ports.deliveries if route.roles == DISPATCHER else ports.verifier
        return AuthenticatedRequest(
            request=request, parameters=parameters, principal=authorize(route, bearer_token(request), verifier)
        )

    def ports(self) -> P:
        """The handlers' ports; made once, after the server has forked."""
        if self._ports is None:
            with self._lock:
                if self._ports is None:
                    self._ports = self._make_ports(self._settings)
        return self._ports


def _pattern(path: str) -> re.Pattern[str]:
    rest = re.sub(r"\{path\}", r"(?P<path>.+)", path)
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", rest))
