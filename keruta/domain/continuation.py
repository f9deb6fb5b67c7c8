"""Going on from a task that a coding agent has ended: the next task, from its branch, with what was said as text."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from keruta.domain.lifecycle import ENDED, Status
from keruta.domain.messages import message, status_word
from keruta.domain.task import (
    SCRIPT_LIMIT_BYTES,
    Problems,
    RepositoryAsk,
    ResultBranch,
    TaskRequest,
    TaskView,
)
from keruta.errors import Conflict

LABEL = "continues"
LABELS_MOST = 32
EARLIER = "What was asked and answered before, oldest first; the last part is what to do now.\n\n"
CUT = "[…]\n"


class ContinueRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The next prompt for the coding agent."""

    prompt: Annotated[str, Meta(min_length=1, max_length=SCRIPT_LIMIT_BYTES // 2)]

    def faults(self) -> Problems:
        if not self.prompt.strip() or "\0" in self.prompt:
            yield "/prompt", message("field_nul_in_shell") if "\0" in self.prompt else message("continue_empty")


def continued(task: TaskView, prompt: str) -> TaskRequest:
    """Return the next task: as this one was asked for, from the branch that it pushed, or else from where it began.

    Raises:
        Conflict: it has not ended, or was a script.
    """
    if Status(task.status) not in ENDED:
        raise Conflict(message("continue_not_ended", status=status_word(task.status)), reason="WrongStatus")
    if task.prompt is None:
        raise Conflict(message("continue_no_prompt"), reason="NoPrompt")
    last = task.attempts[-1] if task.attempts else None
    pushed = last.result_branch.removeprefix("refs/heads/") if last is not None and last.result_branch else None
    result = task.result
    if pushed is not None:
        result = ResultBranch(branch=pushed, if_exists="update")
    elif result is None and task.result_branch is not None:
        result = ResultBranch(branch=task.result_branch)
    known = task.repository
    repository = RepositoryAsk(
        name=known.name, url=None if known.name is not None else known.url, ref=pushed or known.ref,
        submodules=known.submodules, depth=known.depth, tags=known.tags, paths=list(known.paths),
    )  # fmt: skip
    labels = dict(list(task.labels.items())[: LABELS_MOST - 1])
    return TaskRequest(
        repository=repository, prompt=_spoken(task, prompt), check=task.check, name=task.name, queue=task.queue,
        profile=task.profile, documents=[one.name for one in task.documents], priority=task.priority, env=task.env,
        timeout_seconds=task.timeout_seconds, retry=task.retry, result=result, provenance=task.provenance,
        cache=task.cache,
        labels={**labels, LABEL: task.id},
    )  # fmt: skip


def _spoken(task: TaskView, prompt: str) -> str:
    """The prompt, after what was said before; of a long conversation its end."""
    earlier = (task.prompt or "").removeprefix(EARLIER)
    answer = task.answer.strip() or f"(no answer: {task.reason or task.status})"
    before = f"{earlier}\n\n--- answer ---\n\n{answer}\n\n--- asked next ---\n\n"
    room = SCRIPT_LIMIT_BYTES - len(f"{EARLIER}{CUT}{prompt}".encode())
    kept = before.encode()
    if len(kept) > room:
        before = CUT + kept[-room:].decode("utf-8", "ignore")
    return f"{EARLIER}{before}{prompt}"
