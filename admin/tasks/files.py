"""Pages of a task's files: text, a picture, or a difference; never a page that the task made."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import BinaryIO

import flask

from admin.ports import ports
from admin.site.pages import page, shows
from admin.tasks import coverage, coverage_results, junit
from admin.tasks.routes import attempt_asked, task_asked
from keruta.domain.differences import LINES_SHOWN, Line
from keruta.domain.naming import attempt_id
from keruta.domain.report_files import coverage_of
from keruta.domain.task import Artifact

blueprint = flask.Blueprint("tasks_files", __name__)

TEXT_BYTES = 256 * 1024
FILES_SHOWN = 2000  # of a report of coverage
PICTURE_BYTES = 2 * 1024 * 1024
# By a file's first bytes: its name is the script's word. SVG within an <img> runs no script.
_PICTURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
)  # fmt: skip


@shows(blueprint, "get_artifact", "/tasks/<id>/files/<path:path>")
def file(id: str, path: str) -> flask.Response:
    task = task_asked(id)
    attempt = attempt_asked(task)
    with ports().results.open(attempt_id(task.id, attempt.number), path) as opened:
        size = opened.seek(0, 2)
        opened.seek(0)
        is_report = path.lower().endswith((".xml", ".info", ".lcov"))
        picture = _picture(opened, size, path)
        opened.seek(0)
        raw = b"" if picture else opened.read(junit.SIZE_LIMIT_BYTES if is_report else TEXT_BYTES)
    text = None if picture or b"\0" in raw else raw.decode("utf-8", "replace")
    text, shown = (text[:TEXT_BYTES], min(len(raw), TEXT_BYTES)) if text is not None else (None, 0)
    lines = None
    if text is not None and path.endswith((".diff", ".patch")):
        lines = [Line(sign=line[:1] or " ", text=line[1:]) for line in text.splitlines()[:LINES_SHOWN]]
    report = junit.read(raw) if text is not None and is_report and size <= len(raw) else None
    covered = None
    if text is not None and coverage_of([Artifact(path=path, size_bytes=size, sha256="")]) and size <= len(raw):
        covered = coverage.read(raw)
    return page(
        "tasks/file.html", report=report, covered=covered, by_rate=by_rate, most_files=FILES_SHOWN,
        task=task, path=path, size_bytes=size, picture=picture, text=text,
        cut=size > shown, lines=lines, attempt=attempt.number,
    )  # fmt: skip


def by_rate(files: Mapping[str, coverage.Covered]) -> list[coverage_results.File]:
    """Return the files of a report, those first of which least ran."""
    listed = [coverage_results.File(path=path, covered=one) for path, one in files.items()]
    return sorted(listed, key=lambda file: (file.covered.rate, file.path))[:FILES_SHOWN]


def _picture(opened: BinaryIO, size: int, path: str) -> str:
    """Return the file as a `data:` address, so that it is not a page of this site; "" for a type that is not shown."""
    if size > PICTURE_BYTES:
        return ""
    raw = opened.read()
    kind = next((kind for begins, kind in _PICTURES if raw.startswith(begins)), "")
    if path.endswith(".svg") and b"<svg" in raw[:1000]:
        kind = "image/svg+xml"
    return f"data:{kind};base64,{base64.b64encode(raw).decode()}" if kind else ""
