"""The port of a coding agent: its start, and the reading of its stream."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol

import msgspec

from agent.coding_agents.endings import Ending
from keruta.domain.catalog.coding_agents import CodingAgentOptions

TOOLS_NAME = "keruta"  # of the server of tools, in a coding agent's settings
TOOLS_TOKEN = "KERUTA_TOOLS_TOKEN"  # noqa: S105  a variable's name
TOOL_SECONDS = 7 * 86400  # for the answer of a tool: a person's, as long as the task may run
FOLD_LINES = 12  # of a tool's output; the record has all of it
FOLD_CHARACTERS = 2000
ANSWER_LIMIT_BYTES = 64 * 1024


class ModelAccess(msgspec.Struct, frozen=True, kw_only=True):
    """The address at which the script reaches its model through keruta's agent, and the attempt's own token for it."""

    address: str
    token: str


class ToolAccess(msgspec.Struct, frozen=True, kw_only=True):
    """The address of the tools that keruta's agent offers to the coding agent, and the attempt's own token for it."""

    address: str
    token: str


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """Input for the start of a coding agent.

    Args:
        prompt: the file with the prompt, as the script sees it.
        home: the script's home, as the script sees it.
        model: None where the coding agent asks the model's server itself.
        tools: None where keruta's agent offers none.
        session: the session to resume; None to begin anew.
    """

    options: CodingAgentOptions
    prompt: Path
    home: Path
    model: ModelAccess | None = None
    tools: ToolAccess | None = None
    session: str | None = None


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """The start of a coding agent.

    Args:
        text: what the shell runs.
        program: the name of the program that runs.
        env: variables that the profile or the task may set otherwise.
        own_env: how keruta's agent is reached, for the model and for its tools; nothing sets these otherwise.
        files: what lies in the script's home, by its path there.
    """

    text: str
    program: str
    env: Mapping[str, str] = {}
    own_env: Mapping[str, str] = {}
    files: Mapping[str, str] = {}


class Usage(msgspec.Struct, kw_only=True):
    """Turns, tokens and cost. `input_tokens` counts those that were neither read from a cache nor written to one."""

    turns: int = 0
    input_tokens: float = 0
    output_tokens: float = 0
    cache_read_tokens: float = 0
    cache_write_tokens: float = 0
    cost_usd: float | None = None

    def add(self, more: Usage) -> None:
        """Add turns and tokens; costs are known in other ways."""
        self.turns += more.turns
        self.input_tokens += more.input_tokens
        self.output_tokens += more.output_tokens
        self.cache_read_tokens += more.cache_read_tokens
        self.cache_write_tokens += more.cache_write_tokens

    def with_more(self, more: Usage) -> Usage:
        """Return the sum, with the costs."""
        whole: Usage = msgspec.structs.replace(self)
        whole.add(more)
        costs = [one.cost_usd for one in (self, more) if one.cost_usd is not None]
        whole.cost_usd = sum(costs) if costs else None
        return whole

    @property
    def tokens(self) -> float:
        return self.input_tokens + self.output_tokens + self.cache_read_tokens + self.cache_write_tokens

    def numbers(self) -> dict[str, float]:
        """Return the figures that are known, by their names; nothing where all are zero."""
        found = {name: float(value) for name, value in msgspec.structs.asdict(self).items() if value is not None}
        return found if any(found.values()) else {}


class Reader(Protocol):
    """Reads one stream. It has no clock and asks nothing: the same records give the same lines.

    Attributes:
        before: what the session that is resumed had reported by then; for what tells the sum.
    """

    before: Usage
    usage: Usage
    model: str
    answer: str
    session: str

    def record(self, record: Mapping[str, Any]) -> Sequence[str]:
        """Return what a person reads of a line of JSON, as lines."""
        ...

    def text(self, line: str) -> Sequence[str]:
        """Return what a person reads of any other line."""
        ...

    def ending(self, exit_code: int | None) -> Ending | None:
        """Return why it did not end well; None where it did, or where its exit code says enough."""
        ...


class Adapter(Protocol):
    """One coding agent.

    Attributes:
        own_files: patterns, as in gitignore(5), of what it leaves in a workspace for itself.
        sessions: the directory beneath the home that holds what it remembers.
    """

    json: bool
    takes_tools: bool
    own_files: Sequence[str]
    sessions: str

    def launch(self, setting: Setting) -> Launch: ...

    def reader(self) -> Reader: ...

    def session_files(self, session: str) -> Sequence[str]:
        """Return patterns of the files of one session, as paths beneath the home; none for what is no session's name.

        Args:
            session: as the stream names it, so that a script may have chosen it.
        """
        ...

    def session_place(self, path: str, workspace: Path) -> str:
        """Return where a stored file belongs beneath the home of an attempt that resumes its session.

        Args:
            workspace: as the script sees it.
        """
        ...


SESSION_NAME = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def versions() -> dict[str, str]:
    """Return the versions that are installed where a coding agent is not there, by their variables."""
    lines = files(__package__).joinpath("versions.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def start(program: str, package: str, words: Sequence[str], prompt: Path | None, before: str = "") -> str:
    """Return the shell text that starts a program of npm: the one that is installed, else its package.

    Args:
        prompt: its standard input.
    """
    arguments = shlex.join(words)
    standard_input = f" <{shlex.quote(str(prompt))}" if prompt is not None else " </dev/null"
    return (
        f"{before}if command -v {program} >/dev/null 2>&1; then exec {program} {arguments}{standard_input}; fi\n"
        f"if ! command -v npx >/dev/null 2>&1; then\n"
        f'  echo "{program} is not installed here, and there is no npx to fetch it" >&2\n  exit 127\nfi\n'
        f"exec npx --yes {shlex.quote(package)} {arguments}{standard_input}\n"
    )


def folded(text: str) -> list[str]:
    """Return a tool's output, each line behind a bar, and how much of it is left out."""
    if not text.strip():
        return []
    lines = text.rstrip("\n").split("\n")
    shown = [f"  │ {line[:FOLD_CHARACTERS]}" for line in lines[:FOLD_LINES]]
    left = len(lines) - len(shown)
    return [*shown, f"  │ … {left} more lines"] if left else shown


def limited(text: str) -> str:
    """Return as much of an answer as is kept."""
    return text.encode("utf-8", "replace")[:ANSWER_LIMIT_BYTES].decode("utf-8", "ignore")


def totals(usage: Usage) -> str:
    """Return what was used, for a person."""
    cost = f", ${usage.cost_usd:.4f}" if usage.cost_usd is not None else ""
    cache = f", {usage.cache_read_tokens:.0f} from the cache" if usage.cache_read_tokens else ""
    return (
        f"■ {usage.turns} turns, {usage.input_tokens:.0f} tokens in{cache}, {usage.output_tokens:.0f} tokens out{cost}"
    )
