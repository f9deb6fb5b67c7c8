"""Messages between a running script and people: lines that people send, and the question of a script that waits."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence

from agent.attempt.context import Script
from agent.attempt.directory import JobDir
from agent.log.masking import Masker
from keruta.domain.reports import Input

BEAT_SECONDS = 10.0
SENT_MOST = 100  # lines that nobody asked for and that no tool has taken yet

log = logging.getLogger(__name__)

QUESTION_BYTES = 4096
QUESTION_CHARACTERS = 1000


class Withdrawn(Exception):  # noqa: N818  nothing failed
    """Raised where nobody waits for the answer any more: the script has ended."""


class _Question:
    def __init__(self, text: str) -> None:
        self.text, self.asked_at = text, time.monotonic()
        self.answered = threading.Event()
        self.answer: str | None = None


class Conversation:
    """One script's.

    Args:
        told: called when it begins to wait, with its question, and when it waits no longer, with None.
    """

    def __init__(self, directory: JobDir, masker: Masker, told: Callable[[str | None], None]) -> None:
        self._dir = directory
        self._masker = masker
        self._told = told
        self._inputs: list[Input] = []
        self._lock = threading.RLock()  # `told` may give what people sent
        self.passed = 0
        self.waits = False
        self._asked = b""  # what was told of $KERUTA_ASK
        self.by_tools = False  # what people send goes to the coding agent's tools, for it reads no standard input
        self._turn = threading.Lock()  # a coding agent's questions come one after the other
        self._question_open: _Question | None = None
        self._sent: list[str] = []
        self._over = threading.Event()

    def ask(self, question: str, beat: Callable[[], None]) -> str:
        """Ask a person, and return what they send next.

        Args:
            beat: called now and then; what it raises ends the waiting.

        Raises:
            Withdrawn: the script has ended.
        """
        while not self._turn.acquire(timeout=BEAT_SECONDS):
            beat()
        try:
            return self._ask(question, beat)
        finally:
            self._turn.release()

    def _ask(self, question: str, beat: Callable[[], None]) -> str:
        asked = _Question(self._shown(question))
        with self._lock:
            if self._over.is_set():
                raise Withdrawn
            self._question_open, self.waits = asked, True
            self._told(asked.text)
        try:
            while not asked.answered.wait(BEAT_SECONDS):
                beat()
        finally:
            with self._lock:
                if not self._over.is_set():
                    self._question_open, self.waits = None, False
                    self._told(None)
        if asked.answer is None:
            raise Withdrawn
        return asked.answer

    @property
    def unanswered(self) -> tuple[str, float] | None:
        """The question that a tool waits with, and for how many seconds it has; None where none waits."""
        asked = self._question_open
        if asked is None or asked.answered.is_set():
            return None
        return asked.text, time.monotonic() - asked.asked_at

    @property
    def pending(self) -> bool:
        """Return whether people have sent something that is not passed on."""
        with self._lock:
            return any(one.number > self.passed for one in self._inputs)

    def leave_question(self, question: str) -> str:
        """The coding agent has ended with a question, which waits for a person; return it as it is shown."""
        text = self._shown(question)
        self.waits = True
        self._told(text)
        return text

    def _shown(self, question: str) -> str:
        return self._masker.text(question)[:QUESTION_BYTES]

    def take_sent(self) -> list[str]:
        """Return what people sent without having been asked."""
        with self._lock:
            sent, self._sent = self._sent, []
        return sent

    def close(self) -> None:
        """The script has ended: whoever asked gets no answer."""
        with self._lock:
            self._over.set()
            if self._question_open is not None:
                self._question_open.answered.set()
                self._question_open, self.waits = None, False
                self._told(None)
        self.set_waiting(waits=False)

    def give(self, inputs: Sequence[Input]) -> None:
        """Texts for the script; numbers that are known are repeats."""
        with self._lock:
            known = {one.number for one in self._inputs}
            self._inputs += [one for one in inputs if one.number > self.passed and one.number not in known]

    def pass_on(self) -> bool:
        """Gives the script what people sent, in order; returns whether there was anything."""
        with self._lock:
            waiting = sorted((one for one in self._inputs if one.number > self.passed), key=lambda one: one.number)
            self._inputs = []
        if not waiting:
            return False
        if self.by_tools and not self._asked:
            self._pass_to_tools(waiting)
            return True
        try:
            pipe = self._dir.open_stdin()
        except OSError as error:  # the script has put something else in its place: nothing can be passed on any more
            log.warning("no standard input: %s", error, extra={"action": "stdin_gone"})
            with self._lock:
                self._inputs += waiting
            return False
        try:
            for one in waiting:
                text = one.text if one.text.endswith("\n") else f"{one.text}\n"
                try:
                    os.write(pipe, text.encode())  # up to a pipe's 64 KiB, whole or not at all
                except BlockingIOError:
                    with self._lock:
                        self._inputs += [left for left in waiting if left.number >= one.number]
                    break
                self.passed = one.number
        finally:
            os.close(pipe)
        return True

    def _pass_to_tools(self, inputs: Sequence[Input]) -> None:
        with self._lock:
            for one in inputs:
                if (asked := self._question_open) is not None and asked.answer is None:
                    asked.answer = one.text
                    asked.answered.set()
                else:
                    self._sent = [*self._sent, one.text][-SENT_MOST:]
                self.passed = one.number

    def watch(self, script: Script, *, quiet: bool) -> None:
        """Sees whether the script asks, by $KERUTA_ASK, or reads its standard input while nothing else moves."""
        if self._question_open is not None:
            return
        asked = self._dir.asked(QUESTION_BYTES)
        if self.waits and not asked and not script.reads_input():
            self.set_waiting(waits=False)
        elif asked and asked != self._asked:
            self._asked, self.waits = asked, True
            self._told(self._question(asked))
        elif not self.waits and quiet and script.reads_input():
            self.set_waiting(waits=True)

    def set_waiting(self, *, waits: bool) -> None:
        if waits is not self.waits:
            self.waits = waits
            self._asked = b""
            self._told(self._last_line() if waits else None)

    def _question(self, asked: bytes) -> str:
        """Return the script's whole question as masked text. It may offer a choice of several lines."""
        return self._masker.text(asked.decode("utf-8", "replace")).strip()[:QUESTION_CHARACTERS]

    def _last_line(self) -> str:
        """The last line of the log: what a script says before it reads."""
        try:
            with os.fdopen(self._dir.open_output(), "rb") as file:
                file.seek(max(0, file.seek(0, 2) - 4096))
                said = file.read(4096)
        except OSError:
            return ""
        text = self._masker.text(said.decode("utf-8", "replace")).strip()
        return (text.splitlines() or [""])[-1][:QUESTION_CHARACTERS]
