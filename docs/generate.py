"""Writes the docs that are made from the code: `python -m docs.generate`. A test fails when they are out of date."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
from prometheus_client import Counter, Gauge, Histogram

import agent.settings
import keruta.settings
from docs import history
from keruta import metrics
from keruta.cli.commands import cli
from keruta.domain import lifecycle, retry
from keruta.domain.api.table import ROUTES
from keruta.domain.lifecycle import ENDED, LEASED, TRANSITIONS, Change, Status
from keruta.domain.roles import PEOPLE
from keruta.settings_view import documented_fields

STATES = Path(__file__).with_name("states.md")
IDENTITY = Path(__file__).with_name("identity.md")
REFERENCE = Path(__file__).with_name("reference")
MARK = "<!-- roles -->"


def states() -> str:
    """The page of a task's life."""
    lines = [
        "# A task's life",
        "",
        "Made from `keruta/domain/lifecycle.py` and `retry.py` by `make docs`.",
        "",
        "## Statuses",
        "",
    ]
    lines += ["| Status | Means | Holds a slot | An end |", "|---|---|---|---|"]
    words = _comments(Status)
    for one in Status:
        lines.append(f"| `{one}` | {words[one.name]} | {_yes(one in LEASED)} | {_yes(one in ENDED)} |")
    lines += ["", "```mermaid", "stateDiagram-v2", "    [*] --> queued"]
    lines += [f"    {source} --> {target}: {change}" for (source, change), target in sorted(TRANSITIONS.items())]
    lines += [f"    {one} --> [*]" for one in sorted(ENDED)]
    lines += ["```", "", "## Changes", "", "| Change | Made when | From | To |", "|---|---|---|---|"]
    words = _comments(Change)
    for change in Change:
        froms = ", ".join(f"`{source}`" for source in lifecycle.sources(change))
        to = next(target for (_, made), target in TRANSITIONS.items() if made is change)
        lines.append(f"| `{change}` | {words[change.name]} | {froms} | `{to}` |")
    lines += [
        "",
        "## Reasons",
        "",
        "Stable words. What is *ours* is tried again with backoff, unless the task's policy",
        "forbids it.",
        "",
    ]
    lines += ["| Reason | Means | Tried again |", "|---|---|---|"]
    lines += [f"| `{name}` | {reason.means} | {_yes(reason.retried)} |" for name, reason in retry.REASONS.items()]
    return "\n".join(lines) + "\n"


def identity() -> str:
    """The page of identity, its table of routes and roles made anew."""
    kept, _, _ = IDENTITY.read_text().partition(MARK)
    lines = [MARK, "", "| Route | viewer | developer | admin | others |", "|---|---|---|---|---|"]
    for route in ROUTES:
        if route.inside:
            continue
        people = [_yes(role in route.roles) for role in ("viewer", "developer", "admin")]
        others = ", ".join(sorted(route.roles - PEOPLE)) or ("anyone" if not route.roles else "")
        lines.append(f"| `{route.method} {route.path}` | {' | '.join(people)} | {others} |")
    return kept + "\n".join(lines) + "\n"


def settings() -> str:
    """The page of settings: those of the functions and admin, then those of workers and their agents."""
    lines = [
        "# Settings",
        "",
        "Environment variables. Made from `keruta/settings.py` and `agent/settings.py` by `make docs`.",
    ]
    for heading, module in (("Functions and admin", keruta.settings), ("Workers and agents", agent.settings)):
        lines += ["", f"## {heading}", "", "| Variable | Default | Meaning |", "|---|---|---|"]
        lines += [f"| `{name}` | {default} | {means} |" for name, default, means in _fields(module)]
    return "\n".join(lines) + "\n"


def _fields(module: ModuleType) -> Iterator[tuple[str, str, str]]:
    """Each setting of a module's structs, in the order of the source: variable, default and meaning."""
    for one in vars(module).values():
        if isinstance(one, type) and one.__module__ == module.__name__:
            for name, default, text in documented_fields(one):
                shown = f"`{default}`" if default is not None else "required"
                yield f"KERUTA_{name.upper()}", _cell(shown), _cell(text)


def commands() -> str:
    """The page of the command line."""
    lines = [
        "# Command line",
        "",
        "Made from the commands themselves by `make docs`. `keruta COMMAND --help` says the same.",
    ]
    for path, command in _commands(cli, "keruta"):
        context = click.Context(command, info_name=path)
        lines += ["", f"## {path}", "", " ".join((command.help or "").split()), ""]
        usage = command.collect_usage_pieces(context)
        lines += ["```text", f"{path} {' '.join(usage)}".rstrip(), "```"]
        options = [record for one in command.get_params(context) if (record := one.get_help_record(context))]
        if options:
            lines += ["", "| Option | Meaning |", "|---|---|"]
            lines += [f"| `{_cell(name)}` | {_cell(means)} |" for name, means in options]
    return "\n".join(lines) + "\n"


def _commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Each command that can be called, in alphabetical order."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, one in sorted(command.commands.items()):
        if not one.hidden:
            yield from _commands(one, f"{path} {name}")


def metric_names() -> str:
    """The page of metrics."""
    lines = [
        "# Metrics",
        "",
        "`GET /metrics` of each part, for Prometheus. Made from `keruta/metrics.py` by `make docs`.",
        "",
    ]
    lines += ["| Metric | Kind | Labels | Meaning |", "|---|---|---|---|"]
    for one in vars(metrics).values():
        if isinstance(one, Counter | Gauge | Histogram):
            kind = type(one).__name__.lower()
            name = one._name + ("_total" if kind == "counter" else "")
            labels = ", ".join(f"`{label}`" for label in one._labelnames)
            lines.append(f"| `{name}` | {kind} | {labels} | {_cell(one._documentation)} |")
    return "\n".join(lines) + "\n"


def api_routes() -> str:
    """Return the page of the API's routes. Routes for the inside of the cluster are left out."""
    lines = [
        "# API",
        "",
        "Made from `keruta/domain/api/` by `make docs`. A running system shows the whole API, with every field, at",
        "`/api/docs`, and as an OpenAPI document at `/api/v1/openapi.json`. The roles of each route are in",
        "[Identity](../identity.md#the-table-of-roles). Errors are problem documents (RFC 9457): decide by `reason`.",
        "",
        "| Route | Does | Query | Body | Answer | Problems |",
        "|---|---|---|---|---|---|",
    ]
    for route in ROUTES:
        if not route.inside:
            query = ", ".join(f"`{one.name}`" for one in route.query)
            answer = f"{route.status} {_type_name(route.answer)}".strip()
            problems = ", ".join(str(status) for status in route.problems)
            cells = (
                f"`{route.method} {route.path}`",
                _cell(route.summary),
                query,
                _type_name(route.body),
                answer,
                problems,
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _type_name(one: Any) -> str:
    """Return the name of a type, or a media type, as a cell; an empty text for no type."""
    if one is None:
        return ""
    return f"`{_cell(one if isinstance(one, str) else getattr(one, '__name__', str(one)))}`"


GENERATED = {
    "settings.md": settings, "command-line.md": commands, "metrics.md": metric_names, "api.md": api_routes,
    "performance-history.md": history.page, "performance-history.svg": history.picture,
}  # fmt: skip


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _comments(enum: type) -> dict[str, str]:
    """The comment beside each member, in the source."""
    source = inspect.getsource(enum)
    own = dict(re.findall(r"^    ([A-Z_]+) = .*?#\s*(.+)$", source, re.MULTILINE))
    shared = {name: _before(source, name) for name in re.findall(r"^    ([A-Z_]+) = [^#\n]*$", source, re.MULTILINE)}
    return own | shared


def _before(source: str, name: str) -> str:
    """A member without a comment of its own shares the one above it."""
    above = source[: source.index(f"    {name} = ")]
    return re.findall(r"#\s*(.+)$", above, re.MULTILINE)[-1]


def _yes(value: bool) -> str:
    return "yes" if value else ""


if __name__ == "__main__":
    STATES.write_text(states())
    IDENTITY.write_text(identity())
    for name, page in GENERATED.items():
        (REFERENCE / name).write_text(page())
