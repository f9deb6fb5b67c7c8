"""Coverage on a task's page: of all lines, by file, and beside the run before of the same."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import msgspec

from admin.auth import principal
from admin.ports import ports
from admin.tasks import coverage
from admin.tasks.coverage import Covered
from admin.tasks.kept_reports import content, read_within
from keruta.domain.report_files import coverage_of
from keruta.domain.same_runs import facet_of
from keruta.domain.task import Artifact, AttemptView, TaskView

FILES_READ, BYTES_READ = 10, 4 * 1024 * 1024  # on a task's page: the rest is on pages of its own
LOOKED_THROUGH = 24  # runs before, for one with coverage
SHOWN = 100


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One file; `change` in percentage points since the run before, None where it is not known."""

    path: str
    covered: Covered
    change: float | None = None


class Before(msgspec.Struct, frozen=True, kw_only=True):
    """The run that is compared with."""

    task: str
    attempt: int
    total: Covered


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """Coverage of an attempt: files first that lost most. `unread`: reports that are too many or too large.

    Without one that was read, `total` has no lines.
    """

    total: Covered
    files: Sequence[File]
    count: int
    more: bool
    read: Sequence[str]
    unread: Sequence[str]
    before: Before | None = None

    @property
    def change(self) -> float | None:
        return None if self.before is None else self.total.rate - self.before.total.rate


def of(view: TaskView, attempt: AttemptView | None) -> Coverage | None:
    """Return what an attempt's files say of coverage; None where none does."""
    if attempt is None or attempt.ended_at is None:
        return None
    found, read, unread = _together(view.id, attempt.number, coverage_of(attempt.artifacts))
    if found is None and not unread:
        return None
    found = found or coverage.Report(files={}, total=Covered())
    earlier, before = _before(view)
    files = [
        File(path=path, covered=one,
             change=one.rate - earlier.files[path].rate if earlier is not None and path in earlier.files else None)
        for path, one in found.files.items()
    ]  # fmt: skip
    files.sort(key=lambda file: (round(min(file.change or 0.0, 0.0), 2), file.covered.rate, file.path))
    return Coverage(
        total=found.total, files=files[:SHOWN], count=len(files), more=found.more, read=read, unread=unread,
        before=before,
    )  # fmt: skip


def _before(view: TaskView) -> tuple[coverage.Report | None, Before | None]:
    runs = ports().reading.reported(principal(), facet_of(view), before=view.id, limit=LOOKED_THROUGH)
    for run in runs:
        files = coverage_of(run.artifacts)
        found = _together(run.task, run.attempt, files)[0] if files else None
        if found is not None:
            return found, Before(task=run.task, attempt=run.attempt, total=found.total)
    return None, None


def _together(
    task: str, attempt: int, files: Sequence[Artifact]
) -> tuple[coverage.Report | None, list[str], list[str]]:
    """Return several reports as one, and which files were read and which were not."""
    reports, read, unread = read_within(task, attempt, files, _report, most=FILES_READ, most_bytes=BYTES_READ)
    return _merged(reports), read, unread


def _merged(reports: Sequence[coverage.Report]) -> coverage.Report | None:
    """Return one report of several; a file that several speak of counts as the one says that knows most of it."""
    if len(reports) <= 1:
        return reports[0] if reports else None
    files: dict[str, Covered] = {}
    for report in reports:
        for path, one in report.files.items():
            known = files.get(path)
            if known is None or (one.lines, one.ran) > (known.lines, known.ran):
                files[path] = one
    whole = [report.total for report in reports if not report.files]
    total = coverage.total_of([*files.values(), *whole])
    return coverage.Report(files=files, total=total, more=any(report.more for report in reports))


@functools.lru_cache(maxsize=32)
def _report(attempt: str, path: str, _sha256: str) -> coverage.Report | None:
    """Read a file that is kept once in each process: it does not change."""
    found = content(attempt, path, BYTES_READ + 1)
    return coverage.read(found) if found is not None else None
