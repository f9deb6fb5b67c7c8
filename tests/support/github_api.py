"""GitHub's API by its own published description: refuses every request that the description does not allow."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jsonschema

from tests.support.npm import document
from tests.support.serving import Quiet, Serving


@functools.cache
def description() -> dict[str, Any]:
    found: dict[str, Any] = document("@octokit/openapi", "generated/api.github.com.json")
    return found


class DescribedGitHub(Serving):
    """Answers with the description's own examples, and remembers what was asked.

    Args:
        answers: by method and path, what to answer in place of an example: a status, a body, headers.
    """

    def __init__(self, answers: Mapping[tuple[str, str], tuple[int, Any, dict[str, str]]] | None = None) -> None:
        self.answers = dict(answers or {})
        self.asked: list[tuple[str, str, Any]] = []
        self.faults: list[str] = []
        api = self

        class Handler(Quiet):
            def _handle(self) -> None:
                parts = urlsplit(self.path.removeprefix("/api/v3"))  # where an own server has it
                text = self.body()
                body = json.loads(text) if text else None
                api.asked.append((self.command, parts.path, body))
                status, answer, headers = api.answers.get((self.command, parts.path)) or api.described(
                    self.command, parts.path, dict(parse_qsl(parts.query)), body
                )
                self.answer(status, answer, headers)

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _handle  # noqa: N815

        super().__init__(Handler)

    def described(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any, dict[str, str]]:
        """Check a request by the description; return an example of its answer, or 400 with a fault noted."""
        operation = _operation(method, path)
        wrong = "no such operation" if operation is None else _fault(operation, query, body)
        if operation is None or wrong:
            self.faults.append(f"{method} {path}: {wrong}")
            return 400, {"message": wrong}, {}
        status = next(code for code in operation["responses"] if code.startswith("2"))
        return int(status), _example(operation["responses"][status]), {}


def _operation(method: str, path: str) -> dict[str, Any] | None:
    parts, found = path.split("/"), []
    for template, item in description()["paths"].items():
        wanted = template.split("/")
        same = len(wanted) == len(parts) and all(
            one.startswith("{") or one == part for one, part in zip(wanted, parts, strict=True)
        )
        if same and method.lower() in item:
            found.append((template.count("{"), item[method.lower()]))
    return min(found, key=lambda one: one[0])[1] if found else None


def _resolved(value: Any) -> Any:
    while isinstance(value, dict) and "$ref" in value:
        target: Any = description()
        for part in value["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        value = target
    return value


def _fault(operation: dict[str, Any], query: dict[str, str], body: Any) -> str:
    known = {one["name"] for one in map(_resolved, operation.get("parameters", ())) if one["in"] == "query"}
    if unknown := sorted(query.keys() - known):
        return f"unknown parameters {unknown}"
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return "a body where none is allowed" if body is not None else ""
    schema = content["schema"]
    if body is not None and (more := sorted(body.keys() - _properties(schema))):
        return f"unknown fields {more}"
    errors = [error.message for error in jsonschema.Draft7Validator(_whole(schema)).iter_errors(body or {})]
    return "; ".join(errors)


def _whole(schema: Any) -> Any:
    """A schema with what it refers to in place; requests refer to nothing that refers back."""
    if isinstance(schema, list):
        return [_whole(one) for one in schema]
    found = _resolved(schema)
    return {name: _whole(one) for name, one in found.items()} if isinstance(found, dict) else found


def _properties(schema: Any) -> set[str]:
    schema = _resolved(schema)
    of_parts = [_properties(part) for name in ("oneOf", "anyOf", "allOf") for part in schema.get(name, ())]
    return set(schema.get("properties", ())).union(*of_parts)


def _example(response: Any) -> Any:
    content = _resolved(response).get("content", {}).get("application/json", {})
    examples = [_resolved(one) for one in content.get("examples", {}).values()]
    return examples[0]["value"] if examples else None
