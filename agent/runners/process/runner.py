"""The `process` runner: attempts made in this process, their scripts as processes of this machine."""

from __future__ import annotations

import os
import pwd
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from agent.attempt.attempt import Job
from agent.attempt.context import Asking, Reporting, World
from agent.attempt.credentials import Opener
from agent.attempt.directory import JobDir, existing
from agent.attempt.result_stores import Requests
from agent.runners.process.fence import INSIDE, find_fence
from agent.runners.process.script import ProcessScript
from agent.settings import WorkerSettings
from keruta.domain.doctor import ISOLATION_FILE, Isolation
from keruta.domain.lifecycle import NOT_STARTED
from keruta.domain.messages import fields_of, message
from keruta.domain.naming import attempt_id, new_id
from keruta.domain.reports import AnyEntry, Assigned, Ended, Lost
from keruta.files import write_private

PASSED_ON = ("PATH", "LANG", "TZ")  # of this process, to scripts


class ProcessJobs:
    """Attempts by their directories, so that those of a worker before this one are taken up."""

    def __init__(
        self, settings: WorkerSettings, reporting: Reporting, asking: Asking, send: Callable[[AnyEntry], None],
        requests: Requests | None = None,
    ) -> None:  # fmt: skip
        fence, why = find_fence(settings)
        isolation: Literal["bubblewrap", "none"] = "none" if fence is None else "bubblewrap"
        _write_down(settings.worker_dir, Isolation(pid=os.getpid(), kind=isolation, why=why))
        passed_on = PASSED_ON if fence is not None else (*PASSED_ON, "TMPDIR")
        self._send = send
        self._directory = settings.worker_dir / "jobs"
        self._never_started: dict[str, str] = {}  # of a worker before this one: the execution, by attempt
        self._world = World(
            settings=settings,
            reporting=reporting,
            asking=asking,
            opener=Opener(settings.credentials_key, settings.secrets_dir),
            script=lambda job, env: ProcessScript(job, env, fence, closed=_is_closed(job)),
            boot=new_id(),
            inherited={**{name: os.environ[name] for name in passed_on if name in os.environ}, **_user()},
            script_root=None if fence is None else INSIDE,
            isolation=isolation,
            requests=requests,
        )

    def start(self) -> Iterator[Job]:
        """Jobs whose start is on record go on; of the others nothing is kept: they are assigned, and begin anew."""
        self._directory.mkdir(parents=True, exist_ok=True)
        for directory in existing(self._directory):
            attempt = directory.load()
            if attempt is None or not directory.started:
                if attempt is not None and (execution := directory.never_started) is not None:
                    of = attempt.specification
                    self._never_started[attempt_id(of.task, of.attempt)] = execution
                directory.remove()
            else:
                yield self._launched(Job(self._world, directory, attempt.specification))

    def begin(self, assigned: Assigned) -> Job | None:
        if assigned.specification is None:
            return None
        directory = JobDir.of(self._directory, assigned.specification)
        if assigned.status not in NOT_STARTED and not directory.started:
            self._send(self._end_of(assigned))
            return None
        job = Job(self._world, directory, assigned.specification)
        if assigned.stop:
            job.stop()
        job.give(assigned.input)
        return self._launched(job)

    def _end_of(self, assigned: Assigned) -> AnyEntry:
        """Return the end of an attempt whose start is on record and of which nothing is here.

        A worker before this one may have stopped between asking for the start and its answer: nothing ran then. Of any
        other it is not known how it ended.
        """
        execution = self._never_started.get(attempt_id(assigned.task, assigned.attempt))
        if execution is None or execution != assigned.execution:
            return Lost(task=assigned.task, attempt=assigned.attempt, execution=assigned.execution)
        return Ended(
            task=assigned.task, attempt=assigned.attempt, execution=execution, never_started=True, status="failed",
            reason="WorkerStopped", **fields_of(message("attempt_worker_stopped")),
        )  # fmt: skip

    def stop(self) -> None:
        """Do nothing: each job was stopped already."""

    @staticmethod
    def _launched(job: Job) -> Job:
        threading.Thread(target=job.run, name=job.attempt, daemon=True).start()
        return job


def _write_down(worker_dir: Path, isolation: Isolation) -> None:
    """Write the file that `keruta up` and `keruta doctor` read, whole or not at all."""
    worker_dir.mkdir(parents=True, exist_ok=True)
    write_private(worker_dir / ISOLATION_FILE, msgspec.json.encode(isolation))


def _user() -> dict[str, str]:
    """The variables by which programs know who runs them: scripts run as this process's user, whoever started it."""
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        name = os.environ.get("USER") or str(os.geteuid())
    return {"USER": name, "LOGNAME": name}


def _is_closed(job: JobDir) -> bool:
    """Return whether a script and its check have no network: those of a task that runs without secrets."""
    attempt = job.load()
    return attempt is not None and attempt.specification.without_secrets
