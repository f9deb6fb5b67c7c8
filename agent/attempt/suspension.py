"""Suspending an attempt whose coding agent waits for a person: its session is stored, and nothing of it stays."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from agent.attempt.coding_agent import CodingAgent
from agent.attempt.collector import Collector
from agent.attempt.context import Reporting, Script
from agent.attempt.conversation import Conversation
from agent.attempt.result import AttemptResult
from agent.attempt.session_archive import WORK, TooLargeError
from agent.attempt.stored_session import StoredSession
from keruta.adapters.git.command import Interrupted
from keruta.domain.reports import Suspended
from keruta.domain.specification import Granted, Specification, granted
from keruta.errors import PhaseError

log = logging.getLogger(__name__)

AGAIN_SECONDS = 15.0
SETTLE_SECONDS = 1.0  # a coding agent writes its session a little after it asks
LOOK_SECONDS = 0.05
OVER = frozenset({"StaleAttempt", "NoSuchTask", "NotYours"})  # another attempt has taken its place


class Suspension:
    """One attempt's.

    Args:
        execution: gives the execution on record.
        collector: gives what keeps what the script has left by now.
        say: writes a line to the log.
    """

    def __init__(
        self, agent: CodingAgent, session: StoredSession, specification: Specification, conversation: Conversation, *,
        reporting: Reporting, execution: Callable[[], str], collector: Callable[[], Collector],
        say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._agent, self._session, self._spec, self._conversation = agent, session, specification, conversation
        self._reporting, self._execution, self._collector, self._say = reporting, execution, collector, say
        self._next_at = 0.0
        self.done = False

    @property
    def due(self) -> bool:
        """Return whether a tool has waited for a person long enough, and the session can be resumed."""
        asked = self._conversation.unanswered
        if (
            asked is None
            or asked[1] < max(SETTLE_SECONDS, self._agent.wait_seconds)
            or time.monotonic() < self._next_at
        ):
            return False
        return self._agent.session is not None

    def suspend_running(self, script: Script, commit: str) -> bool:
        """Return whether the attempt is suspended, and its processes are ended; else they go on."""
        asked = self._conversation.unanswered
        if asked is None:
            return False
        script.freeze()
        try:
            self.done = self._suspend(asked[0], commit, over=False)
        finally:
            if not self.done:
                script.thaw()
        if self.done:
            script.kill()
            script.sweep()
        else:
            self._next_at = time.monotonic() + AGAIN_SECONDS
        return self.done

    def suspend_ended(
        self, question: str, commit: str, wait_seconds: float, *, stop: threading.Event, cancelled: Callable[[], bool]
    ) -> bool:
        """Wait for an answer to the coding agent's last word, and then end the attempt; return whether that was done.

        Args:
            stop: set when the attempt is to end.
            cancelled: whether that is a person's wish; otherwise the session is stored, whatever ends the attempt.
        """
        if self._agent.session is None:
            return False
        shown = self._conversation.leave_question(question)
        until = time.monotonic() + wait_seconds
        while time.monotonic() < until and not self._conversation.pending and not stop.wait(LOOK_SECONDS):
            pass
        if cancelled():
            return False
        self.done = self._suspend(shown, commit, over=True)
        return self.done

    def store(self, commit: str, *, work: bool) -> Granted | None:
        """Store the session of an attempt that ends; return the access that its script had, None where that failed."""
        if self._agent.session is None:
            return None
        try:
            self._store(self._collector().result, commit, work=work)
        except (PhaseError, OSError, TooLargeError, Interrupted) as error:
            said = error.message if isinstance(error, PhaseError) else type(error).__name__
            self._say(f"the session could not be stored, so nobody can go on with it: {said}")
            log.warning("session not stored: %s", said, extra={"action": "session_not_stored"})
            return None
        return granted(self._spec)

    def _suspend(self, question: str, commit: str, *, over: bool) -> bool:
        try:
            collector = self._collector()
            self._store(collector.result, commit)
            entry = Suspended(
                task=self._spec.task, attempt=self._spec.attempt, execution=self._execution(), question=question,
                input_acknowledged=self._conversation.passed, over=over, commit=commit, granted=granted(self._spec),
                **collector.keep_for_now().fields(),
            )  # fmt: skip
        except (PhaseError, OSError, TooLargeError, Interrupted) as error:
            said = error.message if isinstance(error, PhaseError) else type(error).__name__
            self._say(f"the session could not be stored, so the task is not suspended: {said}")
            log.warning("not suspended: %s", said, extra={"action": "not_suspended"})
            return False
        outcome = self._reporting.ask(entry, threading.Event())
        return outcome is not None and (outcome.accepted or outcome.reason in OVER)

    def _store(self, result: AttemptResult, commit: str, *, work: bool = True) -> None:
        if not work:
            self._session.store(self._agent.manifest(None, commit), self._agent.adapter, None)
            return
        bundle = self._session.beside(WORK)
        try:
            made, path = result.stored(commit, bundle)
            self._session.store(self._agent.manifest(made, commit), self._agent.adapter, path)
        finally:
            bundle.unlink(missing_ok=True)
