"""A profile: how a job runs. A coding agent or a language's tools are set up once and picked by name."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from keruta.domain.catalog.caches import CacheRules, rules_faults
from keruta.domain.catalog.circuits import CircuitView
from keruta.domain.catalog.coding_agents import CodingAgentOptions
from keruta.domain.catalog.common import Commands, Description, Kept, Name, Problems, command_faults
from keruta.domain.catalog.patterns import pattern_fault
from keruta.domain.catalog.pods import IMAGE, PodOptions, Quantity, amount
from keruta.domain.commit_rules import CommitRules
from keruta.domain.messages import message
from keruta.domain.naming import ENV_NAME
from keruta.domain.repository import Depth, Paths, paths_faults

PROMPT_PLACE = "{prompt}"
FILE_PLACE = "{prompt_file}"
ARGUMENT_LIMIT_BYTES = 120_000  # Linux takes 128 KiB in one argument
AGENT_MEMORY_LEAST_BYTES = 128 << 20
ENV_LIMIT_BYTES = 64 * 1024  # of names and values; a program can be started with about 2 MiB in all
_PLACES = re.compile(f"{re.escape(PROMPT_PLACE)}|{re.escape(FILE_PLACE)}")

AgentMemory = Annotated[
    str,
    Meta(pattern="^[0-9]{1,9}(M|Mi|G|Gi)$", description="of the agent beside the script; 128Mi or more"),
]
Pairs = Annotated[dict[str, Annotated[str, Meta(max_length=32768)]], Meta(max_length=100)]


class PromptCommand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Command line of a coding agent, with the prompt's place.

    `{prompt}` in a word becomes the prompt, `{prompt_file}` the path of a file that holds it; with neither, the prompt
    comes on standard input.
    """

    command: Annotated[list[Annotated[str, Meta(min_length=1, max_length=4096)]], Meta(min_length=1, max_length=100)]

    def faults(self) -> Problems:
        for number, word in enumerate(self.command):
            if "\0" in word:
                yield f"/command/{number}", message("field_nul")
        if PROMPT_PLACE in self.command[0] or FILE_PLACE in self.command[0]:
            yield "/command/0", message("field_prompt_program")

    @property
    def by_argument(self) -> bool:
        return any(PROMPT_PLACE in word for word in self.command)

    def script(self, prompt: str, prompt_file: str) -> str:
        """The shell text that runs it. Every word is quoted: a prompt is a text, never a part of the command."""
        given = {PROMPT_PLACE: prompt, FILE_PLACE: prompt_file}
        # In one pass: what stands in a prompt is no place for anything.
        words = [_PLACES.sub(lambda place: given[place[0]], word) for word in self.command]
        by_input = not self.by_argument and not any(FILE_PLACE in word for word in self.command)
        return f"exec {shlex.join(words)}" + (f" <{shlex.quote(prompt_file)}\n" if by_input else "\n")


class Amounts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Amounts of a machine's resources."""

    cpu: Quantity | None = None
    memory: Quantity | None = None
    ephemeral_storage: Quantity | None = None


class Resources(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Resources that a script is guaranteed, and its limits."""

    requests: Amounts = Amounts()
    limits: Amounts = Amounts()

    def faults(self) -> Problems:
        for name in Amounts.__struct_fields__:
            wanted, most = getattr(self.requests, name), getattr(self.limits, name)
            if wanted is not None and most is not None and amount(wanted) > amount(most):
                yield f"/requests/{name}", message("field_more_than_limit", limit=most)


class Toleration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A taint of nodes that its Pods may run on in spite of."""

    key: Annotated[str, Meta(max_length=317)] | None = None
    operator: Literal["Exists", "Equal"] = "Equal"
    value: Annotated[str, Meta(max_length=63)] | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class UsageRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rule that finds a coding agent's usage in its output: a number in a line of JSON, or in a line of text.

    Of a JSON line: `pointer` (RFC 6901) to the number, and `where`, other pointers and the texts that must be there. Of
    a text line: `pattern`, whose first group is the number; 1.5k is 1500. `fold` takes the last one, or adds them up.
    """

    measure: Literal["input_tokens", "output_tokens", "cost_usd"]
    pointer: Annotated[str, Meta(max_length=200, pattern="^/")] | None = None
    where: Annotated[dict[str, str], Meta(max_length=10)] = {}
    pattern: Annotated[str, Meta(max_length=300)] | None = None
    fold: Literal["last", "sum"] = "last"

    def faults(self) -> Problems:
        if (self.pointer is None) == (self.pattern is None):
            yield "/pointer", message("field_pointer_or_pattern")
        if self.pattern is not None and (wrong := pattern_fault(self.pattern)):
            yield "/pattern", wrong


class ProfileSpec(CodingAgentOptions, msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A profile as a team writes it."""

    name: Name
    description: Description = ""
    image: Annotated[str, Meta(min_length=1, max_length=500)] | None = None
    setup: Commands = []
    prompt: PromptCommand | None = None
    resources: Resources = Resources()
    timeout_seconds: Annotated[int, Meta(ge=1, le=7 * 86400)] | None = None
    env: Pairs = {}
    secrets: Annotated[
        dict[str, Name], Meta(max_length=50, description="variables for the script, each by a credential's name")
    ] = {}
    network: Literal["open", "closed"] = "open"
    node_selector: Annotated[dict[str, str], Meta(max_length=20)] = {}
    tolerations: Annotated[list[Toleration], Meta(max_length=20)] = []
    pod: PodOptions = PodOptions()
    agent_memory: AgentMemory | None = None
    usage: Annotated[list[UsageRule], Meta(max_length=20)] = []
    depth: Depth | None = None
    tags: bool | None = None
    paths: Paths = []
    provenance: bool | None = None
    fetch_more: bool | None = None
    cache: CacheRules = []
    commit: CommitRules | None = None

    def faults(self) -> Problems:
        if self.image is not None and not IMAGE.fullmatch(self.image):
            yield "/image", message("field_image")
        yield from command_faults("/setup", self.setup)
        yield from paths_faults(self.paths)
        yield from rules_faults(self.cache)
        yield from self.agent_faults(self.secrets)
        if self.coding_agent == "command" and self.prompt is None:
            yield "/prompt", message("field_command_needed")
        elif self.options is not None and self.prompt is not None:
            yield "/prompt", message("field_agent_or_command")
        if self.prompt is not None:
            yield from ((f"/prompt{at}", message) for at, message in self.prompt.faults())
        if self.commit is not None:
            yield from ((f"/commit{at}", said) for at, said in self.commit.faults())
        for number, rule in enumerate(self.usage):
            yield from ((f"/usage/{number}{at}", message) for at, message in rule.faults())
        yield from agent_memory_faults(self.agent_memory)
        yield from ((f"/resources{at}", said) for at, said in self.resources.faults())
        yield from ((f"/pod{at}", said) for at, said in self.pod.faults())
        if environment_bytes(self.env) > ENV_LIMIT_BYTES:
            yield "/env", message("field_env_too_large", limit=ENV_LIMIT_BYTES // 1024)
        yield from ((f"/env/{name[:80]}", message("field_nul")) for name, value in self.env.items() if "\0" in value)
        for field in ("env", "secrets"):
            for name in getattr(self, field):
                if not ENV_NAME.fullmatch(name):
                    yield f"/{field}/{name[:80]}", message("field_variable_name")
                elif name.startswith("KERUTA_"):
                    yield f"/{field}/{name[:80]}", message("field_variable_reserved")


def named_credentials(profile: Mapping[str, Any]) -> dict[str, str]:
    """Return the credentials that a profile names, by where: a stored one, or one of an earlier version."""
    found = {f"/secrets/{variable}": name for variable, name in (profile.get("secrets") or {}).items()}
    if model := profile.get("model_credential"):
        found["/model_credential"] = model
    return found


class ProfileView(ProfileSpec, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A profile as the API shows it."""

    meta: Kept
    circuit: CircuitView | None = None
    runs_in: (
        Annotated[str, Meta(description="the image of its scripts, where it or its coding agent has one")] | None
    ) = None


def needs_cluster(profile: ProfileSpec) -> list[str]:
    """Return the names of the profile's fields that only a Pod can honour."""
    found = [name for name in ("image", "node_selector", "tolerations") if getattr(profile, name)]
    found += [name for name in PodOptions.__struct_fields__ if getattr(profile.pod, name)]
    if profile.network == "closed":
        found.append("network")
    if profile.resources != Resources():
        found.append("resources")
    return found


def agent_memory_faults(memory: str | None) -> Problems:
    """Yield the faults of an agent's memory: Git and Python run in it, and have to fit."""
    if memory is not None and amount_bytes(memory) < AGENT_MEMORY_LEAST_BYTES:
        yield "/agent_memory", message("field_agent_memory", least="128Mi")


def amount_bytes(quantity: str) -> int:
    """Return a quantity of memory in bytes."""
    number, unit = re.fullmatch(r"([0-9]+)([A-Za-z]+)", quantity).groups()  # type: ignore[union-attr]
    return int(number) * {"M": 10**6, "Mi": 2**20, "G": 10**9, "Gi": 2**30}[unit]


def environment_bytes(env: Mapping[str, str]) -> int:
    """Return the size of an environment as a program is given it: bytes, not characters."""
    return sum(len(f"{name}={value}".encode("utf-8", "surrogatepass")) for name, value in env.items())
