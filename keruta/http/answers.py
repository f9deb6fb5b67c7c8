"""Answers that are not problems: a typed value as JSON, whether the process is ready, what it has counted."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import flask
import msgspec
from prometheus_client.registry import Collector

from keruta import metrics
from keruta.translations import LANGUAGES, in_language


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> flask.Response:
    """An answer with a typed value as its JSON body, and its messages in the language that was asked for."""
    body = msgspec.json.encode(in_language(value, language_asked()))
    response = flask.Response(body, status, headers, content_type="application/json")
    response.vary.add("Accept-Language")
    return response


def language_asked() -> str:
    """The language that a request asks for by `Accept-Language`; English if it names none of ours."""
    return flask.request.accept_languages.best_match(LANGUAGES) or "en"


def ready_answer(issuer_away_since: datetime | None) -> flask.Response:
    """Ready, and `degraded` while the identity provider is away: whoever is at work goes on."""
    said = "ok\n"
    if issuer_away_since is not None:
        said = f"degraded: the identity provider is away since {issuer_away_since:%Y-%m-%d %H:%M:%S} UTC\n"
    return flask.Response(said, content_type="text/plain")


def metrics_answer(more: Collector | None = None) -> flask.Response:
    """Return this process's metrics, and those of one more collector."""
    return flask.Response(metrics.render(more), content_type=metrics.CONTENT_TYPE)


def count_request(route: str, response: flask.Response) -> None:
    """One more request was answered; `route` is its name in the table, never its address."""
    metrics.REQUESTS.labels(route=route, status=str(response.status_code)).inc()
