"""A coding agent's stream, made readable while it grows: what the log shows, and what the reader counts.

The script's own output stays as it is, and is kept. The readable text lies in a file of the agent's, of which the log's
chunks are cut. An agent that was restarted makes the same text again: what it was about to add is on record before it
is added.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from agent.coding_agents.adapter import Reader
from agent.coding_agents.records import decoded

LINE_LIMIT_BYTES = 4 * 1024 * 1024  # a longer record is passed over: it is kept, and counted as nothing
TEXT_LIMIT_CHARACTERS = 4000
READ_BYTES = 1024 * 1024


class Transcript:
    """Reads one attempt's output.

    Args:
        raw: the script's output, opened; closed by `close`.
        root: the agent's directory of this attempt.
        reader: told every line.
        json: whether lines of JSON are records; of others all is text.
    """

    def __init__(self, raw: BinaryIO, root: Path, reader: Reader, *, json: bool) -> None:
        self._raw = raw
        self._record = root / "transcribed"
        self.path = root / "readable"
        self._reader = reader
        self._json = json
        self._rest = b""
        self._skipped = 0  # bytes of a line that is too long
        self._at = 0
        self.path.touch(0o600)
        self._take_up()

    def open_readable(self, flags: int) -> int:
        """Return a descriptor of the readable text."""
        return os.open(self.path, flags | os.O_CLOEXEC)

    @property
    def size(self) -> int:
        """Number of bytes that the script has written."""
        return os.fstat(self._raw.fileno()).st_size

    def whole(self) -> BinaryIO:
        """The script's output, from its beginning."""
        file = os.fdopen(os.dup(self._raw.fileno()), "rb")
        file.seek(0)
        return file

    def pump(self, *, all_: bool = False) -> bool:
        """Read what is there; return whether there was anything. With `all_`, a line without its end is one, too."""
        moved = False
        while self._step(self._at + READ_BYTES):
            moved = True
        if all_ and (self._rest or self._skipped):
            self._note(self._at, end=True)
            self._add(self._end())
        return moved

    def close(self) -> None:
        self._raw.close()

    def _step(self, until: int) -> bool:
        self._raw.seek(self._at)
        block = self._raw.read(until - self._at)
        if not block:
            return False
        self._note(self._at + len(block), end=False)
        self._at += len(block)
        self._add(self._lines(block))
        return True

    def _note(self, until: int, *, end: bool) -> None:
        with self._record.open("a") as record:
            record.write(f"{until} {self.path.stat().st_size} {int(end)}\n")

    def _add(self, lines: Sequence[str]) -> None:
        data = _encoded(lines)
        if data:
            with self.path.open("ab") as file:
                file.write(data)

    def _take_up(self) -> None:
        """Read again what was read before; what was about to be added then is whole now."""
        try:
            noted = [line.split() for line in self._record.read_text().splitlines()]
        except OSError:
            return
        data, place = b"", 0
        for parts in noted:
            if len(parts) != 3:
                break
            until, place, end = (int(part) for part in parts)
            self._raw.seek(self._at)
            block = self._raw.read(until - self._at)
            self._at += len(block)
            data = _encoded(self._end() if end else self._lines(block))
        missing = place + len(data) - self.path.stat().st_size
        if 0 < missing <= len(data):
            with self.path.open("ab") as file:
                file.write(data[-missing:])

    def _lines(self, block: bytes) -> list[str]:
        shown: list[str] = []
        parts = block.split(b"\n")
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            if self._skipped or len(self._rest) + len(part) > LINE_LIMIT_BYTES:
                self._skipped += len(self._rest) + len(part)
                self._rest = b""
            else:
                self._rest += part
            if not last:
                shown += self._end()
        return shown

    def _end(self) -> list[str]:
        """The line that is there is whole."""
        line, skipped = self._rest, self._skipped
        self._rest, self._skipped = b"", 0
        if skipped:
            return [f"[keruta] a line of {skipped} bytes is left out here; it is in the artifact output.gz"]
        record = decoded(line) if self._json else None
        if record is not None and isinstance(record.get("type"), str):
            return [one[:TEXT_LIMIT_CHARACTERS] for one in self._reader.record(record)]
        text = line.decode("utf-8", "surrogateescape").rstrip("\r")
        return list(self._reader.text(text))


def _encoded(lines: Sequence[str]) -> bytes:
    text = "".join(f"{line}\n" for line in lines)
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a character, from a record
        return text.encode("utf-8", "replace")
