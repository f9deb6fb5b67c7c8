"""What passes between a running script and people: texts that they send, and the word that it waits for one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence

from agent.attempt.context import Script
from agent.attempt.directory import JobDir
from agent.log.masking import Masker
from keruta.domain.reports import Input


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
        self._lock = threading.Lock()
        self.passed = 0
        self.waits = False

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
                self.passed = one.number
        finally:
            os.close(pipe)
        return True

    def watch(self, script: Script, *, quiet: bool) -> None:
        """Sees whether the script asks, by $KERUTA_ASK, or reads its standard input while nothing else moves."""
        asks = bool(self._asked())
        if self.waits and not asks and not script.reads_input():
            self.set_waiting(waits=False)
        elif not self.waits and (asks or (quiet and script.reads_input())):
            self.set_waiting(waits=True)

    def set_waiting(self, *, waits: bool) -> None:
        if waits is not self.waits:
            self.waits = waits
            self._told(self._question() if waits else None)

    def _asked(self) -> bytes:
        """What the script wrote to $KERUTA_ASK; nothing while the file is not there or still empty."""
        try:
            descriptor = os.open(self._dir.control / "ask", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return b""
        with os.fdopen(descriptor, "rb") as file:
            return file.read(4096)

    def _question(self) -> str:
        """What the script asks, or else the last line of its log."""
        said = self._asked()
        if not said:
            with self._dir.output.open("rb") as file:
                file.seek(max(0, file.seek(0, 2) - 4096))
                said = file.read(4096)
        text = self._masker.text(said.decode("utf-8", "replace")).strip()
        return (text.splitlines() or [""])[-1][:1000]
