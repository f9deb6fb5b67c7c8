"""The OpenAPI 3.1 document, made from the routes' table and their types."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from keruta import __version__
from keruta.domain.api.route import Parameter, Route
from keruta.domain.api.table import ROUTES
from keruta.domain.roles import AGENT, ANYONE

# What `detail` or `message` says, for a program: a stable code and what stands in its places.
MESSAGE_SCHEMAS: dict[str, Any] = {"message_code": {"type": "string"}, "message_arguments": {"type": "object"}}
PROBLEM_SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "What was wrong, in the terms of RFC 9457.",
    "type": "object",
    "required": ["type", "title", "status", "reason", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "reason": {"type": "string"},
        "detail": {"type": "string"},
        **MESSAGE_SCHEMAS,
        "request_id": {"type": "string"},
        "faults": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["at", "message"],
                "properties": {"at": {"type": "string"}, "message": {"type": "string"}, **MESSAGE_SCHEMAS},
            },
        },
    },
}


@functools.cache
def document() -> dict[str, Any]:
    """The whole document, as plain data."""
    types = list(dict.fromkeys(kind for route in ROUTES for kind in (route.body, route.answer) if _is_type(kind)))
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    by_type = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in (route for route in ROUTES if not route.inside):
        if route.path != "/":
            paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_type)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "keruta",
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": {**components, "Problem": PROBLEM_SCHEMA},
            "securitySchemes": {
                "person": {"type": "http", "scheme": "bearer", "description": "An access token of the issuer's."},
                "agent": {"type": "http", "scheme": "bearer", "description": "A session's or an attempt's token."},
            },
        },
    }


def _is_type(kind: Any) -> bool:
    return kind is not None and not isinstance(kind, str)


def _operation(route: Route, by_type: dict[Any, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [_tag(route.path)],
        "parameters": [
            *_path_parameters(route.path),
            *_parameters(route.query, "query"),
            *_parameters(route.headers, "header"),
        ],
        "responses": {str(route.status): _answer(route, by_type)},
        "security": [] if route.roles == ANYONE else [{"agent" if route.roles == AGENT else "person": []}],
    }
    if route.name == "create_task":
        operation["responses"]["200"] = {**_answer(route, by_type), "description": "It had been submitted already."}
    if route.name == "get_artifact":
        operation["responses"]["206"] = {**_answer(route, by_type), "description": "A part of the file."}
    if isinstance(route.body, str):
        operation["requestBody"] = {"required": True, "content": {route.body: {}}}
    elif route.body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": by_type[route.body]}}}
    problems = {*route.problems, *(() if route.roles == ANYONE else (401, 403, 429, 503))}
    for status in sorted(problems):
        operation["responses"][str(status)] = {
            "description": "A problem.",
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    return operation


def _tag(path: str) -> str:
    """Return an operation's tag: the first word of its address that is not a version."""
    words = [word for word in path.split("/") if word and word not in ("api", "v1")]
    return words[1] if words[0] in ("agent", "events") and len(words) > 1 else words[0]


def _answer(route: Route, by_type: dict[Any, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": route.summary}
    if isinstance(route.answer, str):
        answer["content"] = {route.answer: {}}
        if route.name == "task_logs":
            answer["content"] |= {"application/x-ndjson": {}, "text/event-stream": {}}
    elif route.answer is not None:
        answer["content"] = {"application/json": {"schema": by_type[route.answer]}}
    return answer


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "integer" if name in ("n", "version") else "string"},
        }
        for name in re.findall(r"\{(\w+)\}", path)
    ]


def _parameters(parameters: Iterable[Parameter], where: str) -> list[dict[str, Any]]:
    return [{"name": p.name, "in": where, "description": p.description, "schema": p.schema} for p in parameters]
