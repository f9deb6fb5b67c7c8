"""A delivery: one event that a forge sent, a time that came or a person's wish, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from keruta.domain.catalog.triggers import TriggerSpec
from keruta.domain.continuation import continued
from keruta.domain.forge_facts import Facts, command_in, completed, questions, refusal
from keruta.domain.forges import TIME, ForgeEvent, glob_matches
from keruta.domain.messages import Message, message
from keruta.domain.task import Origin, RepositoryAsk, TaskRequest, TaskView

BODY_LIMIT_BYTES = 25 * 1024 * 1024  # the most that GitHub sends
DELIVERY_DAYS = 30
EVENT_DAYS = 366  # how long an event is known to have been processed
TRIES_MOST = 8
MISSED = "missed"  # the action of a time at which keruta was not running
# What starts a trigger that names no actions; with labels it is started by these being put on, too.
USUAL_CHANGES: Mapping[str, frozenset[str]] = {
    "pull_request": frozenset({"opened", "reopened", "synchronized", "ready"}),
    "comment": frozenset({"created"}),
    "issue": frozenset({"opened", "reopened"}),
    "review_comment": frozenset({"created"}),
    "merge_group": frozenset({"checks_requested"}),
    "check_failed": frozenset({"failed"}),
}
UNLABELED = frozenset({"push", "tag", "merge_group", "check_failed"})
LEVELS_MOST = 3  # tasks that were each started by what the one before has done at the forge
CAUSE_TRIES = 4  # how often it is looked which task caused an event: what it pushed is on record soon after
State = Literal["received", "started", "held", "skipped", "repeated", "ignored", "ended", "failed"]


class DeliveryView(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery as the API shows it: `message` says what came of it. `event` is the forge's own word."""

    id: str
    trigger: str
    delivery: str
    event: str
    state: State
    received_at: datetime
    ref: str | None = None
    commit: str | None = None
    number: int | None = None
    sender: str | None = None
    task: str | None = None
    replay: int = 0
    approved_by: str | None = None
    message: str | None = None
    message_code: str | None = None
    message_arguments: dict[str, Any] | None = None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The decision on an event: a task starts, or the reason that none does; `ask`: the forge must be asked first.

    Args:
        event: as the forge's answers complete it.
        without_secrets: whether the task is to run without any, since nobody has looked at what it runs.
    """

    state: Literal["start", "held", "ignored", "skipped", "ask"]
    said: Message | None = None
    event: ForgeEvent | None = None
    without_secrets: bool = False


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery whose event is to be processed, and its trigger as it is now; None where it was deleted.

    Args:
        asks: whether it was put aside for a process that asks the forge.
        late: whether what it tells was found at the forge before it came.
        editor: the subject of whoever saved the trigger last.
        at_forge: the owner and name of the trigger's repository at its forge; None where they are not known, or not
            read yet.
    """

    id: str
    event: ForgeEvent
    replay: int
    approved: bool
    tries: int
    asks: bool = False
    late: bool = False
    spec: TriggerSpec | None
    editor: str | None = None
    at_forge: str | None = None


def is_of(event: ForgeEvent, url: str, at_forge: str | None = None) -> bool:
    """Say whether an event is about the repository at an address, by its owner and name.

    Args:
        at_forge: its owner and name at the trigger's forge; None where they are not known, for then a forge may have
            its repositories below a path of its address.
    """
    if at_forge is not None:
        return event.repository.lower() == at_forge.removesuffix(".git").lower()
    path = url.partition("://")[2].partition("/")[2] if "://" in url else url.partition(":")[2]
    path = path.strip("/").removesuffix(".git").lower()
    name = event.repository.lower()
    return "/" in name and (path == name or path.endswith(f"/{name}"))


def too_old(event: ForgeEvent, now: datetime) -> bool:
    """Say whether an event happened before everything that keruta remembers of deliveries."""
    return event.at is not None and now - event.at > timedelta(days=DELIVERY_DAYS)


def request_of(spec: TriggerSpec, event: ForgeEvent, *, without_secrets: bool = False) -> TaskRequest:
    """Make the task's request: the trigger's own words, with the event beside them as variables alone."""
    queue = spec.fork_queue if without_secrets and spec.fork_queue is not None else spec.queue
    return TaskRequest(
        repository=RepositoryAsk(name=spec.repository, ref=event.commit),
        script=spec.script, prompt=spec.prompt, check=spec.check, queue=queue, profile=spec.profile,
        timeout_seconds=spec.timeout_seconds, result=None if without_secrets else spec.result,
        env=_parameters(spec, event), name=_task_name(spec, event), labels={"trigger": spec.name},
        without_secrets=without_secrets,
    )  # fmt: skip


def continued_request(spec: TriggerSpec, earlier: TaskView, request: TaskRequest) -> TaskRequest:
    """Return a trigger's request as what a coding agent is asked next, on the branch that it has pushed."""
    assert spec.prompt is not None
    next_one = continued(earlier, spec.prompt)
    kept = {name: value for name, value in next_one.env.items() if not name.startswith("KERUTA_PARAM_")}
    return msgspec.structs.replace(
        next_one, env={**kept, **request.env}, check=spec.check or next_one.check, queue=spec.queue,
        profile=spec.profile or next_one.profile, name=request.name, labels={**next_one.labels, **request.labels},
    )  # fmt: skip


def _parameters(spec: TriggerSpec, event: ForgeEvent) -> dict[str, str]:
    command = command_in(spec, event)
    if command is None:
        return event.parameters
    given = {"KERUTA_PARAM_COMMAND": command.name, "KERUTA_PARAM_ARGUMENTS": command.arguments}
    return {**event.parameters, **given}


def origin_of(spec: TriggerSpec, event: ForgeEvent, repository: str | None, level: int = 0) -> Origin:
    """Make what a task was started for.

    Args:
        repository: its owner and name at the trigger's forge; None where it has none.
        level: how many tasks of keruta's own lead to it.
    """
    return Origin(
        trigger=spec.name, forge=spec.forge if repository is not None else None, repository=repository,
        event=event.kind or "", ref=event.ref, base=event.base, commit=event.commit, number=event.number,
        pull_request=event.pull_request, sender=event.sender, title=event.title, url=event.url, at=event.at,
        level=level,
    )  # fmt: skip


def event_of_time(at: datetime, *, missed: bool) -> ForgeEvent:
    """Make the event of a time that came: its identity is the time, so it is one event however often it is noted."""
    return ForgeEvent(
        kind="schedule", name="schedule", identity=f"schedule {at.strftime(TIME)}", at=at,
        action=MISSED if missed else None,
    )  # fmt: skip


def event_of_run(identity: str, who: str, at: datetime) -> ForgeEvent:
    """Make the event of a person's wish that the task be started now."""
    return ForgeEvent(kind="run", name="run", identity=f"run {identity}", sender=who, at=at)


def _task_name(spec: TriggerSpec, event: ForgeEvent) -> str:
    number = f"#{event.number}" if event.number is not None else None
    said = [spec.name, event.kind, number or event.ref, event.commit and event.commit[:10]]
    return " ".join(word for word in said if word)[:200]


def verdict(
    spec: TriggerSpec, event: ForgeEvent, *, url: str, approved: bool, replayed: bool = False,
    facts: Facts | None = None, at_forge: str | None = None,
) -> Verdict:  # fmt: skip
    """Decide what a trigger does with an event.

    Args:
        url: the address of the trigger's repository.
        approved: whether someone has approved this delivery's commit.
        replayed: whether someone wants it processed once more.
        facts: what the forge answered, where it was asked.
        at_forge: the owner and name of that repository at the trigger's forge, where they are known.
    """
    if event.kind == "run":
        return Verdict(state="start")
    if event.kind == "schedule":
        return _timed(spec, event, replayed)
    if against := _mismatch(spec, event, url, at_forge):
        return Verdict(state="ignored", said=against)
    asked = questions(spec, event)
    if asked.any:
        if facts is None:
            return Verdict(state="ask")
        event = completed(event, asked, facts)
        against = (
            refusal(spec, event, asked, facts) or _branch_mismatch(spec, event) or _like_option(event)
            or _label_mismatch(spec, event)
        )  # fmt: skip
        if against is not None:
            return Verdict(state="ignored", said=against)
    if event.fork and spec.forks == "ignore":
        return Verdict(state="ignored", said=message("delivery_fork_ignored"))
    # Whoever gives a command has named the commit, and may write: that is an approval.
    if event.fork and not approved and not asked.pull_request:
        if spec.forks == "without_secrets":
            return Verdict(state="start", event=event, without_secrets=True)
        return Verdict(state="held", said=message("delivery_fork", commit=(event.commit or "")[:12]))
    return Verdict(state="start", event=event)


def owes_status(spec: TriggerSpec, found: Verdict, event: ForgeEvent) -> bool:
    """Say whether a forge is to be told that the trigger's filters have skipped an event."""
    filtered = found.said is not None and found.said.code in ("delivery_paths", "delivery_labels")
    return spec.report_skipped and found.state == "ignored" and filtered and event.commit is not None


def closes(event: ForgeEvent) -> bool:
    """Say whether an event ends a pull request, or a group that was to be merged."""
    changes = {"pull_request": "closed", "merge_group": "destroyed"}
    return event.kind in changes and event.change == changes[event.kind]


def _timed(spec: TriggerSpec, event: ForgeEvent, replayed: bool) -> Verdict:
    """Decide what a trigger does at a time of its schedule."""
    if spec.paused:
        return Verdict(state="ignored", said=message("delivery_paused"))
    if event.action == MISSED and spec.missed == "skip" and not replayed:
        return Verdict(state="skipped", said=message("delivery_missed"))
    return Verdict(state="start")


def _mismatch(spec: TriggerSpec, event: ForgeEvent, url: str, at_forge: str | None) -> Message | None:
    if spec.paused:
        return message("delivery_paused")
    if event.kind is None:
        return message("delivery_unknown_event", event=event.name)
    if event.kind != "event" and not is_of(event, url, at_forge):
        return message("delivery_other_repository", repository=event.repository)
    if event.kind not in spec.events:
        return message("delivery_not_wanted", event=event.name)
    if event.deleted:
        return message("delivery_deleted", ref=event.ref or "")
    if like_option := _like_option(event):
        return like_option
    if event.kind in ("comment", "review_comment") and spec.command is not None:
        # Whoever changes somebody else's comment speaks in their name.
        if event.change != "created" or command_in(spec, event) is None:
            return message("delivery_no_command", command=spec.command)
        return _own(spec, event) or _filtered(spec, event)
    if not _counts(spec, event):
        return message("delivery_action", action=event.action or "")
    return _own(spec, event) or _filtered(spec, event)


def _like_option(event: ForgeEvent) -> Message | None:
    """Return the reason against a branch or tag whose name a script's programs would read as an option."""
    names = [name for name in (event.ref, event.base) if name is not None and name.startswith("-")]
    return message("delivery_ref_like_option", ref=names[0]) if names else None


def _own(spec: TriggerSpec, event: ForgeEvent) -> Message | None:
    own = event.own or (spec.result is not None and event.kind != "check_failed" and event.ref == spec.result.branch)
    if event.kind == "review_comment" and not event.own:
        return None  # people speak of what keruta has pushed
    return message("delivery_own") if own and not spec.from_keruta else None


def _counts(spec: TriggerSpec, event: ForgeEvent) -> bool:
    """Say whether what happened starts the trigger: what it names, or what is new to look at."""
    if event.kind in ("push", "tag"):
        return True
    if event.kind == "event":
        foreign = event.source is None or _any(spec.sources, [event.source])
        return foreign and (not spec.actions or _any(spec.actions, [event.name]))
    said = [word for word in (event.action, event.change) if word]
    if spec.actions:
        return _any(spec.actions, said)
    usual = USUAL_CHANGES[event.kind or ""] | ({"labeled"} if spec.labels else set())
    return event.change in usual


def _filtered(spec: TriggerSpec, event: ForgeEvent) -> Message | None:
    if event.kind == "tag":
        if spec.tags and not _any(spec.tags, [event.ref or ""]):
            return message("delivery_tag", tag=event.ref or "")
    elif event.kind in ("push", "pull_request", "merge_group", "review_comment") and (
        against := _branch_mismatch(spec, event)
    ):
        return against
    if event.kind == "check_failed" and spec.checks and not _any(spec.checks, [event.check or ""]):
        return message("delivery_check", check=event.check or "")
    if spec.paths and event.paths is not None and not _any(spec.paths, event.paths):
        return message("delivery_paths")
    if labels := _label_mismatch(spec, event):
        return labels
    if event.kind not in ("comment", "issue", "event") and event.commit is None:
        return message("delivery_commit")
    return None


def _branch_mismatch(spec: TriggerSpec, event: ForgeEvent) -> Message | None:
    """A comment is about a branch only where the forge was asked about its pull request."""
    about = event.kind not in ("comment", "issue", "event") or event.base is not None
    if spec.branches and about and not _any(spec.branches, [event.base or ""]):
        return message("delivery_branch", branch=event.base or "")
    return None


def _label_mismatch(spec: TriggerSpec, event: ForgeEvent) -> Message | None:
    labels = event.labels if event.added is None else event.added
    if spec.labels and event.kind not in UNLABELED and not _any(spec.labels, labels):
        return message("delivery_labels")
    return None


def _any(patterns: Iterable[str], names: Iterable[str]) -> bool:
    known = list(patterns)
    return any(glob_matches(pattern, name) for name in names for pattern in known)


def group_of(spec: TriggerSpec, event: ForgeEvent) -> str:
    """Names the group whose tasks the trigger's concurrency policy is about."""
    if spec.group == "trigger":
        return spec.name
    if event.kind in ("schedule", "run"):
        return f"{spec.name} schedule"
    return f"{spec.name} {event.kind} {event.number if event.number is not None else event.ref}"
