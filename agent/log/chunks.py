"""Numbered chunks of the growing log file.

The file is the spool: what keruta has not taken yet is still there, and a restarted agent cuts the same chunks again,
because each cut is on record before it is sent. A chunk never splits a secret; it splits a line or a character only if
it must.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from agent.log.masking import CONTEXT_BYTES, Masker
from keruta.domain.log_text import from_whole_character, unfinished_bytes
from keruta.domain.reports import CHUNK_LIMIT_BYTES, LogChunk

READ_BYTES = CHUNK_LIMIT_BYTES - 4096  # masking may make it longer
LINE_WAIT_SECONDS = 0.2
CHARACTER_WAIT_SECONDS = 2.0  # for the rest of a character: output that is not UTF-8 may only look as if there were one
TAIL_AFTER_CUT_BYTES = 64 * 1024


class Streamer:
    """Cuts one attempt's log.

    Args:
        output: opens the log file, to which the script appends; takes flags and returns a descriptor.
        record: where cuts are written down.
        send: takes a chunk.
        limit_bytes: what MongoDB keeps; beyond it only the end of the log is sent, after a line that says so.
    """

    def __init__(
        self,
        task: str,
        attempt: int,
        output: Callable[[int], int],
        record: Path,
        *,
        masker: Masker,
        send: Callable[[LogChunk], None],
        limit_bytes: int,
    ) -> None:
        self._task, self._attempt = task, attempt
        self._masker = masker
        self._send = send
        self._limit = max(limit_bytes - TAIL_AFTER_CUT_BYTES - 1024, 4096)
        self._file = os.fdopen(output(os.O_RDONLY), "rb")
        self._writer = output(os.O_WRONLY | os.O_APPEND)
        self._record = record
        self._sequence = 0
        self._read = 0  # how far the file has been cut
        self._sent = 0  # how long the log is as it was sent
        self._waits_since: float | None = None
        self._take_up()

    @property
    def size(self) -> int:
        """Return the number of bytes in the log."""
        return os.fstat(self._file.fileno()).st_size

    def whole(self) -> BinaryIO:
        """The whole log, from its beginning: the file that this was made with, whatever lies in its place by now."""
        file = os.fdopen(os.dup(self._file.fileno()), "rb")
        file.seek(0)
        return file

    @property
    def cut(self) -> bool:
        """Return whether the log's limit is reached. After that only the end of the log is sent."""
        return self._sent >= self._limit

    def say(self, text: str) -> None:
        """A line of keruta's own, in a chunk of its own. Only while no script runs, or the two would mix."""
        self.pump(all_=True)
        line = self._masker.text(f"{text}\n").encode()
        try:
            os.write(self._writer, line)
        except OSError:  # a full disk must not keep keruta from saying so
            self._chunk(line, system=True)
        self.pump(all_=True, system=True)

    def pump(self, *, all_: bool = False, system: bool = False) -> bool:
        """Sends what is there; returns whether there was anything. Without `all_`, waits a little for a line's end."""
        moved = False
        while not self.cut and (data := self._next(all_)):
            self._emit(data, system)
            moved = True
        return moved

    def finish(self) -> None:
        """Sends the rest: all of it, or, beyond the limit, where it is cut and how it ends."""
        self.pump(all_=True)
        left = self.size - self._read
        if left <= 0:
            return
        skipped = max(0, left - TAIL_AFTER_CUT_BYTES)
        if skipped:
            note = f"\n[keruta] {skipped} bytes are left out here; the whole log is the artifact log.gz\n"
            self._chunk(note.encode(), system=True)
            self._read += skipped
        self._file.seek(self._read)
        data = self._file.read(TAIL_AFTER_CUT_BYTES)
        before = self._before(self._read)
        self._read += len(data)
        if skipped:
            data = from_whole_character(data)
        self._chunk(self._masker.mask(data, before), system=False)

    def close(self) -> None:
        self._file.close()
        os.close(self._writer)

    def _next(self, all_: bool) -> bytes:
        self._file.seek(self._read)
        most = min(READ_BYTES, max(1, self._limit - self._sent))  # beyond the limit there is room for the end alone
        data = self._file.read(most)
        if not data:
            self._waits_since = None
            return data
        whole = len(data) == most
        if not all_ or whole:
            end = data.rfind(b"\n") + 1
            if not end and not whole and not self._waited():
                return b""
            data = data[: end or len(data)]
            data = data[: len(data) - self._masker.held_back(data, self._before(self._read))]
            if whole or not self._waited(CHARACTER_WAIT_SECONDS):
                data = data[: len(data) - unfinished_bytes(data)]
            if not data:
                return data
        self._waits_since = None
        return data

    def _before(self, at: int) -> bytes:
        """Return the end of what the file has before a place, which the masking of what follows looks at."""
        begin = max(0, at - CONTEXT_BYTES)
        self._file.seek(begin)
        return self._file.read(at - begin)

    def _waited(self, seconds: float = LINE_WAIT_SECONDS) -> bool:
        """Return whether an unfinished line (a prompt, a progress bar) has waited for this many seconds."""
        now = time.monotonic()
        if self._waits_since is None:
            self._waits_since = now
        return now - self._waits_since >= seconds

    def _emit(self, data: bytes, system: bool) -> None:
        line = f"{self._sequence} {self._read} {len(data)} {int(system)}\n".encode()
        try:
            with self._record.open("ab") as record:
                record.write(line)
        except OSError:
            pass  # no room: a restart would cut otherwise, and the numbers that are known are no-ops
        before = self._before(self._read)
        self._read += len(data)
        self._chunk(self._masker.mask(data, before), system)

    def _chunk(self, data: bytes, system: bool) -> None:
        chunk = LogChunk(
            task=self._task,
            attempt=self._attempt,
            sequence=self._sequence,
            offset_bytes=self._sent,
            data=data,
            at=datetime.now(UTC),
            system=system,
        )
        self._sequence += 1
        self._sent += len(data)
        self._send(chunk)

    def _take_up(self) -> None:
        """Sends again, under their numbers, the chunks that an agent before this one cut: a repeat is a repeat."""
        try:
            lines = self._record.read_text().splitlines()
        except OSError:
            return
        for line in lines:
            parts = line.split()
            if len(parts) != 4 or int(parts[0]) != self._sequence:
                break
            self._file.seek(int(parts[1]))
            data = self._file.read(int(parts[2]))
            before = self._before(int(parts[1]))
            self._read = int(parts[1]) + len(data)
            self._chunk(self._masker.mask(data, before), parts[3] == "1")
