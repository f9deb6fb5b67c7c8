"""Two runs side by side: how they ended, how long they took, their commits, outputs, files, settings and logs.

The older one stands left. Of each log the first `LOG_BYTES` are compared, as text without colours; times and durations
within lines count as equal, since no two runs share them.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Mapping, Sequence

import flask
import msgspec

from admin.ports import ports
from admin.site.pages import page, shows
from admin.tasks import runs
from admin.tasks.escapes import without_escapes
from admin.tasks.forge_addresses import commit_range, forge_links
from admin.tasks.routes import task_asked
from admin.tasks.terminal import LINE_LIMIT
from keruta.domain.differences import Line, differing
from keruta.domain.log_text import GuessingDecoder
from keruta.domain.messages import message
from keruta.domain.naming import attempt_id
from keruta.domain.run_comparison import LOG_FILE, artifacts_text, ran_seconds, settings_text, without_times
from keruta.domain.task import AttemptView, TaskView
from keruta.errors import NotFound

blueprint = flask.Blueprint("tasks_comparison", __name__)

LOG_BYTES = 256 * 1024
_ID = re.compile(r"(?<![0-9a-z])[0-9a-z]{26}(?![0-9a-z])")  # also within an address that was pasted


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a log that is compared. `cut`: the log is longer; `gone`: it is no longer kept."""

    text: str = ""
    cut: bool = False
    gone: bool = False


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """One output in both runs; None where it is not there."""

    name: str
    old: str | None
    new: str | None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two runs, the older one first."""

    old: TaskView
    new: TaskView
    outputs: Sequence[Output]
    settings: Sequence[Line]
    artifacts: Sequence[Line]
    log: Sequence[Line]
    old_log: Log
    new_log: Log
    commits: str  # the address of the commits between them, "" where none is known

    @property
    def longer_by(self) -> float | None:
        """Return how many seconds longer the newer one took."""
        old, new = ran_seconds(self.old), ran_seconds(self.new)
        return None if old is None or new is None else new - old


@shows(blueprint, "show_task", "/tasks/<id>/compare")
def compare(id: str) -> flask.Response:
    """Compare a task with the run that `with` names, or with the one before it."""
    task, asked = task_asked(id), flask.request.args.get("with", "").strip()
    around = runs.around(task)
    other, wrong = None, None
    try:
        other = _other(task, asked, around)
    except NotFound as error:
        wrong = error.message
    return page(
        "tasks/compare.html", 404 if wrong else 200, task=task, wrong=wrong, runs=around,
        found=compared(task, other) if other is not None else None, forge=forge_links(task), log_bytes=LOG_BYTES,
        names=ports().accounts.names([task.owner, *([other.owner] if other is not None else [])]),
    )  # fmt: skip


def _other(task: TaskView, asked: str, around: runs.Runs | None) -> TaskView | None:
    """Return the run to compare with; None where there is none before. Raises NotFound."""
    if asked:
        found = _ID.search(asked.lower())
        if found is None or found[0] == task.id:
            raise NotFound(message("task_missing"), reason="TaskNotFound")
        return task_asked(found[0])
    before = around.before(task.id) if around is not None else None
    return task_asked(before) if before is not None else None


def compared(one: TaskView, other: TaskView) -> Comparison:
    """Compare two runs, whichever of them is older."""
    old, new = sorted((one, other), key=lambda task: task.id)
    old_log, new_log = log_of(old), log_of(new)
    return Comparison(
        old=old, new=new, outputs=_outputs(old.outputs, new.outputs),
        settings=differing(settings_text(old), settings_text(new)),
        artifacts=differing(artifacts_text(old), artifacts_text(new)),
        log=[] if old_log.gone or new_log.gone else differing(old_log.text, new_log.text, alike=without_times),
        old_log=old_log, new_log=new_log,
        commits=commit_range(old, new, _commit(old), _commit(new)),
    )  # fmt: skip


def _commit(task: TaskView) -> str | None:
    return next((one.commit for one in reversed(task.attempts) if one.commit), None)


def _outputs(old: Mapping[str, str], new: Mapping[str, str]) -> list[Output]:
    return [Output(name=name, old=old.get(name), new=new.get(name)) for name in sorted({*old, *new})]


# ---------------------------------------------------------------- logs


def log_of(task: TaskView) -> Log:
    """Return the beginning of the last attempt's log as it reads; from its file where the database has it no more."""
    attempt = task.attempt(None)
    if attempt is None or not attempt.log_bytes:
        return Log()
    content = bytearray()
    for chunk in ports().reading.chunks(task.id, attempt.number):
        content += chunk.data
        if len(content) > LOG_BYTES:
            break
    raw = bytes(content) or _stored(task, attempt)
    if raw is None:
        return Log(gone=True)
    lines = GuessingDecoder().decode(raw[:LOG_BYTES]).split("\n")
    return Log(text="\n".join(without_escapes(line)[:LINE_LIMIT] for line in lines), cut=len(raw) > LOG_BYTES)


def _stored(task: TaskView, attempt: AttemptView) -> bytes | None:
    """Read the log from its file, as far as it is looked at: what it unpacks to has no other bound."""
    try:
        with ports().results.open(attempt_id(task.id, attempt.number), LOG_FILE) as file, gzip.open(file) as unpacked:
            return unpacked.read(LOG_BYTES + 1)
    except (NotFound, OSError, EOFError, zlib.error):
        return None
