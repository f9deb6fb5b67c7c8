"""Codex (npm @openai/codex).

Source: `codex exec --help` and the records of `codex exec --json`, as version 0.171.0 writes them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.coding_agents.adapter import (
    SESSION_NAME,
    TOOL_SECONDS,
    TOOLS_NAME,
    TOOLS_TOKEN,
    Launch,
    Setting,
    Usage,
    folded,
    limited,
    start,
    totals,
    versions,
)
from agent.coding_agents.endings import STATUS_REASONS, Ending, asks, in_one_line, refused, tools_refused, without_end
from agent.coding_agents.records import mapping, mappings, number, text

# Its key has another name than other programs of its maker use.
KEY = 'export CODEX_API_KEY="${CODEX_API_KEY:-$OPENAI_API_KEY}"\n'
_STATUS = re.compile(r"unexpected status (\d{3})|\bstatus[: ]+(\d{3})\b")


class Codex:
    """Started by `exec`; its records are lines of JSON."""

    json = True
    takes_tools = True
    own_files: Sequence[str] = ()
    sessions = ".codex/sessions"

    def launch(self, setting: Setting) -> Launch:
        options = setting.options
        words = ["exec", "--json", "--skip-git-repo-check"]
        full = options.permissions == "full"
        words += ["--dangerously-bypass-approvals-and-sandbox"] if full else ["--sandbox", "workspace-write"]
        if options.model is not None:
            words += ["--model", options.model]
        config: list[tuple[str, Any]] = []
        if options.effort is not None:
            config.append(("model_reasoning_effort", options.effort))
        own_env: dict[str, str] = {}
        if setting.model is not None:
            config.append(("openai_base_url", f"{setting.model.address}/v1"))
            own_env = {"CODEX_API_KEY": setting.model.token}
        elif options.base_url is not None:
            config.append(("openai_base_url", options.model_address))
        for name, value in config:
            words += ["-c", f"{name}={_toml(value)}"]
        home_files = {}
        if options.mcp_servers or setting.tools is not None:
            home_files[".codex/config.toml"] = _servers(setting)
        if setting.tools is not None:
            own_env[TOOLS_TOKEN] = setting.tools.token
        if options.instructions:
            home_files[".codex/AGENTS.md"] = options.instructions
        resumed = ["resume", setting.session] if setting.session is not None else []
        package = f"@openai/codex@{versions()['CODEX_VERSION']}"
        command = start("codex", package, [*words, *options.flags, *resumed, "-"], setting.prompt, before=KEY)
        return Launch(text=command, program="codex", own_env=own_env, files=home_files)

    def reader(self) -> CodexReader:
        return CodexReader()

    def session_files(self, session: str) -> Sequence[str]:
        return (f"{self.sessions}/*/rollout-*-{session}.jsonl",) if SESSION_NAME.fullmatch(session) else ()

    def session_place(self, path: str, workspace: Path) -> str:
        return path


def _servers(setting: Setting) -> str:
    lines: list[str] = []
    if setting.tools is not None:
        lines += [f"[mcp_servers.{TOOLS_NAME}]", f"url = {_toml(setting.tools.address)}"]
        lines += [f"bearer_token_env_var = {_toml(TOOLS_TOKEN)}", f"tool_timeout_sec = {TOOL_SECONDS}"]
    for name, server in setting.options.mcp_servers.items():
        if name == TOOLS_NAME and setting.tools is not None:
            continue  # a table that is there twice is no TOML
        lines.append(f"[mcp_servers.{name}]")
        if server.url is not None:
            lines.append(f"url = {_toml(server.url)}")
            if server.bearer is not None:
                lines.append(f"bearer_token_env_var = {_toml(server.bearer)}")
        else:
            lines += [f"command = {_toml(server.command[0])}", f"args = {_toml(server.command[1:])}"]
            lines.append(f"env_vars = {_toml(list(server.secrets))}")
            lines += [f"[mcp_servers.{name}.env]", *(f"{key} = {_toml(value)}" for key, value in server.env.items())]
    return "\n".join(lines) + "\n"


def _toml(value: str | Sequence[str]) -> str:
    """A value as TOML writes it: its basic strings are JSON's, but for one character that must be escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


class CodexReader:
    """Reads its records. The input tokens that it tells include those of the cache; ours do not.

    Of a session that is resumed it tells the sum, so `before` is taken off.
    """

    def __init__(self) -> None:
        self.before, self.usage = Usage(), Usage()
        self.model = self.answer = self.session = ""
        self._failed: str | None = None
        self._completed = False
        self._declined: list[str] = []

    def record(self, record: Mapping[str, Any]) -> Sequence[str]:
        match record.get("type"):
            case "thread.started":
                self.session = text(record.get("thread_id"))
            case "item.started":
                item = mapping(record.get("item"))
                if item.get("type") == "command_execution":
                    return [f"▶ Shell: {in_one_line(text(item.get('command')))}"]
            case "item.completed":
                return self._item(mapping(record.get("item")))
            case "error":
                return [f"↻ {in_one_line(text(record.get('message')))}"]
            case "turn.failed":
                self._failed = text(mapping(record.get("error")).get("message"))
                return [f"✗ {in_one_line(self._failed)}"]
            case "turn.completed":
                self._completed, self._failed = True, None
                self._count(mapping(record.get("usage")))
                return [totals(self.usage)]
        return []

    def text(self, line: str) -> Sequence[str]:
        return [line]

    def ending(self, exit_code: int | None) -> Ending | None:
        if self._failed is not None:
            found = _STATUS.search(self._failed)
            status = int(found[1] or found[2]) if found else 0
            return refused(STATUS_REASONS.get(status, "AgentGaveUp"), in_one_line(self._failed))
        if not self._completed:
            return without_end(exit_code)
        if self._declined:
            return tools_refused(in_one_line("; ".join(self._declined)))
        return asks(self.answer)

    def _item(self, item: Mapping[str, Any]) -> list[str]:
        match item.get("type"):
            case "agent_message":
                self.usage.turns += 1
                self.answer = limited(text(item.get("text")))
                return text(item.get("text")).splitlines()
            case "command_execution":
                self.usage.turns += 1
                if item.get("status") == "declined":
                    self._declined.append(text(item.get("command"))[:100])
                code = item.get("exit_code")
                ended = [f"  │ exit code {code}"] if isinstance(code, int) and code != 0 else []
                return [*folded(text(item.get("aggregated_output"))), *ended]
            case "file_change":
                changes = mappings(item.get("changes"))
                return [f"▶ Edit: {in_one_line(text(one.get('path')))}" for one in changes]
            case "mcp_tool_call":
                return [f"▶ {text(item.get('server'))}.{text(item.get('tool'))}"]
            case "web_search":
                return [f"▶ Search: {in_one_line(text(item.get('query')))}"]
            case "error":
                return [f"✗ {in_one_line(text(item.get('message')))}"]
        return []

    def _count(self, used: Mapping[str, Any]) -> None:
        cached, written = number(used.get("cached_input_tokens")), number(used.get("cache_write_input_tokens"))
        usage, before = self.usage, self.before
        usage.cache_read_tokens = max(0, cached - before.cache_read_tokens)
        usage.cache_write_tokens = max(0, written - before.cache_write_tokens)
        usage.input_tokens = max(0, number(used.get("input_tokens")) - cached - written - before.input_tokens)
        usage.output_tokens = max(0, number(used.get("output_tokens")) - before.output_tokens)
