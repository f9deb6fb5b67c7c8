"""Claude Code (npm @anthropic-ai/claude-code).

Source: `claude --help` and the records of `--output-format stream-json`, as version 2.1.197 writes them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

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
from agent.coding_agents.endings import (
    STATUS_REASONS,
    Ending,
    Failure,
    asks,
    in_one_line,
    refused,
    tools_refused,
    without_end,
)
from agent.coding_agents.model_answers import anthropic_usage
from agent.coding_agents.records import mapping, mappings, number, text
from keruta.domain.messages import message

NEVER = ("EnterWorktree", "ExitWorktree", "CronCreate", "ScheduleWakeup")  # of no use in a task, or leave files behind
ERROR_REASONS: dict[str, Failure] = {
    "authentication_failed": "ModelUnauthorized", "rate_limit": "ModelRateLimited", "overloaded": "ModelOverloaded",
    "server_error": "ModelOverloaded", "billing_error": "BudgetExceeded",
}  # fmt: skip
_NO_WORD = re.compile(r"[^A-Za-z0-9]")
_SHOWN_INPUT = ("command", "file_path", "pattern", "url", "query", "path", "description", "prompt")


class ClaudeCode:
    """Started in print mode; its records are lines of JSON."""

    json = True
    takes_tools = True
    own_files: Sequence[str] = (".claude/worktrees/",)
    sessions = ".claude/projects"

    def launch(self, setting: Setting) -> Launch:
        options = setting.options
        words = ["--print", "--verbose", "--output-format", "stream-json"]
        words += _permission_words(options.permissions, tools=setting.tools is not None)
        words += ["--disallowedTools", *NEVER]
        words += ["--resume", setting.session] if setting.session is not None else []
        for flag, value in (
            ("--model", options.model), ("--effort", options.effort), ("--max-turns", options.max_turns),
            ("--max-budget-usd", options.max_cost_usd),
        ):  # fmt: skip
            if value is not None:
                words += [flag, str(value)]
        home_files: dict[str, str] = {}
        if options.mcp_servers or setting.tools is not None:
            home_files[".claude/mcp.json"] = _mcp(setting)
            words += ["--strict-mcp-config"] if options.mcp_servers else []
            words += ["--mcp-config", str(setting.home / ".claude/mcp.json")]
        if options.instructions:
            home_files[".claude/CLAUDE.md"] = options.instructions
        env = {"DISABLE_AUTOUPDATER": "1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "IS_SANDBOX": "1"}
        own_env: dict[str, str] = {}
        if setting.model is not None:
            own_env = {"ANTHROPIC_BASE_URL": setting.model.address, "ANTHROPIC_API_KEY": setting.model.token}
        elif options.base_url is not None:
            env["ANTHROPIC_BASE_URL"] = options.model_address
        if setting.tools is not None:
            own_env |= {TOOLS_TOKEN: setting.tools.token, "MCP_TOOL_TIMEOUT": str(TOOL_SECONDS * 1000)}
        package = f"@anthropic-ai/claude-code@{versions()['CLAUDE_CODE_VERSION']}"
        command = start("claude", package, [*words, *options.flags], setting.prompt)
        return Launch(text=command, program="claude", env=env, own_env=own_env, files=home_files)

    def reader(self) -> ClaudeReader:
        return ClaudeReader()

    def session_files(self, session: str) -> Sequence[str]:
        if not SESSION_NAME.fullmatch(session):
            return ()
        return f"{self.sessions}/*/{session}.jsonl", f"{self.sessions}/*/{session}/*"

    def session_place(self, path: str, workspace: Path) -> str:
        """A transcript is found by the directory that the coding agent is started in, with a dash for each character
        that is neither a letter nor a digit.
        """
        rest = path.removeprefix(f"{self.sessions}/").partition("/")[2]
        return f"{self.sessions}/{_NO_WORD.sub('-', str(workspace))}/{rest}"


def _permission_words(permissions: str | Sequence[str], *, tools: bool) -> list[str]:
    if permissions == "full":
        return ["--dangerously-skip-permissions"]
    allowed = [*([] if permissions == "edit" else permissions), *([f"mcp__{TOOLS_NAME}"] if tools else [])]
    return ["--permission-mode", "acceptEdits", *(["--allowedTools", *allowed] if allowed else [])]


def _mcp(setting: Setting) -> str:
    servers: dict[str, Any] = {}
    for name, server in setting.options.mcp_servers.items():
        if server.url is not None:
            headers = {"Authorization": f"Bearer ${{{server.bearer}}}"} if server.bearer else {}
            servers[name] = {"type": "http", "url": server.url, "headers": headers}
        else:
            env = {**server.env, **{variable: f"${{{variable}}}" for variable in server.secrets}}
            servers[name] = {"command": server.command[0], "args": server.command[1:], "env": env}
    if setting.tools is not None:
        headers = {"Authorization": f"Bearer ${{{TOOLS_TOKEN}}}"}
        servers[TOOLS_NAME] = {"type": "http", "url": setting.tools.address, "headers": headers}
    return msgspec.json.encode({"mcpServers": servers}).decode()


class ClaudeReader:
    """Reads its records. Each message's usage is counted once; the last record has the sums, and replaces them."""

    def __init__(self) -> None:
        self.before, self.usage = Usage(), Usage()
        self.model = self.answer = self.session = self._error = ""
        self._counted: set[str] = set()
        self._result: Mapping[str, Any] | None = None
        self._refused: list[str] = []

    def record(self, record: Mapping[str, Any]) -> Sequence[str]:
        match record.get("type"):
            case "system" if record.get("subtype") == "init":
                self.model = self.model or text(record.get("model"))
                self.session = text(record.get("session_id"))
                return [f"● {self.model}"]
            case "system" if record.get("subtype") == "api_retry":
                status = record.get("error_status") or text(record.get("error"))
                return [f"↻ the model's server answered {status}; try {record.get('attempt')}"]
            case "assistant":
                self._error = text(record.get("error"))
                return self._assistant(mapping(record.get("message")))
            case "user":
                return self._user(mapping(record.get("message")))
            case "result":
                return self._ended(record)
        return []

    def text(self, line: str) -> Sequence[str]:
        return [line]

    def ending(self, exit_code: int | None) -> Ending | None:
        result = self._result
        if result is None:
            return without_end(exit_code)
        said = in_one_line(text(result.get("result")) or text(result.get("subtype")))
        if result.get("subtype") in ("error_max_turns", "error_max_budget_usd"):
            return Ending(reason="BudgetExceeded", message=message("agent_limit_reached", said=said))
        status = result.get("api_error_status")
        if result.get("is_error"):
            known = STATUS_REASONS.get(status) if isinstance(status, int) else None
            reason = known or ERROR_REASONS.get(self._error, "AgentGaveUp")
            return refused(reason, said)
        if result.get("stop_reason") in ("max_tokens", "refusal"):
            return Ending(reason="AgentGaveUp", message=message("agent_truncated", said=said))
        if self._refused:
            names = ", ".join(dict.fromkeys(self._refused))[:300]
            return tools_refused(names)
        return asks(self.answer)

    def _assistant(self, said: Mapping[str, Any]) -> list[str]:
        lines: list[str] = []
        identity = text(said.get("id"))
        if identity not in self._counted and said.get("model") != "<synthetic>":
            self._counted.add(identity)
            self.usage.turns += 1
            self.usage.add(anthropic_usage(mapping(said.get("usage"))))
        for block in mappings(said.get("content")):
            kind = block.get("type")
            if kind == "text":
                self.answer = limited(text(block.get("text")))
                lines += text(block.get("text")).splitlines()
            elif kind == "tool_use":
                lines.append(f"▶ {text(block.get('name'))}: {_shown(mapping(block.get('input')))}")
        return lines

    def _user(self, said: Mapping[str, Any]) -> list[str]:
        lines: list[str] = []
        for block in mappings(said.get("content")):
            if block.get("type") == "tool_result":
                content = block.get("content")
                parts = [text(part.get("text")) for part in mappings(content)]
                lines += folded(content if isinstance(content, str) else "\n".join(parts))
        return lines

    def _ended(self, record: Mapping[str, Any]) -> list[str]:
        self._result = record
        self.session = text(record.get("session_id")) or self.session
        if said := text(record.get("result")):
            self.answer = limited(said)
        denied = mappings(record.get("permission_denials"))
        self._refused = [text(one.get("tool_name")) for one in denied]
        whole = Usage(turns=number(record.get("num_turns")) or self.usage.turns)
        whole.add(anthropic_usage(mapping(record.get("usage"))))
        cost = record.get("total_cost_usd")
        if isinstance(cost, int | float):
            whole.cost_usd = float(cost)
        self.usage = whole
        return [totals(self.usage)]


def _shown(given: Mapping[str, Any]) -> str:
    """The part of a tool's input that says most."""
    for name in _SHOWN_INPUT:
        if isinstance(given.get(name), str):
            return in_one_line(given[name])
    return in_one_line(msgspec.json.encode(given).decode())
