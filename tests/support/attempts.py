"""Whole attempts on this machine without a server: a real checkout, a real script, and what is told of it.

As `python -m tests.support.attempts`, for another user of this machine: an `Ask` on standard input, a `Told` on
standard output.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from agent.attempt.attempt import Job
from agent.runners.process.runner import ProcessJobs
from agent.settings import WorkerSettings
from keruta.adapters.sealed_stream import derived_key
from keruta.domain.messages import message
from keruta.domain.naming import attempt_id, new_id
from keruta.domain.reports import AnyEntry, Assigned, Ended, LogChunk, Outcome, Running, Waiting
from keruta.domain.specification import SnapshotKeys, Specification
from keruta.domain.task import RepositoryRef
from keruta.errors import PhaseError

PROJECT = Path(__file__).parents[2]
SECONDS = 60


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What to run, in which state directory, with which settings and environment beside this process's own."""

    state: str
    repository: str
    fields: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    environ: dict[str, str] = {}


class Told(msgspec.Struct, kw_only=True):
    """What became of it."""

    log: str = ""
    status: str = ""
    reason: str | None = None
    message: str | None = None
    exit_code: int | None = None
    outputs: dict[str, str] = {}
    artifacts: list[str] = []
    notes: list[str] = []
    questions: list[str] = []


class Recording:
    """Takes every entry at once."""

    def __init__(self) -> None:
        self.entries: list[AnyEntry] = []

    def send(self, entry: AnyEntry, *, urgent: bool = False) -> None:
        self.entries.append(entry)

    def ask(self, entry: AnyEntry, stop: threading.Event) -> Outcome:
        self.entries.append(entry)
        return Outcome(accepted=True)

    @property
    def backed_up(self) -> bool:
        return False

    @property
    def log(self) -> str:
        return b"".join(one.data for one in self.entries if isinstance(one, LogChunk)).decode(errors="replace")

    def told(self) -> Told:
        told = Told(log=self.log)
        for entry in list(self.entries):
            if isinstance(entry, Running):
                told.notes += entry.notes
            elif isinstance(entry, Waiting):
                told.questions.append(entry.question)
            elif isinstance(entry, Ended):
                told.status, told.reason, told.message = entry.status, entry.reason, entry.message
                told.exit_code, told.outputs = entry.exit_code, entry.outputs
                told.notes += entry.notes
                told.artifacts = [one.path for one in entry.artifacts]
        return told


class Shelf:
    """Stored sessions, as keruta keeps them: an attempt gets the one that it resumes, and the keys of both."""

    def __init__(self) -> None:
        self.sealed: dict[str, bytes] = {}
        self.specifications: dict[tuple[str, int], Specification] = {}

    def specification(self, task: str, attempt: int) -> Specification:
        known = self.specifications[task, attempt]
        resumed = known.resumed_attempt
        keys = SnapshotKeys(
            own=derived_key(b"k", attempt_id(task, attempt)),
            resumed=derived_key(b"k", resumed) if resumed is not None else None,
        )
        return msgspec.structs.replace(known, snapshot_keys=keys)

    def document(self, task: str, attempt: int, name: str) -> bytes:
        raise NotImplementedError

    def store_snapshot(self, task: str, attempt: int, sealed: Path) -> None:
        self.sealed[attempt_id(task, attempt)] = sealed.read_bytes()

    def snapshot(self, task: str, attempt: int) -> bytes:
        resumed = self.specifications[task, attempt].resumed_attempt
        if resumed not in self.sealed:
            raise PhaseError("SessionMissing", message("session_missing"))
        return self.sealed[resumed]


class Attempt:
    """One attempt at work."""

    def __init__(self, ask: Ask, recording: Recording | None = None, shelf: Shelf | None = None) -> None:
        shelf = shelf or Shelf()
        self.recording = recording or Recording()
        root = Path(ask.state)
        settings = WorkerSettings(
            worker_dir=root / "worker",
            results_dir=root / "results",
            credentials_key=root / "keys" / "credentials.key",
            worker_token_file=root / "tokens" / "worker",
            private_paths=(str(root),),
            **{"clone_cache": False, "transports": frozenset({"file"}), "grace_seconds": 5.0, **ask.settings},  # type: ignore[arg-type]
        )
        self.jobs = ProcessJobs(settings, self.recording, shelf, self.recording.send)
        fields = {"script": "true", **ask.fields}
        if "command" in fields:
            del fields["script"]
        specification = msgspec.convert(
            {"task": new_id(), "attempt": 1, "repository": RepositoryRef(url=ask.repository), **fields}, Specification
        )
        self.specification = specification
        shelf.specifications[specification.task, specification.attempt] = specification
        assigned = Assigned(
            task=specification.task, attempt=specification.attempt, status="assigned", specification=specification
        )
        job = self.jobs.begin(assigned)
        assert isinstance(job, Job)
        self.job = job
        self.root = root / "worker" / "jobs" / job.attempt

    def ends(self) -> Told:
        assert self.job.ended.wait(SECONDS), f"it does not end; its log: {self.recording.log}"
        return self.recording.told()

    def says(self, text: str) -> None:
        """Returns when its log holds that text."""
        self.until(lambda: text in self.recording.log or self.job.ended.is_set())
        assert text in self.recording.log, self.recording.told()

    def until(self, reached: Callable[[], object]) -> None:
        until = time.monotonic() + SECONDS
        while not reached():
            assert time.monotonic() < until, self.recording.log
            time.sleep(0.01)


def run(ask: Ask) -> Told:
    """Run an attempt as this user."""
    with environment(ask.environ):
        return Attempt(ask).ends()


def run_as(user: int, ask: Ask) -> Told:
    """Run an attempt as another user of this machine."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.attempts"],
        input=msgspec.json.encode(ask),
        stdout=subprocess.PIPE,
        env={**os.environ, **ask.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=PROJECT,
        user=user,
        group=user,
        extra_groups=[],
        check=True,
        timeout=SECONDS + 30,
    )
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Told)


@contextlib.contextmanager
def environment(environ: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


if __name__ == "__main__":
    told = run(msgspec.json.decode(sys.stdin.buffer.read(), type=Ask))
    sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
