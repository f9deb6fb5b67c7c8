"""Posts about a task at its forge (commit status, comment, pull request), made from the task's present state."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import msgspec

from keruta.domain.catalog.triggers import PullRequestTemplate, TriggerSpec
from keruta.domain.forge_posts import CommitStatus, PullRequestText, StatusState, Thread
from keruta.domain.forge_texts import beside, fitting, one_line, title_part, trimmed
from keruta.domain.forges import MARK
from keruta.domain.messages import message
from keruta.domain.task import AttemptView, TaskView

Kind = Literal["status", "comment", "pull_request"]
STATES: dict[str, StatusState] = {
    "queued": "queued", "assigned": "queued", "preparing": "queued", "running": "running", "waiting": "running",
    "suspended": "running", "succeeded": "succeeded", "failed": "failed", "cancelled": "cancelled",
    "unknown": "unknown",
}  # fmt: skip
SAID = {
    "queued": "report_queued", "running": "report_running", "succeeded": "report_succeeded",
    "failed": "report_failed", "cancelled": "report_cancelled", "unknown": "report_unknown",
}  # fmt: skip
TITLE_LETTERS = 200
OWN_WORDS = ("task", "number", "url")
# After each try that failed, the next one comes so much later; after the last, a person is shown that it failed.
AGAIN_SECONDS = (5, 30, 120, 600, 1800, 7200, 21_600, 43_200)
_PLACES = re.compile(r"\{(task|name|branch|number|title|answer|url)\}")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a forge is to be told.

    Args:
        key: the same for all tasks that speak of it; the newest of them counts.
    """

    kind: Kind
    key: str
    status: CommitStatus | None = None
    commit: str = ""
    thread: Thread | None = None
    text: str = ""
    marker: str = ""
    pull_request: PullRequestText | None = None

    @property
    def digest(self) -> str:
        """The same as long as the same is to be told."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()


def reports(task: TaskView, trigger: TriggerSpec, *, public_url: str) -> Iterator[Report]:
    """Yield what the forge is to be told now. A pull request's base is empty where the repository's own counts."""
    origin = task.origin
    if origin is None or origin.forge is None or origin.repository is None:
        return
    about = f"{origin.forge} {origin.repository} {trigger.name}"
    if "status" in trigger.report and origin.commit:
        yield Report(
            kind="status", key=f"status {about} {origin.commit}", commit=origin.commit,
            status=CommitStatus(
                state=STATES[task.status], context=f"keruta/{trigger.name}", description=sentence(task),
                url=f"{public_url}/tasks/{task.id}",
            ),
        )  # fmt: skip
    if "comment" in trigger.report and origin.number is not None:
        marker = f"{MARK} {trigger.name} -->"
        yield Report(
            kind="comment", key=f"comment {about} {origin.number}", marker=marker,
            text=f"{comment(task, public_url)}\n\n{_caused_by(task)}\n{marker}",
            thread=Thread(repository=origin.repository, number=origin.number, pull_request=origin.pull_request),
        )  # fmt: skip
    last = task.attempts[-1] if task.attempts else None
    if trigger.pull_request is not None and task.status == "succeeded" and last is not None and last.result_commit:
        head = last.result_branch or task.result_branch or ""
        base = trigger.pull_request.base or (origin.base if origin.event in ("push", "pull_request") else None) or ""
        if head and head != base:
            yield Report(
                kind="pull_request", key=f"pull_request {about} {head}", marker=f"{MARK} {trigger.name} -->",
                pull_request=_pull_request(trigger.pull_request, task, last, head, base, public_url),
            )  # fmt: skip


def sentence(task: TaskView) -> str:
    """Return how a task stands, in a sentence."""
    said = task.question if task.status in ("waiting", "suspended") else task.message
    code = "report_waiting" if task.status in ("waiting", "suspended") else SAID[STATES[task.status]]
    begins = message(code).text
    return " ".join(f"{begins} {one_line(said or '')}".split())


def comment(task: TaskView, public_url: str) -> str:
    """Return a comment on how a task stands: its sentence, answer, check and cost, and the way to it."""
    last = task.attempts[-1] if task.attempts else None
    parts = [f"**{trimmed(sentence(task))}**"]
    if task.status in ("succeeded", "failed") and task.answer:
        parts.append(fitting(trimmed(task.answer)))
    facts = [f"[{task.id}]({public_url}/tasks/{task.id})"]
    if last is not None and last.result_branch and last.result_commit:
        facts.append(f"`{_code(last.result_branch)}` {last.result_commit[:10]}")
    if task.check is not None and task.status == "succeeded":
        facts.append(message("report_checked").text)
    if last is not None and (cost := last.usage.get("cost_usd")) is not None:
        facts.append(f"{cost:.2f} USD")
    return "\n\n".join([*parts, " · ".join(facts)])


def _pull_request(
    template: PullRequestTemplate, task: TaskView, last: AttemptView, head: str, base: str, public_url: str
) -> PullRequestText:
    assert task.origin is not None
    url = f"{public_url}/tasks/{task.id}"
    values = {
        "task": task.id, "name": task.name or task.id, "branch": head, "title": task.origin.title or "",
        "number": str(task.origin.number) if task.origin.number is not None else "", "answer": task.answer, "url": url,
    }  # fmt: skip
    body = _filled(template.body, values, trimmed)
    title = one_line(_filled(template.title, values, title_part))[:TITLE_LETTERS]
    marker = f"{MARK} {task.origin.trigger} -->"
    return PullRequestText(
        head=head, base=base, draft=template.draft, labels=template.labels, reviewers=template.reviewers,
        title=title or task.id,
        body=f"{fitting(body)}\n\n[{task.id}]({url})\n\n{_caused_by(task)}\n{marker}",
    )  # fmt: skip


def _filled(template: str, values: Mapping[str, str], harmless: Callable[[str], str]) -> str:
    """Fill a template of the team's own, with what others have chosen made harmless."""

    def value(found: re.Match[str]) -> str:
        given = values[found[1]]
        return given if found[1] in OWN_WORDS else beside(template[: found.start()], harmless(given))

    return _PLACES.sub(value, template)


def _caused_by(task: TaskView) -> str:
    """Return the mark by which an event that this text causes is known to be the task's."""
    return f"{MARK} task {task.id} -->"


def _code(text: str) -> str:
    return text.replace("`", "")


class PostView(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a forge was told of a task, or is to be told; `message` says how the last try went.

    `superseded`: a newer task speaks of the same commit, thread or branch.
    """

    kind: Kind
    state: Literal["waiting", "sent", "failed", "superseded"]
    tries: int = 0
    url: str | None = None
    message: str | None = None
    message_code: str | None = None
    message_arguments: dict[str, Any] | None = None
