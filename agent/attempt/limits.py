"""The limits of one attempt: its time, its output, its disks; and the sentence of each."""

from __future__ import annotations

import os
import time
from pathlib import Path

from agent.attempt.directory import JobDir
from agent.settings import WorkerSettings
from keruta.domain.messages import EMPTY, Message, message
from keruta.domain.specification import Specification

MODEL_CAUSES = frozenset({"ModelUnauthorized", "ModelRateLimited", "ModelOverloaded", "BudgetExceeded"})
FREE_BYTES_LEAST = 64 * 1024


class Limits:
    """Limits by the attempt's specification and the worker's settings."""

    def __init__(self, settings: WorkerSettings, directory: JobDir, specification: Specification) -> None:
        self._settings = settings
        self._dir = directory
        self._spec = specification

    def exceeded(self, output_bytes: int, deadline_at: float) -> str:
        """Return the reason to end the script now, or ""; `deadline_at` is Unix time."""
        if time.time() > deadline_at:
            return "DeadlineExceeded"
        if output_bytes > self._settings.output_limit_bytes:
            return "OutputTooLarge"
        # The log's directory, and not its file: a script can take the log's name away.
        return "SpoolFull" if _disk_full(self._dir.control) else ""

    def disk_is_full(self) -> bool:
        """Return whether a disk that the script writes to is full."""
        return any(_disk_full(path) for path in (self._dir.workspace, self._dir.control, self._dir.home))

    def sentence(self, cause: str) -> Message:
        """The message for an attempt that was ended for this cause; empty for "", a person's wish."""
        if cause in MODEL_CAUSES:
            return message("agent_stopped_for_model")
        return {
            "": EMPTY,
            "DeadlineExceeded": message("script_timeout", seconds=self._spec.timeout_seconds),
            "OutputTooLarge": message("script_output_too_large", limit=self._settings.output_limit_bytes),
            "WorkerStopped": message("script_worker_stopped"),
            "SpoolFull": message("script_log_disk_full"),
        }[cause]


def _disk_full(path: Path) -> bool:
    try:
        found = os.statvfs(path)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < FREE_BYTES_LEAST or (found.f_files > 0 and found.f_favail == 0)
