"""One attempt, from specification to end. The same function makes it in a worker's process and beside a Pod's script.

It talks to keruta and to the script through `agent.attempt.context.World`; what must survive is in its `JobDir`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from agent.attempt import script_environment
from agent.attempt.coding_agent import CodingAgent
from agent.attempt.collector import Collector
from agent.attempt.context import Script, World
from agent.attempt.conversation import Conversation
from agent.attempt.deadline import Deadline
from agent.attempt.dependency_caches import DependencyCaches
from agent.attempt.directory import AttemptFile, JobDir
from agent.attempt.fetch_proxy import FetchProxy, offered
from agent.attempt.fetch_proxy import Place as FetchPlace
from agent.attempt.fetch_rules import Rules
from agent.attempt.limits import Limits
from agent.attempt.repository import AttemptRepository
from agent.attempt.stored_session import StoredSession
from agent.attempt.suspension import Suspension
from agent.attempt.verdict import Verdict, how, judge
from agent.coding_agents.endings import Ending
from agent.coding_agents.transcript import Transcript
from agent.log.chunks import Streamer
from agent.log.masking import Masker
from keruta import logs
from keruta.adapters.git.command import Interrupted, Stopped
from keruta.domain.messages import Message, changed, fields_of, message
from keruta.domain.naming import attempt_id
from keruta.domain.reports import (
    KEPT_WORK,
    AnyEntry,
    Assigned,
    Ended,
    Held,
    Input,
    Left,
    LogChunk,
    Lost,
    Preparing,
    Pushing,
    Resumed,
    Running,
    Waiting,
)
from keruta.domain.specification import Granted, Specification
from keruta.errors import PhaseError

log = logging.getLogger(__name__)

LOOK_FIRST_SECONDS = 0.002
LOOK_MOST_SECONDS = 0.05
ASK_AFTER_SECONDS = 0.5
ANNOUNCE_SECONDS = 20.0  # as long as a push waits for its being on record


class Job:
    """One attempt. `run` makes it; the other methods are called meanwhile, from the reporting thread."""

    def __init__(self, world: World, directory: JobDir, specification: Specification) -> None:
        self._world = world
        self._dir = directory
        self._spec = specification
        self.attempt = attempt_id(specification.task, specification.attempt)
        self._stop = threading.Event()
        self._late = threading.Event()  # set by a cancel, when the grace is over
        self._grace: threading.Timer | None = None
        self._cause = ""  # why it is to stop: "" for a person's wish
        self._gone = False  # no longer ours: nothing is to be reported
        self.ended = threading.Event()
        self._execution: str | None = None
        self._asked: str | None = None  # the execution whose start keruta was asked for, whatever it answered
        self._streamer: Streamer | None = None
        self._masker = Masker(())
        self._secrets: dict[str, str] = {}
        self._fetch_proxy: FetchProxy | None = None
        self._conversation = Conversation(directory, self._masker, self._tell_waiting)
        self._progress: deque[str] = deque()  # what a coding agent says, by another thread
        self._agent: CodingAgent | None = None
        if specification.coding_agent is not None and specification.prompt is not None:
            self._agent = CodingAgent(
                world, directory, specification, specification.coding_agent, conversation=self._conversation,
                said=self._progress.append, stop=self._stopped_by_model,
            )  # fmt: skip
        self._model_ending: Ending | None = None
        self._transcript: Transcript | None = None
        self._limits = Limits(world.settings, directory, specification)
        self._repository = AttemptRepository(world, directory, specification, self._masker)
        self._caches = DependencyCaches(
            world, directory, specification, self._repository, world.dependencies(directory, specification), self._say
        )
        self._session = StoredSession(world, directory, specification, self._repository)
        self._suspension: Suspension | None = None
        if self._agent is not None:
            self._suspension = Suspension(
                self._agent, self._session, specification, self._conversation, reporting=world.reporting,
                execution=lambda: directory.execution(world.boot), collector=self._collector, say=self._say,
            )  # fmt: skip

    # ------------------------------------------------------------ called from outside

    @property
    def held(self) -> Held:
        """Return this attempt's identity and state for a report."""
        return Held(
            task=self._spec.task,
            attempt=self._spec.attempt,
            execution=self._execution,
            input_acknowledged=self._conversation.passed,
        )

    @property
    def anxious(self) -> bool:
        """Return whether an answer from keruta is wanted soon: the attempt waits for input, or is to stop."""
        return self._conversation.waits or self._stop.is_set()

    def stop(self) -> None:
        """A person has cancelled it. Called again with each answer of keruta's."""
        if self._grace is None:
            self._grace = threading.Timer(self._world.settings.grace_seconds, self._late.set)
            self._grace.daemon = True
            self._grace.start()
        self._stop.set()

    def shut_down(self) -> None:
        """The worker ends, and the script with it."""
        self._end_for("WorkerStopped")

    def abandon(self) -> None:
        """The attempt is no longer this worker's: it ends, and says nothing."""
        self._gone = True
        self._stop.set()
        self._late.set()

    def told(self, assigned: Assigned) -> None:
        """Ignore the assignment: keruta's record of this attempt comes from this attempt's own reports."""

    def give(self, inputs: Sequence[Input]) -> None:
        """Texts for the script."""
        self._conversation.give(inputs)

    # ------------------------------------------------------------ the attempt

    def run(self) -> None:
        """Makes the attempt, or takes up the one that is on record, and reports its end. Never raises."""
        with logs.bind(task=self._spec.task, attempt=self._spec.attempt):
            try:
                on_record = self._dir.load() if self._dir.started else None
                ended = self._take_up(on_record) if on_record is not None else self._make()
            except Interrupted:
                ended = self._stopped_before_start()
            except PhaseError as error:
                ended = self._failed(error.reason, error.message)
            except Exception as error:
                log.exception("job failed", extra={"action": "job_failed"})
                full = isinstance(error, OSError) and error.errno == 28
                reason = "InternalError" if not full else "SpoolFull" if self._execution else "WorkspaceFailed"
                ended = self._failed(
                    reason, message("attempt_worker_failed", kind=type(error).__name__, error=str(error))
                )
            finally:
                if self._fetch_proxy is not None:
                    self._fetch_proxy.close()
                if self._agent is not None:
                    self._agent.close()
            self._deliver(ended)

    def _make(self) -> AnyEntry | None:
        world = self._world
        world.reporting.send(Preparing(task=self._spec.task, attempt=self._spec.attempt))
        attempt = AttemptFile(specification=self._spec, deadline_at=time.time() + self._spec.timeout_seconds)
        self._dir.make(attempt)
        streamer = self._open_log()
        if self._spec.fault is not None:
            raise PhaseError(self._spec.fault.reason, self._spec.fault.said)
        if self._spec.without_secrets and world.isolation == "none":
            raise PhaseError("WorkspaceFailed", message("without_secrets_fence"))
        self._open_secrets()
        commit = self._check_out(streamer, attempt.deadline_at)
        notes = script_environment.notes(world, self._spec)
        for note in notes:
            streamer.say(f"[keruta] {note}")
        self._dir.save(msgspec.structs.replace(attempt, commit=commit))
        self._fetch_session(commit, attempt.deadline_at)
        if self._spec.wanted_result is not None and self._spec.kept_work is None:
            self._repository.remember_index()
        script_environment.write_documents(world, self._dir, self._spec)
        script_environment.write_scripts(world, self._dir, self._spec, self._prepare_agent())
        script_environment.furnish_home(self._dir, self._spec)
        if self._agent is not None:
            self._agent.furnish()
            if self._agent.resumes:
                self._session.put_files(self._agent.adapter, 0o770 if world.in_pod else 0o700)
        self._caches.restore(commit, self._stop, attempt.deadline_at)
        if (proxy := self._offer_fetches(commit)) is not None:
            script_environment.point_to_proxy(world, self._dir, self._spec, proxy)
        execution = self._dir.execution(world.boot)
        script = world.script(self._dir, self._environment(commit))
        script.await_ready(self._stop)
        entry = Running(
            task=self._spec.task,
            attempt=self._spec.attempt,
            execution=execution,
            commit=commit,
            profile_revision=self._spec.profile_revision,
            image=world.image or None,
            notes=[str(note) for note in notes],
            noted=[fields_of(note) for note in notes],
        )
        self._asked = execution
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

    def _check_out(self, streamer: Streamer, deadline_at: float) -> str:
        """The workspace holds the commit, whose id is returned; for work that was kept it stays empty."""
        number, repository = self._spec.attempt, self._spec.repository
        if (kept := self._spec.kept_work) is not None:
            self._world.store(self._dir, self._spec).work(kept.attempt, KEPT_WORK)
            self._dir.workspace.mkdir(exist_ok=True)
            streamer.say(f"[keruta] attempt {number}: pushing to {repository.url} what attempt {kept.attempt} kept")
            return kept.commit
        ref = repository.ref or "its default branch"
        streamer.say(f"[keruta] attempt {number}: checking out {repository.url} at {ref}")
        commit = self._repository.checkout(self._stop, deadline_at)
        streamer.say(f"[keruta] at commit {commit}")
        return commit

    def _fetch_session(self, commit: str, deadline_at: float) -> None:
        """The session that is to be resumed is here, and the work that was not pushed in the workspace.

        Without the session of an earlier task the coding agent begins anew: its prompt tells what was said.
        """
        resume = self._spec.resume
        if resume is None or self._agent is None:
            return
        try:
            manifest = self._session.fetch()
        except PhaseError as error:
            if resume.task is None or error.reason != "SessionMissing":
                raise
            self._say("the session of the task before is not kept any more: what was said before is told as text")
            return
        self._agent.resume(manifest)
        if manifest.base == commit:
            self._session.put_work(manifest, self._stop, deadline_at)
        before = f"attempt {resume.attempt}" if resume.task is None else f"task {resume.task}"
        self._say(f"going on with the session of {before}")

    def _take_up(self, attempt: AttemptFile) -> AnyEntry | None:
        """The start is on record: nothing is started again, whatever is found."""
        self._execution = self._dir.execution(self._world.boot)
        if cause := self._dir.cause:
            self._cause = cause
            self._stop.set()
        self._open_secrets()
        if self._agent is not None and (manifest := self._session.fetched()) is not None:
            self._agent.resume(manifest)
        self._prepare_agent()
        self._offer_fetches(attempt.commit)
        script = self._world.script(self._dir, self._environment(attempt.commit or ""))
        self._open_log()
        try:
            runs = script.take_up()
            if self._agent is not None:
                script.thaw()  # an agent before this one may have ended while it stood still
            if not runs and not self._dir.finished and not self._cause:
                script.sweep()  # what was told to end, and is gone, has ended; of the rest nobody knows how
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

    # ------------------------------------------------------------ before the script

    def _open_secrets(self) -> None:
        """Decrypt the secrets that the script asked for, and mask every secret from here on."""
        self._secrets = {name: self._world.opener.value(one) for name, one in self._spec.secrets.items()}
        self._masker.add(line.encode() for value in self._secrets.values() for line in (value, *value.splitlines()))

    def _prepare_agent(self) -> str | None:
        """The shell text that starts the coding agent; None for a script."""
        if self._agent is None:
            return None
        self._masker.add(token.encode() for token in self._agent.prepare())
        assert self._agent.launch is not None
        return self._agent.launch.text

    def _offer_fetches(self, commit: str | None) -> FetchPlace | None:
        """Begin to serve the script's own fetches, where it could not make them itself and they are allowed."""
        spec = self._spec
        settings, fenced = self._world.settings, self._world.isolation != "none"
        if commit is None or not settings.fetch_proxy or not offered(spec, own=settings.own_git, fenced=fenced):
            return None
        rules = Rules(spec.allowed_refs, commit)
        proxy = FetchProxy(spec.repository.url, self._repository.opened_beside, self._dir.root, rules)
        try:
            place = proxy.start()
        except OSError as error:
            log.warning("no fetch proxy: %s", error, extra={"action": "no_fetch_proxy"})
            return None
        self._fetch_proxy = proxy
        self._masker.add([place.token.encode()])
        return place

    def _environment(self, commit: str) -> dict[str, str]:
        execution = self._execution or self._dir.execution(self._world.boot)
        return script_environment.environment(
            self._world, self._dir, self._spec, commit=commit, execution=execution, secrets=self._secrets,
            coding_agent=self._agent.environment if self._agent is not None else ({}, {}),
        )  # fmt: skip

    def _open_log(self) -> Streamer:
        spec = self._spec
        if self._agent is not None:
            self._transcript = self._agent.open_transcript()
        self._streamer = Streamer(
            spec.task,
            spec.attempt,
            self._dir.open_output if self._transcript is None else self._transcript.open_readable,
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
        deadline = Deadline(deadline_at, self._move_deadline)
        while not script.wait(pause):
            if self._transcript is not None:
                self._transcript.pump()
            if not self._world.reporting.backed_up and streamer.pump():
                pause, moved_at = LOOK_FIRST_SECONDS, time.monotonic()
            else:
                pause = min(pause * 1.5, LOOK_MOST_SECONDS)
            while self._progress:
                streamer.say(f"» {self._masker.text(self._progress.popleft())}")
            now = time.monotonic()
            deadline.look(waits=self._agent is not None and self._conversation.unanswered is not None)
            if not self._stop.is_set() and self._suspend(script, commit):
                return None
            if not told_at:
                if cause := self._limits.exceeded((self._transcript or streamer).size, deadline.at):
                    self._end_for(cause)
                if self._stop.is_set():
                    script.stop()
                    told_at = now
            elif now - told_at > self._world.settings.grace_seconds:
                script.kill()
            if self._conversation.pass_on():
                moved_at = now
            if now - looked_at > ASK_AFTER_SECONDS:
                looked_at = now
                self._conversation.watch(script, quiet=now - moved_at > ASK_AFTER_SECONDS)
        if killed := script.sweep():
            log.info("killed %d processes left behind", killed, extra={"action": "strays_killed", "count": killed})
        self._conversation.close()
        return self._conclude(script, commit)

    def _suspend(self, script: Script, commit: str | None) -> bool:
        """Return whether the attempt is over, for nobody has answered: it is suspended."""
        suspension = self._suspension
        if suspension is None or commit is None or not suspension.due:
            return False
        if not suspension.suspend_running(script, commit):
            return False
        self._conversation.close()
        return True

    def _suspend_ended(self, commit: str | None) -> bool:
        """The same, where the coding agent's last word is a question. A Pod ends with its script, and does not wait."""
        if self._suspension is None or self._agent is None or self._agent.question is None or commit is None:
            return False
        if self._gone or self._is_cancelled():
            return False
        wait = 0 if self._world.in_pod else self._agent.wait_seconds
        return self._suspension.suspend_ended(
            self._agent.question, commit, wait, stop=self._stop, cancelled=self._is_cancelled
        )

    def _is_cancelled(self) -> bool:
        return self._stop.is_set() and not self._cause

    def _move_deadline(self, at: float) -> None:
        if (kept := self._dir.load()) is not None:
            self._dir.save(msgspec.structs.replace(kept, deadline_at=at))

    def _end_for(self, cause: str) -> None:
        """The script is to end, and not by a person's wish; a worker that takes the job up knows why, too."""
        if not self._stop.is_set():
            self._cause = cause
            self._dir.note_cause(cause)
            self._stop.set()

    def _stopped_by_model(self, ending: Ending) -> None:
        """The model's server refuses, or the budget is used up: the attempt ends now, whatever the script does."""
        self._model_ending = ending
        self._end_for(ending.reason)

    def _tell_waiting(self, question: str | None) -> None:
        spec, execution = self._spec, self._execution
        if execution is None or (self._suspension is not None and self._suspension.done):
            return
        entry: AnyEntry = Resumed(task=spec.task, attempt=spec.attempt, execution=execution)
        if question is not None:
            entry = Waiting(task=spec.task, attempt=spec.attempt, execution=execution, question=question)
        self._world.reporting.send(entry, urgent=True)

    # ------------------------------------------------------------ the end

    def _conclude(self, script: Script, commit: str | None) -> AnyEntry | None:
        """The script has ended: how, what it left, and whether that could be kept."""
        streamer = self._streamer
        assert streamer is not None
        if self._transcript is not None:
            self._transcript.pump(all_=True)
        verdict = self._judge(script)
        if self._agent is not None:
            verdict = self._agent.judge(verdict)
        streamer.pump(all_=True)
        if self._gone:
            return None
        collector = self._collector()
        task, attempt, execution = self._spec.task, self._spec.attempt, self._execution
        if script.told_elsewhere:  # the worker tells the end: it knows why
            if execution is not None:
                left = Left(task=task, attempt=attempt, execution=execution, **collector.rescue(commit).fields())
                self._world.reporting.send(left, urgent=True)
            return None
        if self._suspend_ended(commit):
            return None
        if self._is_cancelled() and self._agent is not None and self._agent.question is not None:
            verdict = Verdict(status="cancelled", reason="Cancelled", message=message("script_cancelled"))
        if verdict.status == "succeeded":
            self._caches.save(self._stop)
        granted = self._store_session(commit, verdict)
        verdict, collected = collector.finish(verdict, commit)
        pushed = collector.result.pushed
        return Ended(
            task=task,
            attempt=attempt,
            execution=execution,
            status=verdict.status,
            reason=verdict.reason,
            **self._masked(verdict.message),
            exit_code=verdict.exit_code,
            signal=verdict.signal,
            retry_after_seconds=verdict.retry_after_seconds,
            commit=commit,
            result_branch=pushed.branch if pushed is not None else None,
            result_commit=pushed.commit if pushed is not None else None,
            granted=granted,
            **collected.fields(),
        )

    def _store_session(self, commit: str | None, verdict: Verdict) -> Granted | None:
        """Store the session for who goes on from it later. What a success pushes is not stored again."""
        if self._suspension is None or commit is None:
            return None
        pushes = verdict.status == "succeeded" and self._spec.wanted_result is not None
        return self._suspension.store(commit, work=not pushes)

    def _judge(self, script: Script) -> Verdict:
        ending = self._model_ending
        verdict = judge(
            self._dir.exit_codes(),
            finished=self._dir.finished,
            died_by=script.died_by,
            stopped=self._stop.is_set(),
            cause=self._cause,
            cause_message=(
                ending.message
                if ending is not None and ending.reason == self._cause
                else self._limits.sentence(self._cause)
            ),
            specification=self._spec,
            interpreter=script_environment.missing_interpreter(self._dir, self._spec),
        )
        if verdict.status == "failed" and not self._cause and self._limits.disk_is_full():
            ended = message("script_was_killed") if verdict.exit_code is None else how(verdict.exit_code)
            said = message("script_disk_full", ending=ended)
            return msgspec.structs.replace(verdict, reason="SpoolFull", message=said)
        return verdict

    def _announce(self, branch: str, commit: str) -> None:
        """A push is on record before it is made; where keruta does not answer in time, it is made all the same.

        Raises:
            PhaseError: PushFailed, where keruta has given this attempt up.
        """
        assert self._execution is not None
        late = threading.Event()
        timer = threading.Timer(ANNOUNCE_SECONDS, late.set)
        timer.daemon = True
        timer.start()
        entry = Pushing(
            task=self._spec.task, attempt=self._spec.attempt, execution=self._execution, branch=branch, commit=commit
        )
        outcome = self._world.reporting.ask(entry, late)
        timer.cancel()
        if self._gone or (outcome is not None and outcome.reason == "StaleAttempt"):
            raise PhaseError("PushFailed", message("push_not_current"))

    def _collector(self) -> Collector:
        assert self._streamer is not None
        return Collector(
            self._world, self._dir, self._spec, self._streamer, masker=self._masker, repository=self._repository,
            agent=self._agent, transcript=self._transcript, announce=self._announce, late=self._late,
        )  # fmt: skip

    def _say(self, sentence: str) -> None:
        if self._streamer is not None:
            self._streamer.say(f"[keruta] {self._masker.text(sentence)}")

    def _masked(self, said: Message | None) -> dict[str, Any]:
        return fields_of(changed(said, self._masker.text) if said else None)

    def _failed(self, reason: str, said: Message) -> AnyEntry:
        if self._streamer is not None:
            try:
                self._streamer.say(f"[keruta] {reason}: {said}")
            except OSError:
                pass  # the disk is full; the message says so
        return Ended(
            task=self._spec.task,
            attempt=self._spec.attempt,
            execution=self._execution or self._asked,
            never_started=self._execution is None and self._asked is not None,
            status="failed",
            reason=reason,
            **self._masked(said),
        )

    def _stopped_before_start(self) -> AnyEntry | None:
        started_at = self._dir.load()
        if self._cause == "WorkerStopped":
            return self._failed(self._cause, message("attempt_worker_stopped"))
        late = started_at is not None and time.time() > started_at.deadline_at
        if late and not self._stop.is_set():
            seconds = self._spec.timeout_seconds
            return self._failed("DeadlineExceeded", message("checkout_timeout", seconds=seconds))
        return Ended(
            task=self._spec.task,
            attempt=self._spec.attempt,
            execution=self._asked,
            never_started=self._asked is not None,
            status="cancelled",
            reason="Cancelled",
            **fields_of(message("attempt_cancelled")),
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
            if self._streamer is not None:
                self._streamer.close()
            if answered:
                self._dir.remove()
            self.ended.set()
