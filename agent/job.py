"""One attempt, from specification to end. The same function makes it in a worker's process and beside a Pod's script.

It talks to keruta through `Reporting` and to the script through `Script`; what must survive is in its `JobDir`.
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from agent import leavings
from agent.checkout import Cache, checkout
from agent.credentials import Credential, choose, environment
from agent.git import Git, Stopped
from agent.jobdir import AttemptFile, JobDir
from agent.masking import Masker
from agent.pushing import push_result
from agent.settings import WorkerSettings
from agent.streaming import Streamer
from keruta import logs
from keruta.domain.naming import attempt_id
from keruta.domain.reports import (
    AnyEntry,
    Ended,
    Held,
    Input,
    LogChunk,
    Lost,
    Outcome,
    Preparing,
    Resumed,
    Running,
    Waiting,
)
from keruta.domain.task import Artifact, Specification
from keruta.errors import PhaseError

log = logging.getLogger(__name__)

LOOK_FIRST_SECONDS = 0.002
LOOK_MOST_SECONDS = 0.05
ASK_AFTER_SECONDS = 0.5
PATH_DEFAULT = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PASSED_ON = ("PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR")


class Reporting(Protocol):
    """Where a job's entries go; they arrive in order, and each is kept until keruta has answered it."""

    def send(self, entry: AnyEntry, *, urgent: bool = False) -> None: ...

    def ask(self, entry: AnyEntry, stop: threading.Event) -> Outcome | None:
        """Sends at once and waits for the outcome; None when told to stop first."""
        ...

    @property
    def backed_up(self) -> bool:
        """Whether so much waits to be sent that a log should wait in its file."""
        ...


class Script(Protocol):
    """The script, wherever it runs."""

    def await_ready(self, stop: threading.Event) -> None:
        """The script could start now; returns early when told to stop."""
        ...

    def start(self) -> None: ...
    def take_up(self) -> bool: ...
    def wait(self, seconds: float) -> bool: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def sweep(self) -> int: ...
    def reads_input(self) -> bool: ...
    def close(self) -> None: ...

    @property
    def died_by(self) -> int | None: ...

    @property
    def told_elsewhere(self) -> bool:
        """Whether, when it left no exit code, somebody else knows how it ended and will tell."""
        ...


@dataclass(frozen=True, kw_only=True)
class World:
    """What a job needs from outside.

    Args:
        script: makes the script of a job from its directory and environment.
        boot: this agent's process; part of an execution's id.
        disk_free: says whether the disk has room left.
    """

    settings: WorkerSettings
    reporting: Reporting
    credentials: Sequence[Credential]
    script: Callable[[JobDir, Mapping[str, str]], Script]
    boot: str


class Job:
    """One attempt. `run` makes it; the other methods are called meanwhile, from the reporting thread."""

    def __init__(self, world: World, directory: JobDir, specification: Specification) -> None:
        self._world = world
        self._dir = directory
        self._spec = specification
        self.attempt = attempt_id(specification.task, specification.attempt)
        self._stop = threading.Event()
        self._cause = ""  # why it is to stop: "" for a person's wish
        self._gone = False  # no longer ours: nothing is to be reported
        self.ended = threading.Event()
        self._execution: str | None = None
        self._inputs: list[Input] = []
        self._passed = 0
        self._waits = False
        self._lock = threading.Lock()
        self._streamer: Streamer | None = None
        read = choose(list(world.credentials), specification.repository.url, "read")
        push = choose(list(world.credentials), specification.repository.url, "push") or read
        self._read, self._push = read, push
        self._masker = Masker(secret for one in (read, push) if one for secret in one.secrets)

    # ------------------------------------------------------------ called from outside

    @property
    def held(self) -> Held:
        """What a report says of this job."""
        return Held(
            task=self._spec.task, attempt=self._spec.attempt, execution=self._execution, input_acknowledged=self._passed
        )

    @property
    def anxious(self) -> bool:
        """Whether word from keruta is wanted soon: it waits for input, or has been asked to stop."""
        return self._waits or self._stop.is_set()

    def stop(self) -> None:
        """A person has cancelled it."""
        self._stop.set()

    def shut_down(self) -> None:
        """The worker ends, and the script with it."""
        self._end_for("WorkerStopped")

    def abandon(self) -> None:
        """The attempt is no longer this worker's: it ends, and says nothing."""
        self._gone = True
        self._stop.set()

    def give(self, inputs: Sequence[Input]) -> None:
        """Texts for the script; numbers that are known are repeats."""
        with self._lock:
            known = {one.number for one in self._inputs}
            self._inputs += [one for one in inputs if one.number > self._passed and one.number not in known]

    # ------------------------------------------------------------ the attempt

    def run(self) -> None:
        """Makes the attempt, or takes up the one that is on record, and reports its end. Never raises."""
        with logs.bind(task=self._spec.task, attempt=self._spec.attempt):
            try:
                on_record = self._dir.load() if self._dir.started else None
                ended = self._take_up(on_record) if on_record is not None else self._make()
            except Stopped:
                ended = self._stopped_before_start()
            except PhaseError as error:
                ended = self._failed(error.reason, error.message)
            except Exception as error:
                log.exception("job failed", extra={"action": "job_failed"})
                full = isinstance(error, OSError) and error.errno == 28
                reason = "InternalError" if not full else "SpoolFull" if self._execution else "WorkspaceFailed"
                ended = self._failed(reason, f"The worker could not go on: {type(error).__name__}: {error}")
            self._deliver(ended)

    def _make(self) -> AnyEntry | None:
        spec, world = self._spec, self._world
        world.reporting.send(Preparing(task=spec.task, attempt=spec.attempt))
        attempt = AttemptFile(specification=spec, deadline_at=time.time() + spec.timeout_seconds)
        self._dir.make(attempt)
        streamer = self._open_log()
        ref = spec.repository.ref or "its default branch"
        streamer.say(f"[keruta] attempt {spec.attempt}: checking out {spec.repository.url} at {ref}")
        commit = self._checkout(attempt.deadline_at)
        streamer.say(f"[keruta] at commit {commit}")
        self._dir.save(msgspec.structs.replace(attempt, commit=commit))
        self._write_scripts()
        execution = self._dir.execution(world.boot)
        script = world.script(self._dir, self._environment(commit))
        script.await_ready(self._stop)
        entry = Running(task=spec.task, attempt=spec.attempt, execution=execution, commit=commit)
        outcome = world.reporting.ask(entry, self._stop)
        if outcome is None:
            raise Stopped
        if not outcome.accepted:
            if outcome.reason == "Cancelled":
                raise Stopped
            log.warning("start refused: %s", outcome.reason, extra={"action": "start_refused"})
            return None
        self._execution = execution
        try:
            script.start()
            return self._follow(script, attempt.deadline_at, commit)
        except BaseException:
            script.kill()  # nobody would follow it
            raise
        finally:
            script.close()

    def _take_up(self, attempt: AttemptFile) -> AnyEntry | None:
        """The start is on record: nothing is started again, whatever is found."""
        self._execution = self._dir.execution(self._world.boot)
        if cause := self._dir.cause:
            self._cause = cause
            self._stop.set()
        script = self._world.script(self._dir, self._environment(attempt.commit or ""))
        self._open_log()
        try:
            if not script.take_up() and not self._dir.finished:
                script.sweep()
                if self._streamer:
                    self._streamer.finish()
                return Lost(task=self._spec.task, attempt=self._spec.attempt, execution=self._execution)
            log.info("taken up", extra={"action": "job_taken_up"})
            return self._follow(script, attempt.deadline_at, attempt.commit)
        except BaseException:
            script.kill()
            raise
        finally:
            script.close()

    def _checkout(self, deadline_at: float) -> str:
        spec, settings = self._spec, self._world.settings
        cache = None
        if settings.clone_cache and not spec.repository.submodules:
            cache = Cache(root=settings.worker_dir / "cache").mirror(spec.repository.url, self._read)
        with self._git_environment(self._read) as env:
            return checkout(
                spec.repository,
                self._dir.workspace,
                lambda directory: Git(directory, env, self._stop, _monotonic(deadline_at)),
                transports=settings.transports,
                cache=cache,
            )

    def _git_environment(self, credential: Credential | None) -> AbstractContextManager[dict[str, str]]:
        settings = self._world.settings
        return environment(
            credential,
            self._dir.private,
            url=self._spec.repository.url,
            transports=settings.transports,
            own=settings.own_git,
        )

    def _write_scripts(self) -> None:
        spec = self._spec
        if spec.command is not None:
            text = f"exec {shlex.join(spec.command)}\n"
        elif spec.prompt is not None:
            text = f"{self._world.settings.prompt_command}\n"
        else:
            text = spec.script or ""
        self._write_script("script", text)
        if spec.check is not None:
            self._write_script("check", spec.check)

    def _write_script(self, name: str, text: str) -> None:
        """What names its interpreter is called by it; everything else is for the shell."""
        if text.startswith("#!"):
            program = self._dir.control / f"{name}.program"
            program.write_text(text)
            program.chmod(0o700)
            text = f"exec {shlex.quote(str(program))}\n"
        (self._dir.control / name).write_text(text)

    def _environment(self, commit: str) -> dict[str, str]:
        spec = self._spec
        env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        env.setdefault("PATH", PATH_DEFAULT)
        env |= spec.env
        if spec.prompt is not None:
            env["KERUTA_PROMPT"] = spec.prompt
        return env | {
            "CI": "true",
            "KERUTA_TASK": spec.task,
            "KERUTA_ATTEMPT": str(spec.attempt),
            "KERUTA_COMMIT": commit,
            "KERUTA_WORKSPACE": str(self._dir.workspace),
            "KERUTA_ARTIFACTS": str(self._dir.artifacts),
            "KERUTA_OUTPUTS": str(self._dir.outputs),
            "KERUTA_ASK": str(self._dir.control / "ask"),
            "KERUTA_EXECUTION": self._execution or self._dir.execution(self._world.boot),
        }

    def _open_log(self) -> Streamer:
        spec = self._spec
        self._streamer = Streamer(
            spec.task,
            spec.attempt,
            self._dir.output,
            self._dir.root / "chunks",
            masker=self._masker,
            send=self._send_chunk,
            limit_bytes=spec.log_limit_bytes,
        )
        return self._streamer

    def _send_chunk(self, chunk: LogChunk) -> None:
        if not self._gone:
            self._world.reporting.send(chunk, urgent=self._execution is not None and not self._dir.finished)

    # ------------------------------------------------------------ while the script runs

    def _follow(self, script: Script, deadline_at: float, commit: str | None) -> AnyEntry | None:
        streamer = self._streamer
        assert streamer is not None
        pause, told_at, moved_at = LOOK_FIRST_SECONDS, 0.0, time.monotonic()
        looked_at = 0.0
        while not script.wait(pause):
            if not self._world.reporting.backed_up and streamer.pump():
                pause, moved_at = LOOK_FIRST_SECONDS, time.monotonic()
            else:
                pause = min(pause * 1.5, LOOK_MOST_SECONDS)
            now = time.monotonic()
            if not told_at:
                self._check_limits(streamer, deadline_at)
                if self._stop.is_set():
                    script.stop()
                    told_at = now
            elif now - told_at > self._world.settings.grace_seconds:
                script.kill()
            if self._pass_input(streamer):
                moved_at = now
            if now - looked_at > ASK_AFTER_SECONDS:
                looked_at = now
                self._watch_input(script, quiet=now - moved_at > ASK_AFTER_SECONDS)
        if killed := script.sweep():
            log.info("killed %d processes left behind", killed, extra={"action": "strays_killed", "count": killed})
        self._set_waiting(script, waits=False)
        return self._conclude(script, commit)

    def _check_limits(self, streamer: Streamer, deadline_at: float) -> None:
        if self._stop.is_set():
            return
        if time.time() > deadline_at:
            self._end_for("DeadlineExceeded")
        elif streamer.size > self._world.settings.output_limit_bytes:
            self._end_for("OutputTooLarge")
        elif _disk_full(self._dir.output):
            self._end_for("SpoolFull")

    def _end_for(self, cause: str) -> None:
        """The script is to end, and not by a person's wish; a worker that takes the job up knows why, too."""
        if not self._stop.is_set():
            self._cause = cause
            self._dir.note_cause(cause)
            self._stop.set()

    def _pass_input(self, streamer: Streamer) -> bool:
        """Gives the script what people sent, in order; returns whether there was anything."""
        with self._lock:
            waiting = sorted((one for one in self._inputs if one.number > self._passed), key=lambda one: one.number)
            self._inputs = []
        if not waiting:
            return False
        pipe = os.open(self._dir.control / "stdin", os.O_RDWR | os.O_NONBLOCK)
        try:
            for one in waiting:
                text = one.text if one.text.endswith("\n") else f"{one.text}\n"
                try:
                    os.write(pipe, text.encode())  # up to a pipe's 64 KiB, whole or not at all
                except BlockingIOError:
                    with self._lock:
                        self._inputs += [left for left in waiting if left.number >= one.number]
                    break
                self._passed = one.number
        finally:
            os.close(pipe)
        return True

    def _watch_input(self, script: Script, *, quiet: bool) -> None:
        asks = (self._dir.control / "ask").exists()
        reads = quiet and script.reads_input()
        if self._waits and not asks and not script.reads_input():
            self._set_waiting(script, waits=False)
        elif not self._waits and (asks or reads):
            self._set_waiting(script, waits=True)

    def _set_waiting(self, script: Script, *, waits: bool) -> None:
        if waits is self._waits or self._execution is None:
            return
        self._waits = waits
        spec = self._spec
        if waits:
            entry: AnyEntry = Waiting(
                task=spec.task, attempt=spec.attempt, execution=self._execution, question=self._question()
            )
        else:
            entry = Resumed(task=spec.task, attempt=spec.attempt, execution=self._execution)
        self._world.reporting.send(entry, urgent=True)

    def _question(self) -> str:
        """What the script wrote to $KERUTA_ASK, or else the last line of its log."""
        try:
            descriptor = os.open(self._dir.control / "ask", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            descriptor = os.open(self._dir.output, os.O_RDONLY)
        with os.fdopen(descriptor, "rb") as file:
            file.seek(max(0, file.seek(0, 2) - 4096))
            said = self._masker.text(file.read(4096).decode("utf-8", "replace")).strip()
        return (said.splitlines() or [""])[-1][:1000]

    # ------------------------------------------------------------ the end

    def _conclude(self, script: Script, commit: str | None) -> AnyEntry | None:
        """The script has ended: how, what it left, and whether that could be kept."""
        streamer = self._streamer
        assert streamer is not None
        status, reason, message, code = self._verdict(script)
        streamer.pump(all_=True)
        if code is None and script.told_elsewhere:
            return None
        outputs: dict[str, str] = {}
        artifacts: list[Artifact] = []
        result: tuple[str | None, str | None] = (None, None)
        if not self._gone:
            outputs, wrong = leavings.read_outputs(self._dir.outputs, self._masker)
            for sentence in wrong:
                streamer.say(f"[keruta] {sentence}")
            try:
                if status == "succeeded" and self._spec.result_branch and commit:
                    result = self._push_result(streamer, commit)
            except PhaseError as error:
                status, reason, message = "failed", error.reason, error.message
            except Stopped:
                status, reason, message = "cancelled", "Cancelled", "Cancelled while its branch was pushed."
            try:
                artifacts = self._keep(streamer)
            except OSError as error:
                if status == "succeeded":
                    status, reason = "failed", "ArtifactsFailed"
                    message = f"What the script left behind could not be stored: {error.strerror}."
        death = code - 128 if code is not None and 128 < code < 128 + signal.NSIG else None
        return Ended(
            task=self._spec.task,
            attempt=self._spec.attempt,
            execution=self._execution,
            status=status,  # type: ignore[arg-type]
            reason=reason,
            message=self._masker.text(message) if message else None,
            exit_code=code,
            signal=death,
            commit=commit,
            result_branch=result[0],
            result_commit=result[1],
            outputs=outputs,
            artifacts=artifacts,
        )

    def _verdict(self, script: Script) -> tuple[str, str | None, str | None, int | None]:
        """Status, reason, sentence and exit code."""
        codes = self._dir.exit_codes()
        code, checked = codes.get("script"), codes.get("check")
        died = script.died_by
        if code is None and died is not None:
            code = 128 + died
        if code == 0 and self._dir.finished and checked in (None, 0):
            return "succeeded", None, None, 0  # a true end that came first wins
        if self._stop.is_set():
            if not self._cause:
                return "cancelled", "Cancelled", "Cancelled while the script ran.", checked or code
            return "failed", self._cause, self._limit_message(), checked or code
        if code == 0:
            how = _how(checked) if checked is not None else "was killed"
            return "failed", "CheckFailed", f"The script ended well; the check that follows it {how}.", checked
        if code is None:
            return "failed", "ScriptFailed", "The script was killed, and what ran it with it.", None
        if codes.get("oom"):
            return (
                "failed",
                "OutOfMemory",
                "The script used more memory than its limit; give it more, or use less.",
                code,
            )
        if code in (126, 127) and self._spec.command is not None:
            return "failed", "CommandNotFound", f"The command {self._spec.command[0]!r} can't be run here.", code
        return "failed", "ScriptFailed", f"The script {_how(code)}.", code

    def _limit_message(self) -> str:
        settings = self._world.settings
        return {
            "DeadlineExceeded": f"It took longer than its timeout_seconds, {self._spec.timeout_seconds}.",
            "OutputTooLarge": f"It wrote more than {settings.output_limit_bytes} bytes of output.",
            "WorkerStopped": "The worker was shut down while it ran; retry it.",
            "SpoolFull": "The worker's disk is full, so its log could not be kept; make room and retry it.",
        }[self._cause]

    def _push_result(self, streamer: Streamer, commit: str) -> tuple[str, str]:
        branch = self._spec.result_branch
        assert branch is not None
        deadline = time.monotonic() + 300
        stop = threading.Event()  # the script is done: what it made is pushed even if a cancel comes now
        with self._git_environment(self._push) as env:
            pushed = push_result(
                self._dir.workspace,
                self._dir.root / "push.git",
                url=self._spec.repository.url,
                base=commit,
                branch=branch,
                message=f"{self._spec.task}: result",
                git_in=lambda directory: Git(directory, env, stop, deadline),
            )
        streamer.say(f"[keruta] pushed {pushed} to {branch}")
        return branch, pushed

    def _keep(self, streamer: Streamer) -> list[Artifact]:
        target = self._world.settings.results_dir / self._spec.task / str(self._spec.attempt)
        leavings.forget(target)
        artifacts, left = leavings.keep_artifacts(self._dir.artifacts, target)
        for sentence in left:
            streamer.say(f"[keruta] artifact not kept: {sentence}")
        return [*artifacts, leavings.keep_log(self._dir.output, target, self._masker)]

    def _failed(self, reason: str, message: str) -> AnyEntry:
        if self._streamer is not None:
            try:
                self._streamer.say(f"[keruta] {reason}: {message}")
            except OSError:
                pass  # the disk is full; the message says so
        return Ended(
            task=self._spec.task,
            attempt=self._spec.attempt,
            execution=self._execution,
            status="failed",
            reason=reason,
            message=self._masker.text(message)[:4000],
        )

    def _stopped_before_start(self) -> AnyEntry | None:
        started_at = self._dir.load()
        if self._cause == "WorkerStopped":
            return self._failed(self._cause, "The worker was shut down before the script had started.")
        late = started_at is not None and time.time() > started_at.deadline_at
        if late and not self._stop.is_set():
            seconds = self._spec.timeout_seconds
            return self._failed("DeadlineExceeded", f"The checkout took longer than timeout_seconds, {seconds}.")
        return Ended(
            task=self._spec.task,
            attempt=self._spec.attempt,
            status="cancelled",
            reason="Cancelled",
            message="Cancelled before the script had started.",
        )

    def _deliver(self, ended: AnyEntry | None) -> None:
        """The end is with keruta, and then the directory goes.

        Sent until keruta answers, however long that is; if this worker ends before, the next one takes it up.
        """
        answered = ended is None or self._gone
        try:
            if self._streamer is not None and not self._gone:
                self._streamer.finish()
            if ended is not None and not self._gone:
                outcome = self._world.reporting.ask(ended, threading.Event())
                answered = outcome is not None
                told = {"action": "job_ended", "outcome": getattr(ended, "status", "lost")}
                log.info("ended: %s", outcome and (outcome.reason or "accepted"), extra=told)
        finally:
            self.ended.set()
            if self._streamer is not None:
                self._streamer.close()
            if answered:
                self._dir.remove()


def _how(code: int) -> str:
    if 128 < code < 128 + signal.NSIG:
        try:
            return f"was ended by {signal.Signals(code - 128).name}, or ended with exit code {code}"
        except ValueError:
            pass
    return f"ended with exit code {code}"


def _monotonic(at: float) -> float:
    return time.monotonic() + at - time.time()


def _disk_full(path: Path) -> bool:
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize < 64 * 1024
