"""A trigger: which events of a forge start a task, and which task that is."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keruta.domain.catalog.access import Access
from keruta.domain.catalog.common import Description, Kept, Name, Problems
from keruta.domain.messages import message
from keruta.domain.task import SCRIPT_LIMIT_BYTES, ResultBranch

Provider = Literal["github", "gitlab", "gitea"]
EventKind = Literal["push", "tag", "pull_request", "comment", "issue"]
Concurrency = Literal["allow", "skip", "replace"]
Pattern = Annotated[str, Meta(min_length=1, max_length=255)]
Text = Annotated[str, Meta(min_length=1, max_length=SCRIPT_LIMIT_BYTES)]
Patterns = Annotated[list[Pattern], Meta(max_length=100)]


class TriggerSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a team says of a trigger. A filter that is empty lets everything through.

    Args:
        webhook_secret: a credential of the type `webhook_secret`: what signs the forge's deliveries.
        branches: patterns for the branch that was pushed, or that a pull request is to be merged into.
        paths: patterns for the files that a push changed.
        actions: such as opened, synchronize or labeled, in the forge's own words.
        concurrency: what becomes of an event while an earlier task of the same group has not ended: `allow` starts
            another, `skip` starts none, `replace` cancels the earlier one.
        group: which tasks count as earlier ones: those for the same branch, tag or pull request, or all of the trigger.
        forks: what becomes of a pull request from a fork: it waits for someone's approval, or starts nothing.
    """

    name: Name
    description: Description = ""
    repository: Name
    provider: Provider
    webhook_secret: Name
    events: Annotated[list[EventKind], Meta(min_length=1, max_length=5)]
    branches: Patterns = []
    tags: Patterns = []
    paths: Patterns = []
    labels: Patterns = []
    actions: Patterns = []
    script: Text | None = None
    prompt: Text | None = None
    check: Text | None = None
    profile: Name | None = None
    queue: Name = "default"
    timeout_seconds: Annotated[int, Meta(ge=1, le=7 * 86400)] | None = None
    result: ResultBranch | None = None
    concurrency: Concurrency = "allow"
    group: Literal["ref", "trigger"] = "ref"
    forks: Literal["approve", "ignore"] = "approve"
    paused: bool = False
    access: Access | None = None

    def faults(self) -> Problems:
        if (self.script is None) == (self.prompt is None):
            yield "/script", message("trigger_script_or_prompt")
        for field in ("script", "prompt", "check"):
            if "\0" in (getattr(self, field) or ""):
                yield f"/{field}", message("field_nul")
        if self.paths and set(self.events) != {"push"}:
            yield "/paths", message("trigger_paths_push")


class TriggerView(TriggerSpec, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A trigger as the API shows it."""

    meta: Kept
