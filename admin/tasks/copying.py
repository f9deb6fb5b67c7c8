"""A task's request as others take it: for curl, the command line, Python and a YAML file. Pure.

What is in it came from outside: each form quotes it as data, so that pasting it submits the same task and does
nothing else.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from keruta.domain.resubmission import request_of
from keruta.domain.task import TaskView


def forms(task: TaskView, url: str) -> dict[str, str]:
    """Return the forms, by what they are for.

    Args:
        url: keruta's public address.
    """
    body = request_of(task)
    return {
        "curl": curl(body, url), "CLI": command_line(body), "Python": python(body, url),
        "YAML": yaml.safe_dump(body, allow_unicode=True, sort_keys=False),
    }  # fmt: skip


def curl(body: Mapping[str, Any], url: str) -> str:
    """A command for a POSIX shell; the token comes from the environment."""
    text = shlex.quote(json.dumps(body, ensure_ascii=False, indent=2))
    return (
        f"curl --fail-with-body {shlex.quote(f'{url}/api/v1/tasks')} \\\n"
        '  -H "Authorization: Bearer $KERUTA_TOKEN" -H "Content-Type: application/json" \\\n'
        f"  --data-binary {text}\n"
    )


def python(body: Mapping[str, Any], url: str) -> str:
    """A program; the token comes from the environment."""
    literal = json.dumps(body, ensure_ascii=True)
    return (
        "import json\nimport os\n\nfrom keruta.client import Client\n\n"
        f'client = Client({url!r}, os.environ["KERUTA_TOKEN"])\n'
        f"task = client.submit(json.loads({literal!r}))\nprint(task.id)\n"
    )


def command_line(body: Mapping[str, Any]) -> str:
    """A command for bash or zsh. A script and a check are handed over as files, made on the spot."""
    words = [["keruta", "run"], *_options(body)]
    lines = [" ".join(shlex.quote(word) for word in part) for part in words]
    for name in ("script", "check"):
        if name in body:
            lines.append(f"--{name} <(printf %s {shlex.quote(body[name])})")
    if "command" in body:
        lines.append("-- " + " ".join(shlex.quote(word) for word in body["command"]))
    return " \\\n  ".join(lines) + "\n"


_PLAIN = {
    "name": "--name", "prompt": "--prompt", "profile": "--profile", "queue": "--queue", "priority": "--priority",
    "timeout_seconds": "--timeout",
}  # fmt: skip


def _options(body: Mapping[str, Any]) -> Iterator[list[str]]:
    repository = body["repository"]
    yield [f"--repo={repository.get('name') or repository['url']}"]
    for name, option in (("ref", "--ref"), ("depth", "--depth")):
        if name in repository:
            yield [f"{option}={repository[name]}"]
    if repository.get("submodules"):
        yield ["--submodules"]
    if "tags" in repository:
        yield ["--tags"]
    for path in repository.get("paths", ()):
        yield [f"--path={path}"]
    for name, option in _PLAIN.items():
        if name in body:
            yield [f"{option}={body[name]}"]
    for option, pairs in (("--env", body.get("env", {})), ("--label", body.get("labels", {}))):
        for name, value in pairs.items():
            yield [f"{option}={name}={value}"]
    for name in body.get("documents", ()):
        yield [f"--document={name}"]
    yield [f"--retry={body['retry']['policy']}"]
    if "result" in body:
        yield [f"--result-branch={body['result']['branch']}", f"--if-exists={body['result']['if_exists']}"]
    if body.get("provenance"):
        yield ["--provenance"]
    if "cache" in body:
        yield [f"--cache={json.dumps(body['cache'])}"]
    if body.get("without_secrets"):
        yield ["--without-secrets"]
