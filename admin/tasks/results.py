"""Results on a task's page: the summary, tests, and all files as one archive."""

from __future__ import annotations

import functools
import re
import unicodedata
import zipfile
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import flask
import msgspec

from admin.auth import principal
from admin.ports import ports
from admin.site.pages import shows
from admin.site.stream_limits import counted
from admin.tasks import junit
from admin.tasks.kept_reports import content, read_within
from admin.tasks.routes import attempt_asked, task_asked
from keruta.domain.messages import message
from keruta.domain.naming import attempt_id
from keruta.domain.report_files import tests_of
from keruta.domain.reports import SUMMARY_LIMIT_BYTES, SUMMARY_NAME
from keruta.domain.task import Artifact, AttemptView
from keruta.errors import NotFound
from keruta.ports import FileStore

blueprint = flask.Blueprint("tasks_results", __name__)

REPORTS_READ, REPORTS_BYTES = 20, 1024 * 1024  # on a task's page: the rest is on pages of its own
CASES_SHOWN = 100
BLOCK_BYTES = 256 * 1024
_OF_WINDOWS = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)  # names of its devices


class Tests(msgspec.Struct, frozen=True, kw_only=True):
    """The tests of a task's page: failures first. `unread`: reports that are too many or too large for it."""

    report: junit.Report
    files: Sequence[str]
    unread: Sequence[str]


def summary(task: str, attempt: AttemptView | None) -> str:
    """Return the Markdown of $KERUTA_SUMMARY; "" where there is none."""
    if attempt is None or not any(one.path == SUMMARY_NAME for one in attempt.artifacts):
        return ""
    text = content(attempt_id(task, attempt.number), SUMMARY_NAME, SUMMARY_LIMIT_BYTES) or b""
    return text.decode("utf-8", "replace")


def tests(task: str, attempt: AttemptView | None) -> Tests | None:
    """Return the tests that an attempt's files tell of; None where none does."""
    if attempt is None or attempt.ended_at is None:
        return None
    files = tests_of(attempt.artifacts)
    reports, read, unread = read_within(
        task, attempt.number, files, _report, most=REPORTS_READ, most_bytes=REPORTS_BYTES
    )
    if not read:
        return None
    cases = sorted((case for one in reports for case in one.cases), key=lambda case: junit.ORDER.index(case.outcome))
    report = junit.Report(cases=cases, more=any(one.more for one in reports))
    return Tests(report=report, files=read, unread=unread)


@functools.lru_cache(maxsize=64)
def _report(attempt: str, path: str, _sha256: str) -> junit.Report | None:
    """Read a file that is kept once in each process: it does not change."""
    found = content(attempt, path, REPORTS_BYTES + 1)
    return junit.read(found) if found is not None else None


# ---------------------------------------------------------------- all files as one archive


class _Buffer:
    """Holds what an archive writes until it is sent; the archive never goes back in it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._at = 0

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        self._at += len(data)
        return len(data)

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        """Do nothing: nothing is held back."""

    def take(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


class NamesInArchive:
    """Names that lead no program out of the directory where it unpacks, each there once, as a file or as a directory.

    Windows and macOS take names for one that differ in case or in how a letter is composed.
    """

    def __init__(self) -> None:
        self._chosen = {"": ""}
        self._taken = set[str]()

    def of(self, path: str) -> str:
        """Return the name of a file, or of a directory that files are in; the same for the same path."""
        if path not in self._chosen:
            above, _, last = path.rpartition("/")
            directory = self.of(above)
            wanted = f"{directory}/{_unpackable(last)}" if directory else _unpackable(last)
            name, number = wanted, 1
            while (known := unicodedata.normalize("NFC", name).casefold()) in self._taken:
                number += 1
                name = f"{wanted}~{number}"
            self._taken.add(known)
            self._chosen[path] = name
        return self._chosen[path]


def _unpackable(name: str) -> str:
    """Return a file's name as every system takes it."""
    part = re.sub(r"[\x00-\x1f:*?\"<>|\\]", "_", name).rstrip(" .") or "_"
    return f"_{part}" if _OF_WINDOWS.fullmatch(part) else part


def archive(results: FileStore, attempt: str, files: Sequence[Artifact]) -> Iterator[bytes]:
    """Yield a ZIP archive of files as it grows; one that is no longer kept is left out."""
    buffer, names = _Buffer(), NamesInArchive()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made:  # type: ignore[call-overload]
        for one in files:
            try:
                file: BinaryIO = results.open(attempt, one.path)
            except NotFound:
                continue
            entry = zipfile.ZipInfo(names.of(one.path))
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            with file, made.open(entry, "w", force_zip64=one.size_bytes > zipfile.ZIP64_LIMIT // 2) as to:
                while block := file.read(BLOCK_BYTES):
                    to.write(block)
                    yield buffer.take()
            yield buffer.take()
    yield buffer.take()


@shows(blueprint, "get_artifact", "/tasks/<id>/artifacts.zip")
def all_artifacts(id: str) -> flask.Response:
    """Streamed: no file is made of it here, and it takes no more memory for more files."""
    task = task_asked(id)
    attempt = attempt_asked(task)
    if not attempt.artifacts:
        raise NotFound(message("file_missing"))
    made = archive(ports().results, attempt_id(task.id, attempt.number), attempt.artifacts)
    name = f"{task.id}-{attempt.number}.zip"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return counted(flask.Response(made, headers=headers, content_type="application/zip"), principal())
