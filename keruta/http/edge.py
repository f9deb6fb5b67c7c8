"""The HTTP edge of a function and of admin: who asks, what is asked, and every error as a problem document.

An answer never holds a traceback, and never echoes a header or a token.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

import flask
import msgspec
from prometheus_client.registry import Collector
from werkzeug.exceptions import HTTPException

from keruta import logs, metrics
from keruta.domain.api.route import Route
from keruta.domain.decode import convert, decode_json
from keruta.domain.naming import new_id
from keruta.domain.principal import Principal
from keruta.domain.roles import AGENT, ANYONE, DISPATCHER
from keruta.errors import (
    Forbidden,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    PreconditionFailed,
    Problem,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    UnsupportedMedia,
)
from keruta.ports import Sender
from keruta.settings import Settings

log = logging.getLogger(__name__)
T = TypeVar("T", bound=msgspec.Struct)
P = TypeVar("P")

PROBLEM = "application/problem+json"
TYPE_PREFIX = "https://keruta.dev/problems/"


class BadRequest(Problem):
    status, default_reason = 400, "BadRequest"


# ---------------------------------------------------------------- answers


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> flask.Response:
    """An answer with a typed value as its JSON body."""
    return flask.Response(msgspec.json.encode(value), status, headers, content_type="application/json")


def problem_answer(problem: Problem, request_id: str) -> flask.Response:
    """An answer that says what was wrong.

    Source: https://www.rfc-editor.org/rfc/rfc9457; WWW-Authenticate: https://www.rfc-editor.org/rfc/rfc6750#section-3
    """
    body: dict[str, Any] = {
        "type": TYPE_PREFIX + re.sub(r"(?<!^)(?=[A-Z])", "-", problem.reason).lower(),
        "title": re.sub(r"(?<!^)(?=[A-Z])", " ", problem.reason).capitalize(),
        "status": problem.status,
        "reason": problem.reason,
        "detail": problem.message,
        "request_id": request_id,
    }
    if problem.faults:
        body["faults"] = problem.faults
    response = flask.Response(msgspec.json.encode(body), problem.status, content_type=PROBLEM)
    if isinstance(problem, PreconditionFailed) and problem.etag:
        response.headers["ETag"] = problem.etag
    if problem.status == 401:
        given = flask.request.headers.get("Authorization")
        response.headers["WWW-Authenticate"] = 'Bearer error="invalid_token"' if given else "Bearer"
    if problem.reason == "RoleMissing":
        response.headers["WWW-Authenticate"] = 'Bearer error="insufficient_scope"'
    if isinstance(problem, TooManyRequests):
        response.headers["Retry-After"] = str(problem.retry_after_seconds)
    if problem.status == 503:
        response.headers["Retry-After"] = "2"
    return response


def ready_answer(issuer_away_since: datetime | None) -> flask.Response:
    """Ready, and `degraded` while the identity provider is away: whoever is at work goes on."""
    said = "ok\n"
    if issuer_away_since is not None:
        said = f"degraded: the identity provider is away since {issuer_away_since:%Y-%m-%d %H:%M:%S} UTC\n"
    return flask.Response(said, content_type="text/plain")


def metrics_answer(more: Collector | None = None) -> flask.Response:
    """What this process has counted, and what one more collector finds."""
    return flask.Response(metrics.render(more), content_type=metrics.CONTENT_TYPE)


def count_request(route: str, response: flask.Response) -> None:
    """One more request was answered; `route` is its name in the table, never its address."""
    metrics.REQUESTS.labels(route=route, status=str(response.status_code)).inc()


def as_problem(error: Exception) -> Problem:
    """What a client is told of an error; one that nobody foresaw is logged and told by its request id alone."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException) and error.code is not None and error.code < 500:
        problem = Problem(error.description or "", reason=type(error).__name__)
        problem.status = error.code
        return problem
    log.exception("request failed", exc_info=error, extra={"action": "request_failed"})
    return Problem("Something went wrong in keruta; the log tells more under this request id.")


# ---------------------------------------------------------------- requests


def bearer_token(request: flask.Request) -> str:
    """The request's token. Raises Unauthenticated when there is none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("This needs a token: Authorization: Bearer …")
    return token.strip()


class Refusals(Protocol):
    """Where refusals are put on record."""

    def refused(self, who: str, route: str, reason: str) -> None: ...


class Verifying(Protocol):
    """Says who a token speaks for. Raises Unauthenticated, Forbidden."""

    def verify(self, token: str) -> Principal: ...


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


def address_of(request: flask.Request) -> str:
    """Where a request came from, as the gateway before keruta saw it."""
    seen = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    return (seen or request.remote_addr or "")[:45]


def note_refusal(audit: Refusals, route: str, problem: Problem) -> None:
    """A refusal of someone who is known is on record, or in the log where it can't be put there."""
    principal: Principal | None = flask.g.get("principal")
    if problem.status != 403 or principal is None:
        return
    try:
        with logs.bind(offline=principal.offline):
            audit.refused(principal.name, route, problem.reason)
    except Unavailable:
        log.warning("refusal not on record: %s", problem.reason, extra={"action": "refusal_not_recorded"})


def read_body(request: flask.Request, cls: type[T], limit_bytes: int) -> T:
    """The request's body as a typed value.

    Raises:
        UnsupportedMedia, TooLarge, BadRequest: it is not JSON that keruta reads.
        InvalidRequest: with every fault, and where it is.
    """
    value, faults = convert(_read_json(request, limit_bytes), cls)
    if value is None:
        raise InvalidRequest(_said(faults), faults=faults)
    return value


def read_text(request: flask.Request, kind: str, limit_bytes: int) -> str:
    """The body as text of that media type. Raises UnsupportedMedia, TooLarge, BadRequest."""
    try:
        return _read_bytes(request, limit_bytes, kind).decode()
    except UnicodeDecodeError as error:
        raise BadRequest("The body is not UTF-8.") from error


def read_batch(request: flask.Request, cls: type[T], limit_bytes: int) -> T:
    """The body of an agent, decoded in one go: it is a program's, so the first fault is enough."""
    try:
        return msgspec.json.decode(_read_bytes(request, limit_bytes), type=cls)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{error}.") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest("The body is not JSON.") from error


def _said(faults: Sequence[Mapping[str, str]]) -> str:
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{faults[0]['at'] or 'The body'}: {faults[0]['message']}{more}"


def _read_json(request: flask.Request, limit_bytes: int) -> Any:
    try:
        return decode_json(_read_bytes(request, limit_bytes))
    except ValueError as error:
        raise BadRequest(str(error), reason="MalformedJson") from error


def _read_bytes(request: flask.Request, limit_bytes: int, kind: str = "application/json") -> bytes:
    if request.mimetype != kind:
        raise UnsupportedMedia(f"Send the body as Content-Type: {kind}.")
    if (request.content_length or 0) > limit_bytes:
        raise TooLarge(f"The body may have {limit_bytes} bytes at the most.")
    body = request.stream.read(limit_bytes + 1)
    if len(body) > limit_bytes:
        raise TooLarge(f"The body may have {limit_bytes} bytes at the most.")
    return body


# ---------------------------------------------------------------- functions


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request that has passed the edge: its route's parameters, and who asks (None where anyone may)."""

    request: flask.Request
    parameters: Mapping[str, str]
    principal: Principal | None = None
    sender: Sender | None = None


class Function(Generic[P]):
    """One function behind functions-framework: `@http` receives every method and path, so it routes by itself.

    Args:
        part: its name in the log.
        settings: this program's.
        ports: makes what its handlers need, in the process that serves, on the first request.
        routes: those that it serves.
        handlers: what serves each of them, by its name.
    """

    def __init__(
        self,
        part: str,
        settings: Settings,
        ports: Callable[[Settings], P],
        routes: Iterable[Route],
        handlers: Mapping[str, Callable[[P, Asked], flask.Response]],
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
        if request.method == "GET" and request.path == "/metrics":
            return metrics_answer()
        matches = [(r, m, h) for r, pattern, h in self._routes if (m := pattern.fullmatch(request.path))]
        if not matches:
            raise NotFound("There is nothing at this address.")
        for route, match, handler in matches:
            if route.method == request.method:
                flask.g.route = route.name
                return handler(self.ports(), self._ask(route, request, match.groupdict()))
        allowed = ", ".join(sorted({route.method for route, _, _ in matches}))
        raise MethodNotAllowed(f"This address takes {allowed}.")

    def _ask(self, route: Route, request: flask.Request, parameters: Mapping[str, str]) -> Asked:
        ports: Any = self.ports()
        if route.roles == ANYONE:
            return Asked(request=request, parameters=parameters)
        if route.roles == AGENT:
            sender = ports.sessions.verify(bearer_token(request))
            return Asked(request=request, parameters=parameters, sender=sender)
        verifier = ports.deliveries if route.roles == DISPATCHER else ports.verifier
        return Asked(
            request=request, parameters=parameters, principal=authorize(route, bearer_token(request), verifier)
        )

    def ports(self) -> P:
        """What the handlers need; made once, after the server has forked."""
        if self._ports is None:
            with self._lock:
                if self._ports is None:
                    self._ports = self._make_ports(self._settings)
        return self._ports


def _pattern(path: str) -> re.Pattern[str]:
    rest = re.sub(r"\{path\}", r"(?P<path>.+)", path)
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", rest))
