"""Aider (PyPI aider-chat).

Source: `aider --help` and what version 0.86.2 prints. It says nothing by its exit code, so its text is read.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.coding_agents.adapter import (
    Launch,
    Setting,
    Usage,
    limited,
    versions,
)
from agent.coding_agents.endings import Ending, Failure, asks, in_one_line, refused, without_end
from keruta.domain.catalog.coding_agents import ANTHROPIC

WORDS = (
    "--yes-always", "--no-check-update", "--no-pretty", "--no-stream", "--no-gitignore", "--map-tokens", "0",
    "--no-analytics", "--no-show-release-notes", "--no-show-model-warnings", "--no-detect-urls",
    "--no-suggest-shell-commands",
)  # fmt: skip
_FAILURES: dict[str, Failure] = {
    "AuthenticationError": "ModelUnauthorized",
    "PermissionDeniedError": "ModelUnauthorized",
    "RateLimitError": "ModelRateLimited",
    "ServiceUnavailableError": "ModelOverloaded",
    "InternalServerError": "ModelOverloaded",
    "APIConnectionError": "ModelOverloaded",
    "BadGatewayError": "ModelOverloaded",
    "BudgetExceededError": "BudgetExceeded",
}
_FAILED = re.compile(r"^litellm\.(?:exceptions\.)?([A-Za-z]{1,60})")
_TOKENS = re.compile(r"^Tokens: ([\d.,]+[kM]?) sent")
_OTHER = re.compile(r"([\d.,]{1,20}[kM]?) (cache write|cache hit|received)")
_COST = re.compile(r"Cost: \$[\d.,]+ message, \$([\d.,]{1,20}) session")
_LIMIT = re.compile(r"^Model .{1,200} has hit a token limit!")
_SUFFIXES = {"k": 1e3, "M": 1e6}


class Aider:
    """Started with its message in a file; what it prints is text."""

    json = False
    takes_tools = False
    own_files: Sequence[str] = (".aider*",)
    sessions = ".aider-history"

    def launch(self, setting: Setting) -> Launch:
        options = setting.options
        own = setting.home / ".aider-history"
        words = [*WORDS, "--chat-history-file", f"{own}/chat.md", "--input-history-file", f"{own}/input"]
        words += ["--message-file", str(setting.prompt)]
        words += ["--restore-chat-history"] if setting.session is not None else []
        if options.model is not None:
            words += ["--model", options.model]
        if options.effort is not None:
            words += ["--reasoning-effort", options.effort]
        home_files = {".aider-history/README": "What aider keeps of this attempt.\n"}
        if options.instructions:
            home_files[".aider-history/instructions.md"] = options.instructions
            words += ["--read", f"{own}/instructions.md"]
        env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "AIDER_CHECK_UPDATE": "false"}
        maker = "ANTHROPIC" if options.api == ANTHROPIC else "OPENAI"
        own_env: dict[str, str] = {}
        if setting.model is not None:
            address = setting.model.address + ("" if options.api == ANTHROPIC else "/v1")
            own_env = {f"{maker}_API_BASE": address, f"{maker}_API_KEY": setting.model.token}
        elif options.base_url is not None:
            env[f"{maker}_API_BASE"] = options.model_address
        arguments = shlex.join([*words, *options.flags])
        package = f"aider-chat=={versions()['AIDER_VERSION']}"
        command = (
            f"if command -v aider >/dev/null 2>&1; then exec aider {arguments} </dev/null; fi\n"
            f"if ! python3 -m aider --version >/dev/null 2>&1; then\n"
            f"  python3 -m pip install --quiet --user {shlex.quote(package)} || exit 127\nfi\n"
            f"exec python3 -m aider {arguments} </dev/null\n"
        )
        return Launch(text=command, program="aider", env=env, own_env=own_env, files=home_files)

    def reader(self) -> AiderReader:
        return AiderReader()

    def session_files(self, session: str) -> Sequence[str]:
        return (f"{self.sessions}/chat.md",)

    def session_place(self, path: str, workspace: Path) -> str:
        return path


class AiderReader:
    """Reads its text: the tokens and the cost that it tells after each answer, and what the model's server refused."""

    def __init__(self) -> None:
        self.before, self.usage = Usage(), Usage()
        self.model = self.answer = self.session = ""
        self._failure: tuple[Failure, str] | None = None
        self._said: list[str] = []
        self._begun = False

    def record(self, record: Mapping[str, Any]) -> Sequence[str]:
        return []

    def text(self, line: str) -> Sequence[str]:
        if found := re.match(r"^(?:Main model|Model): (\S{1,200}) with ", line):
            self.model = found[1]
        elif line.startswith("Repo-map: "):
            self._begun = True
        elif found := _FAILED.match(line):
            self._failure = (_FAILURES.get(found[1], "AgentGaveUp"), in_one_line(line))
        elif _LIMIT.match(line):
            self._failure = ("AgentGaveUp", in_one_line(line))
        elif found := _TOKENS.match(line):
            self._count(line, found[1])
            self._end_answer()
        elif self._begun:
            self._said = [*self._said, line][-1000:]
        if found := _COST.search(line):
            self.usage.cost_usd = _number(found[1])
        return [line]

    def ending(self, exit_code: int | None) -> Ending | None:
        if self._failure is not None:
            return refused(*self._failure)
        if not self.usage.turns and (ended := without_end(exit_code)) is not None:
            return ended
        return asks(self.answer)

    def _end_answer(self) -> None:
        answer = "\n".join(self._said).strip()
        if answer:
            self.answer = limited(answer)
        self._said = []
        self._failure = None  # it tried again, and was answered

    def _count(self, line: str, sent: str) -> None:
        usage, found = self.usage, {kind: _number(text) for text, kind in _OTHER.findall(line)}
        usage.turns += 1
        hit, write = found.get("cache hit", 0.0), found.get("cache write", 0.0)
        usage.input_tokens += max(0.0, _number(sent) - hit - write)
        usage.cache_read_tokens += hit
        usage.cache_write_tokens += write
        usage.output_tokens += found.get("received", 0.0)


def _number(text: str) -> float:
    try:
        return float(text.rstrip("kM").replace(",", "")) * _SUFFIXES.get(text[-1], 1.0)
    except ValueError:
        return 0.0
