"""The coding agents that have an adapter, by their names in a profile."""

from __future__ import annotations

from agent.coding_agents.adapter import Adapter
from agent.coding_agents.aider import Aider
from agent.coding_agents.claude_code import ClaudeCode
from agent.coding_agents.codex import Codex

ADAPTERS: dict[str, Adapter] = {"claude-code": ClaudeCode(), "codex": Codex(), "aider": Aider()}
