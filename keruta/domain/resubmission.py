"""The request that would submit a task again."""

from __future__ import annotations

from typing import Any

import msgspec

from keruta.domain.continuation import LABEL
from keruta.domain.task import TaskView

_FIELDS = ("name", "script", "command", "prompt", "check", "env", "labels")


def request_of(task: TaskView) -> dict[str, Any]:
    """Return the body of `POST /api/v1/tasks` that asks for the same as this task, as plain data.

    Fields that the task does not use are left out. What the catalog supplied (priority, time limit, retry policy) is
    named, so that the new task runs as this one did even where the catalog has changed meanwhile.
    """
    plain = msgspec.to_builtins(task, enc_hook=str)
    request = {field: plain[field] for field in _FIELDS if plain[field]}
    if labels := {key: value for key, value in task.labels.items() if key != LABEL}:
        request["labels"] = labels
    else:
        request.pop("labels", None)
    known = task.repository
    repository: dict[str, Any] = {"name": known.name} if known.name is not None else {"url": known.url}
    if known.ref is not None:
        repository["ref"] = known.ref
    if known.submodules:
        repository["submodules"] = True
    if known.depth != 1:
        repository["depth"] = known.depth
    if known.tags:
        repository["tags"] = True
    if known.paths:
        repository["paths"] = list(known.paths)
    result = task.result
    return {
        "repository": repository,
        **request,
        "queue": task.queue,
        "profile": task.profile,
        **({"documents": [one.name for one in task.documents]} if task.documents else {}),
        "priority": task.priority,
        "timeout_seconds": task.timeout_seconds,
        "retry": plain["retry"],
        **({"result": msgspec.to_builtins(result)} if result is not None else {}),
        **({"result_branch": task.result_branch} if result is None and task.result_branch is not None else {}),
        **({"provenance": True} if task.provenance else {}),
        **({"cache": plain["cache"]} if task.cache is not None else {}),
        **({"without_secrets": True} if task.without_secrets else {}),
    }
