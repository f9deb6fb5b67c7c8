"""A trigger: which events of a forge, or which times, start a task, and which task that is."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from keruta.domain.catalog.access import Access
from keruta.domain.catalog.common import Description, Kept, Name, Problems
from keruta.domain.forge_posts import Permission
from keruta.domain.messages import message
from keruta.domain.schedules import expression_fault, zone_fault
from keruta.domain.task import SCRIPT_LIMIT_BYTES, ResultBranch

Provider = Literal["github", "gitlab", "gitea", "generic"]
EventKind = Literal[
    "push", "tag", "merge_group", "pull_request", "review_comment", "comment", "issue", "check_failed", "event"
]  # fmt: skip
Concurrency = Literal["allow", "skip", "replace"]
Pattern = Annotated[str, Meta(min_length=1, max_length=255)]
STATUS: Literal["status"] = "status"
Text = Annotated[str, Meta(min_length=1, max_length=SCRIPT_LIMIT_BYTES)]
Patterns = Annotated[list[Pattern], Meta(max_length=100)]
Command = Annotated[str, Meta(pattern="^/[a-z][a-z0-9-]{0,30}( [a-z][a-z0-9-]{0,30})?$")]
ASKED: frozenset[str] = frozenset({"check_failed"})  # events about which the forge must be asked


class PullRequestTemplate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The words of a pull request. {task}, {name}, {branch}, {number}, {title}, {answer} and {url} are filled in.

    Args:
        base: the branch that it is to be merged into; without it the event's, or the repository's default branch.
    """

    title: Annotated[str, Meta(min_length=1, max_length=200)] = "{name}"
    body: Annotated[str, Meta(max_length=10_000)] = "{answer}"
    base: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    labels: Annotated[list[Annotated[str, Meta(min_length=1, max_length=100)]], Meta(max_length=20)] = []
    reviewers: Annotated[list[Annotated[str, Meta(min_length=1, max_length=100)]], Meta(max_length=20)] = []
    draft: bool = False


class TriggerSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A trigger as a team writes it. A filter that is empty lets everything through.

    Args:
        forge: the forge that the repository is on; its type and its secret count where the next two are not given.
        provider: the form of the events, where no forge is named.
        webhook_secret: a credential of the type `webhook_secret`: what signs the forge's deliveries.
        branches: patterns for the branch that was pushed, or that a pull request is to be merged into.
        paths: patterns for the files that a push changed.
        command: such as `/keruta fix`: comments count that hold a line which begins so, by people who may write.
        permission: what an event's sender must at least be allowed to do with the repository, as the forge says.
        checks: patterns for the name of a check that failed.
        sources: patterns for the sources of CloudEvents that start the trigger.
        schedule: a cron expression of five fields; its times start the task, too.
        time_zone: the expression's, by its name in the IANA's database.
        jitter_seconds: the task starts up to so much later than the expression says, always by the same amount.
        missed: what becomes of times at which keruta was not running: nothing, or the last of them starts one task.
        actions: such as opened, synchronize or labeled, in the forge's own words.
        concurrency: what becomes of an event while an earlier task of the same group has not ended: `allow` starts
            another, `skip` starts none, `replace` cancels the earlier one.
        group: which tasks count as earlier ones: those for the same branch, tag or pull request, or all of the trigger.
        report: what is told the forge of each task, where one is named: a commit's status, a comment that is updated.
        report_skipped: whether a commit whose event `paths` or `labels` have skipped gets a status that succeeded.
        pull_request: one is opened from the result branch of a task that succeeded, or brought up to date.
        from_keruta: whether what keruta itself did at the forge starts the trigger, too.
        service_account: what the tasks run as, while whoever saved the trigger last may use it; without one they run as
            that person.
        forks: what becomes of a pull request from a fork: it waits for someone's approval, starts nothing, or runs at
            once without any secret, with a closed network, in `fork_queue`.
    """

    name: Name
    description: Description = ""
    repository: Name
    forge: Name | None = None
    provider: Provider | None = None
    webhook_secret: Name | None = None
    events: Annotated[list[EventKind], Meta(max_length=9)] = []
    command: Command | None = None
    permission: Literal["read", "write", "admin"] | None = None
    checks: Patterns = []
    sources: Patterns = []
    schedule: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    time_zone: Annotated[str, Meta(min_length=1, max_length=64)] = "UTC"
    jitter_seconds: Annotated[int, Meta(ge=0, le=86400)] = 0
    missed: Literal["skip", "run_once"] = "skip"
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
    service_account: Name | None = None
    forks: Literal["approve", "ignore", "without_secrets"] = "approve"
    fork_queue: Name | None = None
    report: Annotated[list[Literal["status", "comment"]], Meta(max_length=2)] = msgspec.field(
        default_factory=lambda: [STATUS]
    )
    report_skipped: bool = False
    pull_request: PullRequestTemplate | None = None
    from_keruta: bool = False
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
        if self.pull_request is not None and (self.result is None or self.forge is None):
            yield "/pull_request", message("trigger_pull_request")
        if self.report_skipped and (self.forge is None or STATUS not in self.report):
            yield "/report_skipped", message("trigger_report_skipped")
        yield from self._of_forks()
        yield from self._causes()

    def _of_forks(self) -> Problems:
        if self.forks != "without_secrets":
            if self.fork_queue is not None:
                yield "/fork_queue", message("trigger_fork_queue_unused")
            return
        if self.fork_queue is None or self.fork_queue == self.queue:
            yield "/fork_queue", message("trigger_fork_queue")
        if self.prompt is not None:
            yield "/prompt", message("without_secrets_prompt")

    def _foreign(self) -> Problems:
        if self.sources and "event" not in self.events:
            yield "/sources", message("trigger_sources_event")
        if "event" in self.events and self.provider != "generic" and not self.sources:
            yield "/events", message("trigger_event_from")
        if self.provider == "generic" and set(self.events) - {"event"}:
            yield "/events", message("trigger_generic")

    @property
    def wanted_permission(self) -> Permission | None:
        return self.permission or ("write" if self.command is not None else None)

    def _causes(self) -> Problems:
        if not self.events and self.schedule is None:
            yield "/events", message("trigger_without_cause")
        yield from self._foreign()
        of_sources = set(self.events) == {"event"} and bool(self.sources)
        if self.events and self.provider is None and self.forge is None and not of_sources:
            yield "/provider", message("trigger_provider")
        if self.provider is not None and self.forge is not None:
            yield "/provider", message("trigger_forge_or_provider")
        if self.events and self.webhook_secret is None and self.forge is None and not of_sources:
            yield "/webhook_secret", message("trigger_secret_needed")
        if self.command is not None and not {"comment", "review_comment"} & set(self.events):
            yield "/command", message("trigger_command_comment")
        if self.forge is None and (self.wanted_permission is not None or ASKED & set(self.events)):
            yield "/forge", message("trigger_forge_asked")
        if self.schedule is not None and (wrong := expression_fault(self.schedule)):
            yield "/schedule", wrong
        if wrong := zone_fault(self.time_zone):
            yield "/time_zone", wrong


class Stopped(msgspec.Struct, frozen=True, kw_only=True):
    """The reason why a trigger starts nothing, until its last editor, or another who saves it, has the right."""

    message: str
    message_code: str | None = None
    message_arguments: dict[str, Any] | None = None


class TriggerView(TriggerSpec, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A trigger as the API shows it. `next_times` are the next five at which it starts by its schedule."""

    meta: Kept
    stopped: Stopped | None = None
    next_times: list[datetime] = []
