"""The agent beside a script in a Job Pod: a native sidecar that holds the attempt's token and the credentials.

The script's container shares one directory with it, `CONTROL`: see start.sh. Nothing of the script's is opened but for
what lies there, the workspace and what it leaves behind.
"""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from agent.api_client import HttpAsking
from agent.attempt.attempt import Job
from agent.attempt.context import World
from agent.attempt.credentials import Opener
from agent.attempt.directory import JobDir
from agent.reporter import HttpTransport, Reporter, SessionVoid
from agent.runners.kubernetes.manifests import ACCOUNT_FILES
from agent.runners.process.script import START
from agent.settings import WorkerSettings
from keruta import structs
from keruta.domain.naming import attempt_id, parse_attempt_id
from keruta.domain.reports import Held, ReportAnswer
from keruta.domain.specification import Specification
from keruta.errors import SettingsError

log = logging.getLogger(__name__)

HERE_LOOK_SECONDS = 0.05
FREEZE_SECONDS = 0.5  # start.sh looks ten times a second
ASK_FIRST_SECONDS, ASK_MOST_SECONDS = 0.3, 5.0
AGAIN_SECONDS = 1.0
LEAVE_SECONDS = 3600.0  # as long as an agent that is done waits for its Pod's end at most


class SidecarSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a Job Pod's agent beside `WorkerSettings`."""

    attempt: str = ""
    """The attempt that this Pod makes."""

    attempt_token_file: Path = Path("/token/token")
    """The attempt's own token, in a file that the script's container does not have."""

    pod_uid: str = ""
    """The Pod's UID: part of the execution's id."""

    script_image: str = ""
    """The image that the script's container is made from."""

    job_dir: Path = Path("/job")
    """The directory that both containers mount."""

    agent_dir: Path = Path("/agent")
    """The agent's own directory: what is on record, and credentials while Git runs."""


class ContainerScript:
    """The script in the container beside this one: told by files, seen by files.

    Args:
        over: set when the Pod ends; the script's container has ended then, or is about to.
        last_words_seconds: how long after that the script may still say how it ended.
        ask: asks keruta for news now: that the script's container has ended is the worker's to see.
    """

    def __init__(
        self, job: JobDir, env: Mapping[str, str], over: threading.Event, last_words_seconds: float,
        ask: Callable[[], None],
    ) -> None:  # fmt: skip
        self._job = job
        self._env = env
        self._over = over
        self._last_words_seconds = last_words_seconds
        self._over_at: float | None = None
        self._ask = ask
        self._ask_at, self._ask_pause = 0.0, ASK_FIRST_SECONDS

    def await_ready(self, stop: threading.Event) -> None:
        """The script's container is up, so its image was pulled."""
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in self._env.items()]
        (self._job.given / "environment").write_text("".join(lines))
        while not self._job.container_is_up and not stop.wait(HERE_LOOK_SECONDS):
            pass

    def start(self) -> None:
        self._job.let_start()

    def take_up(self) -> bool:
        self._job.let_check()
        return True

    def wait(self, seconds: float) -> bool:
        if not self._job.finished:
            time.sleep(seconds)
        if self._over.is_set() and self._over_at is None:
            self._over_at = time.monotonic()
        gone = self._over_at is not None and time.monotonic() - self._over_at > self._last_words_seconds
        return self._job.finished or gone or self._never_checked

    @property
    def _never_checked(self) -> bool:
        """Return whether the script has ended and is to stop before its check was allowed to begin."""
        if not self._job.awaits_check:
            return False
        now = time.monotonic()
        if now >= self._ask_at:
            self._ask()
            self._ask_at, self._ask_pause = now + self._ask_pause, min(self._ask_pause * 1.5, ASK_MOST_SECONDS)
        return (self._job.given / "stop").exists()

    @property
    def died_by(self) -> int | None:
        return None

    @property
    def told_elsewhere(self) -> bool:
        """The worker tells, from the Pod's status, where no exit code is there or the script was ended with its Pod."""
        if self._job.terminated:
            return True
        return not (self._job.finished and self._job.recorded) and not self._never_checked

    def stop(self) -> None:
        (self._job.given / "stop").touch()

    def kill(self) -> None:
        (self._job.given / "kill").touch()

    def freeze(self) -> None:
        (self._job.given / "freeze").touch()
        time.sleep(FREEZE_SECONDS)

    def thaw(self) -> None:
        (self._job.given / "freeze").unlink(missing_ok=True)

    def sweep(self) -> int:
        return 0  # the container's end is its processes' end

    def reads_input(self) -> bool:
        return False  # another user's processes can't be looked into; scripts ask by $KERUTA_ASK

    def close(self) -> None:
        pass


def run(settings: WorkerSettings, own: SidecarSettings, over: threading.Event) -> int:
    """Makes the one attempt, and returns when all that it had to tell has been taken. Raises SettingsError.

    Args:
        over: set by the Pod's end.
    """
    try:
        task, number = parse_attempt_id(own.attempt)
    except ValueError as error:
        raise SettingsError("KERUTA_ATTEMPT names no attempt") from error
    transport = HttpTransport(settings.agent_url, own.attempt_token_file.read_text().strip())
    os.umask(0o007)  # results are for admin, which is of the same group
    directory = JobDir(root=own.agent_dir, shared=own.job_dir)
    directory.make_shared()
    for name, text in ACCOUNT_FILES.items():
        (directory.given / name).write_text(text)
    shutil.copy(START, directory.given / "start.sh")  # from here on the script's container may start
    specification = _on_record(directory) or _fetch(transport, task, number, over)
    if specification is None:
        log.warning("the attempt is not ours any more", extra={"action": "attempt_gone"})
        _leave(directory, over)
        return 0
    holder: list[Job] = []

    def answered(answer: ReportAnswer, held: Sequence[Held]) -> None:
        mine = next((one for one in answer.assigned if attempt_id(one.task, one.attempt) == own.attempt), None)
        if mine is None and held and not holder[0].ended.is_set():
            holder[0].abandon()
        elif mine is not None:
            if mine.script_exit_code is not None:
                directory.note_script_end(mine.script_exit_code)
            if mine.stop:
                holder[0].stop()
            holder[0].give(mine.input)

    reporter = Reporter(
        transport,
        held=lambda: [job.held for job in holder if not job.ended.is_set()],
        anxious=lambda: any(job.anxious for job in holder),
        answered=answered,
    )

    world = World(
        settings=settings,
        reporting=reporter,
        asking=HttpAsking(transport),
        opener=Opener(settings.credentials_key, settings.secrets_dir),
        script=lambda job, env: ContainerScript(job, env, over, settings.grace_seconds, reporter.nudge),
        boot=own.pod_uid or "pod",
        isolation="pod",
        in_pod=True,
        image=own.script_image or specification.placement.image or "",
        requests=transport.to(settings.results_url),
    )
    job = Job(world, directory, specification)
    holder.append(job)
    thread = threading.Thread(target=_report, args=(reporter,), daemon=True)
    thread.start()
    job.run()
    reporter.end()
    thread.join(30)
    _leave(directory, over)
    return 0


def _leave(directory: JobDir, over: threading.Event) -> None:
    """End the Pod: a script's container that still waits for its start ends, and the cluster then ends this one.

    A sidecar that ended by itself would be started again.
    """
    (directory.given / "stop").touch()
    over.wait(LEAVE_SECONDS)


def _report(reporter: Reporter) -> None:
    try:
        reporter.run()
    except SessionVoid:
        log.warning("keruta does not know this attempt's token any more", extra={"action": "session_void"})
        os._exit(1)


def _on_record(directory: JobDir) -> Specification | None:
    """Return the specification of an attempt that an agent before this one has started: it is taken up as it is."""
    attempt = directory.load() if directory.started else None
    return attempt.specification if attempt is not None else None


def _fetch(transport: HttpTransport, task: str, number: int, over: threading.Event) -> Specification | None:
    """Return the attempt's specification; None when it, or the Pod, is over. Asked for until keruta answers."""
    while not over.is_set():
        try:
            response = transport.request("GET", f"/agent/v1/tasks/{task}/attempts/{number}", None)
            if response.status == 200:
                return structs.from_json(response.data, type=Specification)
            if response.status in (401, 403, 404):
                return None
            log.warning("no specification yet: %d", response.status, extra={"action": "specification_failed"})
        except OSError as error:
            log.warning("no specification yet: %s", error, extra={"action": "specification_failed"})
        over.wait(AGAIN_SECONDS)
    return None
