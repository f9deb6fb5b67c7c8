"""A repository that tasks work on: its address, who opens it, and how its tasks run."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from keruta.domain.catalog.access import Access
from keruta.domain.catalog.caches import CacheRules, rules_faults
from keruta.domain.catalog.circuits import CircuitView
from keruta.domain.catalog.common import Commands, Description, Kept, Name, Problems, command_faults
from keruta.domain.catalog.profiles import AgentMemory, agent_memory_faults
from keruta.domain.commit_rules import CommitRules
from keruta.domain.messages import message
from keruta.domain.repository import Depth, Paths, paths_faults, ref_allowed, ref_fault, url_fault


class RepositorySpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A repository as a team writes it."""

    name: Name
    url: Annotated[str, Meta(min_length=1, max_length=2048, description="https://, ssh:// or user@host:path")]
    description: Description = ""
    default_ref: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    read_credential: Name | None = None
    push_credential: Name | None = None
    setup: Commands = []
    default_profile: Name | None = None
    submodules: bool = False
    lfs: bool = False
    depth: Depth | None = None
    tags: bool | None = None
    paths: Paths = []
    provenance: bool | None = None
    fetch_more: bool | None = None
    cache: CacheRules = []
    allowed_refs: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=255)]],
        Meta(max_length=100, description="patterns such as main or release/*; empty for all"),
    ] = []
    agent_memory: AgentMemory | None = None
    max_running: Annotated[int, Meta(ge=0, le=100_000)] | None = None
    commit: CommitRules | None = None
    access: Access | None = None

    def faults(self) -> Problems:
        if wrong := url_fault(self.url):
            yield "/url", wrong
        if self.default_ref is not None and (wrong := ref_fault(self.default_ref)):
            yield "/default_ref", wrong
        elif self.default_ref is not None and not self.allows(self.default_ref):
            yield "/default_ref", message("field_default_ref")
        yield from command_faults("/setup", self.setup)
        yield from paths_faults(self.paths)
        yield from rules_faults(self.cache)
        yield from agent_memory_faults(self.agent_memory)
        if self.commit is not None:
            yield from ((f"/commit{at}", said) for at, said in self.commit.faults())

    def allows(self, ref: str | None) -> bool:
        """Says whether a task may name this ref; a bare commit is allowed by `*` alone."""
        return ref is None or ref_allowed(ref, self.allowed_refs)


class RepositoryView(RepositorySpec, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A repository as the API shows it; `circuit` is there while it fails again and again."""

    meta: Kept
    circuit: CircuitView | None = None


class Validation(msgspec.Struct, frozen=True, kw_only=True):
    """Result of checking a repository on its Git server: `message` is one sentence about the fault, or says that
    there is none.

    `proxy` is the one that it went through, and `own_authorities` whether a company's certificates are trusted.
    """

    reachable: bool
    authenticated: bool
    message: str
    message_code: str | None = None
    message_arguments: dict[str, Any] | None = None
    reason: str | None = None
    default_branch: str | None = None
    default_ref_found: bool | None = None
    branches: list[str] = []
    tags: list[str] = []
    refs_total: int = 0
    proxy: str | None = None
    own_authorities: bool = False
    took_seconds: float = 0.0
    at: datetime | None = None
