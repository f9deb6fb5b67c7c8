"""The agent beside a script in a Job Pod: a native sidecar that holds the attempt's token and the credentials.

The script's container shares one directory with it, `CONTROL`: see start.sh. Nothing of the script's is opened but for
what lies there, the workspace and what it leaves behind.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from agent.credentials import load as load_credentials
from agent.job import Job, World
from agent.jobdir import JobDir
from agent.reporter import HttpTransport, Reporter, SessionVoid
from agent.settings import WorkerSettings
from keruta.domain.naming import attempt_id, parse_attempt_id
from keruta.domain.reports import Held, ReportAnswer
from keruta.domain.task import Specification
from keruta.errors import SettingsError

log = logging.getLogger(__name__)

HERE_LOOK_SECONDS = 0.05
AGAIN_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class SidecarSettings:
    """What a Job Pod's agent needs beside `WorkerSettings`."""

    attempt: str = ""
    """The attempt that this Pod makes."""

    attempt_token_file: Path = Path("/token/token")
    """The attempt's own token, in a file that the script's container does not have."""

    pod_uid: str = ""
    """The Pod's UID: part of the execution's id."""

    job_dir: Path = Path("/job")
    """The directory that both containers mount."""


class ContainerScript:
    """The script in the container beside this one: told by files, seen by files."""

    def __init__(self, job: JobDir) -> None:
        self._job = job

    def start(self) -> None:
        (self._job.control / "go").touch()

    def take_up(self) -> bool:
        return True

    def wait(self, seconds: float) -> bool:
        if self._job.finished:
            return True
        time.sleep(seconds)
        return self._job.finished

    @property
    def died_by(self) -> int | None:
        return None  # the worker tells, from the Pod's status

    def stop(self) -> None:
        (self._job.control / "stop").touch()

    def kill(self) -> None:
        (self._job.control / "kill").touch()

    def sweep(self) -> int:
        return 0  # the container's end is its processes' end

    def reads_input(self) -> bool:
        return False  # another user's processes can't be looked into; scripts ask by $KERUTA_ASK

    def close(self) -> None:
        pass


class PodJobDir(JobDir):
    """A job's directory that the Pod has made: it is filled, never made anew or removed."""

    def prepare(self) -> None:
        for directory in (self.control, self.artifacts, self.workspace):
            directory.mkdir(parents=True, exist_ok=True)


def run(settings: WorkerSettings, own: SidecarSettings) -> int:
    """Makes the one attempt, and returns when all that it had to tell has been taken. Raises SettingsError."""
    try:
        task, number = parse_attempt_id(own.attempt)
    except ValueError as error:
        raise SettingsError("KERUTA_ATTEMPT names no attempt") from error
    transport = HttpTransport(settings.agent_url, own.attempt_token_file.read_text().strip())
    specification = _fetch(transport, task, number)
    if specification is None:
        log.warning("the attempt is not ours any more", extra={"action": "attempt_gone"})
        return 0
    directory = JobDir(root=own.job_dir)
    holder: list[Job] = []

    def answered(answer: ReportAnswer, held: Sequence[Held]) -> None:
        mine = next((one for one in answer.assigned if attempt_id(one.task, one.attempt) == own.attempt), None)
        if mine is None and held and not holder[0].ended.is_set():
            holder[0].abandon()
        elif mine is not None:
            if mine.stop:
                holder[0].stop()
            holder[0].give(mine.input)

    reporter = Reporter(
        transport,
        held=lambda: [job.held for job in holder if not job.ended.is_set()],
        anxious=lambda: any(job.anxious for job in holder),
        answered=answered,
    )

    def script(job: JobDir, env: Mapping[str, str]) -> ContainerScript:
        _write_environment(job, env)
        _await_here(job)
        return ContainerScript(job)

    world = World(
        settings=settings,
        reporting=reporter,
        credentials=load_credentials(settings.credentials_file),
        script=script,
        boot=own.pod_uid or "pod",
    )
    job = Job(world, directory, specification)
    holder.append(job)
    signal.signal(signal.SIGTERM, lambda *_: None if directory.finished else job.shut_down())
    thread = threading.Thread(target=_report, args=(reporter,), daemon=True)
    thread.start()
    job.run()
    reporter.end()
    thread.join(30)
    return 0


def _report(reporter: Reporter) -> None:
    try:
        reporter.run()
    except SessionVoid:
        log.warning("keruta does not know this attempt's token any more", extra={"action": "session_void"})
        os._exit(1)


def _fetch(transport: HttpTransport, task: str, number: int) -> Specification | None:
    """The attempt's specification; None when it is over. Asked for until keruta answers."""
    while True:
        try:
            response = transport.request("GET", f"/agent/v1/tasks/{task}/attempts/{number}", None)
            if response.status == 200:
                return msgspec.json.decode(response.data, type=Specification)
            if response.status in (401, 403, 404):
                return None
            log.warning("no specification yet: %d", response.status, extra={"action": "specification_failed"})
        except OSError as error:
            log.warning("no specification yet: %s", error, extra={"action": "specification_failed"})
        time.sleep(AGAIN_SECONDS)


def _write_environment(job: JobDir, env: Mapping[str, str]) -> None:
    """For start.sh, which reads it before anything else; the container's own environment knows none of this."""
    import shlex

    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in env.items() if name not in ("PATH", "HOME")]
    (job.control / "environment").write_text("".join(lines))


def _await_here(job: JobDir) -> None:
    """The script's container is up, so its image was pulled."""
    while not (job.control / "here").exists():
        time.sleep(HERE_LOOK_SECONDS)
