"""Texts by which two runs are compared: settings, end, outputs and artifacts, a line for each fact. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import msgspec

from keruta.domain.resubmission import request_of
from keruta.domain.task import AttemptView, TaskView

LOG_FILE = "log.gz"
# Times and durations, which no two runs share: 2026-11-27T16:28:40.123Z, 16:28:40, 1.25 s, 340ms, 2m03s.
_TIMES = re.compile(
    r"\d{4}[-/]\d\d[-/]\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?)?(?:Z|[+-]\d\d:?\d\d)?"
    r"|\b\d{1,2}:\d\d:\d\d(?:[.,]\d{1,9})?"
    r"|\b\d{1,9}m ?\d{1,2}(?:\.\d{1,9})?s\b"
    r"|\b\d{1,9}(?:\.\d{1,9})? ?(?:ns|µs|us|ms|s|sec|secs|seconds?|min|minutes?)\b"
)


def settings_text(task: TaskView) -> str:
    """Return the request, a line for each field, and each line of a script as one."""
    return "\n".join(_lines("", request_of(task)))


def end_text(task: TaskView) -> str:
    """Return how it ended, a line for each fact that is known."""
    last: AttemptView | None = task.attempt(None)
    told = {
        "status": task.status,
        "reason": task.reason,
        "message": task.message,
        "exit code": task.exit_code,
        "attempts": len(task.attempts),
        "worker": last.worker if last is not None else None,
        "commit": last.commit if last is not None else None,
        "image": last.image if last is not None else None,
        "seconds": _whole_seconds(task),
    }
    return "\n".join(f"{name}: {value}" for name, value in told.items() if value is not None)


def outputs_text(outputs: Mapping[str, str]) -> str:
    return "\n".join(line for name in sorted(outputs) for line in _lines(name, outputs[name]))


def artifacts_text(task: TaskView) -> str:
    """Return the artifacts, a line for each, without the log, which is compared as text."""
    found = sorted((one.path, one.sha256[:12], one.size_bytes) for one in task.artifacts if one.path != LOG_FILE)
    return "\n".join(f"{path}  {digest}  {size} bytes" for path, digest, size in found)


def ran_seconds(task: TaskView) -> float | None:
    """Return how long it ran; None for one that has not started or not ended."""
    if task.started_at is None or task.ended_at is None:
        return None
    return (task.ended_at - task.started_at).total_seconds()


def without_times(line: str) -> str:
    """Return a line of a log with its times and durations left out, for a comparison."""
    return _TIMES.sub("\0", line)


def _whole_seconds(task: TaskView) -> int | None:
    seconds = ran_seconds(task)
    return None if seconds is None else round(seconds)


def _lines(path: str, value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _lines(f"{path}.{key}" if path else str(key), inner)
    elif isinstance(value, str) and "\n" in value:
        yield f"{path}:"
        yield from (f"  {line}" for line in value.splitlines())
    else:
        yield f"{path}: {value if isinstance(value, str) else msgspec.json.encode(value).decode()}"
