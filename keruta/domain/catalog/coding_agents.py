"""Settings of a coding agent in a profile: its kind, its model, its permissions and its budget."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from keruta.domain.catalog.common import Name, Problems, env_faults, nul_faults
from keruta.domain.messages import message
from keruta.domain.naming import NAME, holds_control

CodingAgentName = Literal["claude-code", "codex", "aider", "command"]
# Images in which a coding agent is installed when its task starts, where there are none with it.
PLAIN_IMAGES = {"claude-code": "node:22", "codex": "node:22", "aider": "python:3.12"}
ANTHROPIC, OPENAI = "anthropic", "openai"
DEFAULT_ADDRESSES = {ANTHROPIC: "https://api.anthropic.com", OPENAI: "https://api.openai.com/v1"}
INSTRUCTIONS_LIMIT_BYTES = 64 * 1024
Word = Annotated[str, Meta(min_length=1, max_length=4096)]
_RATE = Annotated[float, Meta(ge=0, le=1_000_000)]


def image_of(coding_agent: str | None, images: Mapping[str, str]) -> str | None:
    """Return the image of a coding agent whose profile names none; None for what is no known coding agent.

    Args:
        images: this installation's own images with a coding agent in them, by the coding agents' names.
    """
    return images.get(coding_agent or "") or PLAIN_IMAGES.get(coding_agent or "")


class McpServer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A server of tools (Model Context Protocol) for the coding agent: a command, or an address.

    Args:
        secrets: variables of the profile's `secrets` that the command gets.
        bearer: the variable among them that is sent to the address as a bearer token.
    """

    command: Annotated[list[Word], Meta(max_length=100)] = []
    env: Annotated[dict[str, Annotated[str, Meta(max_length=32768)]], Meta(max_length=100)] = {}
    secrets: Annotated[list[Word], Meta(max_length=20)] = []
    url: Annotated[str, Meta(max_length=2048, pattern="^https?://[^/]")] | None = None
    bearer: Word | None = None

    def faults(self) -> Problems:
        if bool(self.command) == (self.url is not None):
            yield "", message("field_mcp_command_or_url")
        if self.url is not None and (self.env or self.secrets):
            yield "/env", message("field_mcp_env_of_command")
        if self.command and self.bearer is not None:
            yield "/bearer", message("field_mcp_bearer_of_url")
        yield from nul_faults("/command", self.command)
        yield from env_faults(self.env)


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prices of a model's tokens, in US dollars for a million of each kind."""

    model: Annotated[str, Meta(min_length=1, max_length=200, description="a model's name, or how names begin")]
    input: _RATE = 0.0
    output: _RATE = 0.0
    cache_read: _RATE = 0.0
    cache_write: _RATE = 0.0


class CodingAgentOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A profile's options for its coding agent.

    Args:
        coding_agent: which one; `command` is the profile's own command line, `prompt`.
        effort: how long the model may think, in the coding agent's own word: low, medium, high.
        permissions: `full`, everything that its isolation lets it do; `edit`, files alone; or a list of tools.
        instructions: told to the coding agent beside the repository's own CLAUDE.md or AGENTS.md.
        max_tokens: of input, cache and output together.
        base_url: the model's server, where it is not the maker's own.
        model_credential: the model's key, which stays with keruta's agent: the script reaches the model through it.
        flags: further words of the command line.
        no_changes: how a task with a result branch ends that changed nothing.
        wait_seconds: how long a question keeps its processes and its slot; after that the task is suspended until a
            person answers.
    """

    coding_agent: CodingAgentName | None = None
    model: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    effort: Annotated[str, Meta(pattern="^[a-z]{1,20}$")] | None = None
    permissions: Literal["full", "edit"] | Annotated[list[Word], Meta(min_length=1, max_length=100)] = "full"
    instructions: Annotated[str, Meta(max_length=INSTRUCTIONS_LIMIT_BYTES)] = ""
    mcp_servers: Annotated[dict[str, McpServer], Meta(max_length=20)] = {}
    max_turns: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000_000)] | None = None
    max_cost_usd: Annotated[float, Meta(gt=0, le=1_000_000)] | None = None
    prices: Annotated[list[Price], Meta(max_length=50)] = []
    base_url: Annotated[str, Meta(max_length=500, pattern="^https?://[^/]")] | None = None
    model_credential: Name | None = None
    flags: Annotated[list[Word], Meta(max_length=100)] = []
    no_changes: Literal["succeed", "fail"] = "succeed"
    wait_seconds: Annotated[int, Meta(ge=0, le=7 * 86400)] = 600

    def agent_faults(self, secrets: Container[str] = ()) -> Problems:
        """Yield the options that contradict each other.

        Args:
            secrets: the variables that the profile has secrets in.
        """
        kind = self.coding_agent
        if kind in (None, "command"):
            yield from (
                (f"/{name}", message("field_needs_coding_agent"))
                for name in _NEED_AN_ADAPTER
                if getattr(self, name) != _DEFAULTS[name]
            )
        if isinstance(self.permissions, list) and kind in ("codex", "aider"):
            yield "/permissions", message("field_permissions_list")
        if kind == "aider" and self.mcp_servers:
            yield "/mcp_servers", message("field_mcp_aider")
        for name, server in self.mcp_servers.items():
            if not NAME.fullmatch(name):
                yield f"/mcp_servers/{name[:80]}", message("field_name")
            yield from ((f"/mcp_servers/{name[:80]}{at}", said) for at, said in server.faults())
            wanted = [*server.secrets, *([server.bearer] if server.bearer is not None else [])]
            for variable in wanted:
                if variable not in secrets:
                    yield f"/mcp_servers/{name[:80]}", message("field_mcp_secret", name=variable)
        for field in ("model", "base_url"):
            if (text := getattr(self, field)) and (holds_control(text) or " " in text):
                yield f"/{field}", message("field_control_characters")
        for number, word in enumerate(self.flags):
            if "\0" in word:
                yield f"/flags/{number}", message("field_nul")
        if "\0" in self.instructions:
            yield "/instructions", message("field_nul")

    @property
    def options(self) -> CodingAgentOptions | None:
        """These alone, where a coding agent with an adapter is set up."""
        if self.coding_agent in (None, "command"):
            return None
        fields = {name: getattr(self, name) for name in CodingAgentOptions.__struct_fields__}
        return CodingAgentOptions(**fields)

    @property
    def api(self) -> str:
        """The API of the model's server."""
        if self.coding_agent == "claude-code":
            return ANTHROPIC
        if self.coding_agent == "aider":
            name = (self.model or "").lower()
            return ANTHROPIC if name.startswith(("anthropic/", "claude", "sonnet", "opus", "haiku")) else OPENAI
        return OPENAI

    @property
    def model_address(self) -> str:
        """The model's server, with the path that its API's own paths are added to."""
        address = (self.base_url or DEFAULT_ADDRESSES[self.api]).rstrip("/")
        if self.api == ANTHROPIC:
            return address.removesuffix("/v1")
        return address if urlsplit(address).path else f"{address}/v1"

    def cost_usd(self, model: str, tokens: dict[str, float]) -> float | None:
        """Return the price of tokens by the profile's prices; None if they do not name the model."""
        known = [price for price in self.prices if model.startswith(price.model)]
        if not known:
            return None
        price = max(known, key=lambda one: len(one.model))
        total: float = sum(getattr(price, kind) * tokens.get(f"{kind}_tokens", 0.0) for kind in _KINDS)
        return total / 1_000_000


_KINDS = ("input", "output", "cache_read", "cache_write")
_DEFAULTS = {name: getattr(CodingAgentOptions(), name) for name in CodingAgentOptions.__struct_fields__}
_NEED_AN_ADAPTER = tuple(name for name in _DEFAULTS if name not in ("coding_agent", "no_changes"))
