"""Every error as a problem document (RFC 9457), and refusals on record.

An answer never holds a traceback, and never echoes a header or a token.
"""

from __future__ import annotations

import logging
import re
from typing import Any

import flask
import msgspec
from werkzeug.exceptions import HTTPException

from keruta import logs
from keruta.domain.messages import Message, fields_of, message
from keruta.domain.principal import Principal
from keruta.errors import PreconditionFailed, Problem, SettingsError, TooManyRequests, Unavailable
from keruta.http.answers import language_asked
from keruta.ports import Refusals
from keruta.translations import fault_in_language, render

log = logging.getLogger(__name__)

PROBLEM = "application/problem+json"
TYPE_PREFIX = "https://keruta.dev/problems/"


class BadRequest(Problem):
    status, default_reason = 400, "BadRequest"


def problem_answer(problem: Problem, request_id: str) -> flask.Response:
    """An answer that says what was wrong.

    Source: https://www.rfc-editor.org/rfc/rfc9457; WWW-Authenticate: https://www.rfc-editor.org/rfc/rfc6750#section-3
    """
    language = language_asked()
    body: dict[str, Any] = {
        "type": TYPE_PREFIX + re.sub(r"(?<!^)(?=[A-Z])", "-", problem.reason).lower(),
        "title": re.sub(r"(?<!^)(?=[A-Z])", " ", problem.reason).capitalize(),
        "status": problem.status,
        "reason": problem.reason,
        "detail": render(problem.message, language),
        "request_id": request_id,
    }
    if problem.message.code:
        fields = fields_of(problem.message)
        body |= {name: fields[name] for name in ("message_code", "message_arguments")}
    if problem.faults:
        body["faults"] = [fault_in_language(fault, language) for fault in problem.faults]
    response = flask.Response(msgspec.json.encode(body), problem.status, content_type=PROBLEM)
    response.vary.add("Accept-Language")
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


def as_problem(error: Exception) -> Problem:
    """Return an error as a client may see it.

    An unexpected error is logged, and the client gets only its request id.
    """
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException) and error.code is not None and error.code < 500:
        problem = Problem(_sentence(error), reason=type(error).__name__)
        problem.status = error.code
        return problem
    if isinstance(error, SettingsError):  # its sentence says it all
        log.error("request failed: %s", error, extra={"action": "request_failed"})
        return Problem(message("http_internal_error"))
    log.exception("request failed", exc_info=error, extra={"action": "request_failed"})
    return Problem(message("http_internal_error"))


def _sentence(error: HTTPException) -> Message | str:
    """Return what keruta says where it has a sentence; the library's own are in English only."""
    if error.code == 404:
        return message("http_nothing_here")
    if error.code == 405:
        return message("http_method", method=flask.request.method)
    return error.description or ""


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
