"""JSON lines on standard error, each with the task and attempt that it is about.

`bind(task=…, attempt=…)` sets the context for all that is logged inside it; `extra={"action": "task_assigned", …}`
names what happened, stably, for whoever counts lines.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

_context: contextvars.ContextVar[dict[str, Any] | None] = contextvars.ContextVar("keruta_log_context", default=None)
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object on one line."""

    def __init__(self, part: str) -> None:
        super().__init__()
        self._part = part

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname,
            "part": self._part,
            "message": record.getMessage(),
            **(_context.get() or {}),
            **{name: value for name, value in vars(record).items() if name not in _PLAIN},
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


def configure(part: str, level: str = "INFO") -> None:
    """Sends this process's log to standard error as JSON lines. `part` names the program."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(part))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("urllib3", "pymongo", "git", "werkzeug"):
        logging.getLogger(noisy).setLevel("WARNING")


def bound(name: str) -> Any:
    """Return the context's value under a name, or None."""
    return (_context.get() or {}).get(name)


@contextlib.contextmanager
def bind(**context: Any) -> Iterator[None]:
    """Adds to the context of every line logged inside, in this thread."""
    token = _context.set({**(_context.get() or {}), **context})
    try:
        yield
    finally:
        _context.reset(token)
