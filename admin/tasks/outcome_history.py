"""The history of failing tests: their outcomes in the last runs on the same repository.

A test that failed and passed on the same commit, or that its own report calls so, is flaky. Runs, files and bytes that
are looked through for one page are bounded; what was read of a file is remembered in few bytes.
"""

from __future__ import annotations

import functools
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from admin.auth import principal
from admin.ports import ports
from admin.tasks import junit
from admin.tasks.kept_reports import content
from keruta.domain.naming import attempt_id
from keruta.domain.report_files import ReportedRun, tests_of
from keruta.domain.task import AttemptView, TaskView

RUNS = 10  # of each test, with the one on whose page they are
LOOKED_THROUGH = 60  # tasks before it
FILES_READ, BYTES_READ = 60, 4 * 1024 * 1024


class Outcomes(msgspec.Struct, frozen=True):
    """Tests of one file: those that failed, and those that passed, by their keys in order."""

    failed: array[int]
    passed: array[int]

    def of(self, key: int) -> bool | None:
        """Return whether a test passed; None for one that did not run."""
        return False if _has(self.failed, key) else True if _has(self.passed, key) else None


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a test."""

    task: str
    attempt: int
    passed: bool
    commit: str | None


class History(msgspec.Struct, frozen=True, kw_only=True):
    """The last runs of a test, newest first; the first is the one on whose page it is."""

    runs: Sequence[Past]
    flaky: bool

    @property
    def failed(self) -> int:
        return sum(not one.passed for one in self.runs)


def histories(view: TaskView, attempt: AttemptView, cases: Sequence[junit.Case]) -> Mapping[int, History]:
    """Return the history of each test that failed, or that its report calls flaky."""
    wanted = [case for case in cases if case.outcome in ("failed", "error") or case.flaky]
    if not wanted:
        return {}
    before = list(_before(view, attempt))
    found = {}
    for case in wanted:
        now = Past(task=view.id, attempt=attempt.number, passed=case.outcome == "passed", commit=attempt.commit)
        past = [
            Past(task=run.task, attempt=run.attempt, passed=passed, commit=run.commit)
            for run, outcomes in before if (passed := _passed(outcomes, case.key)) is not None
        ]  # fmt: skip
        shown = [now, *past][:RUNS]
        found[case.key] = History(runs=shown, flaky=case.flaky or _both_ways(shown))
    return found


def _before(view: TaskView, attempt: AttemptView) -> Iterator[tuple[ReportedRun, Sequence[Outcomes]]]:
    """Return earlier attempts of the task, and the runs on its repository before it, newest first, within bounds."""
    own = [
        ReportedRun(task=view.id, attempt=one.number, created_at=view.created_at, commit=one.commit,
                    artifacts=one.artifacts)
        for one in reversed(view.attempts) if one.number < attempt.number and one.ended_at is not None
    ]  # fmt: skip
    facet = f"repository={view.repository.url}"
    others = ports().reading.reported(principal(), facet, before=view.id, limit=LOOKED_THROUGH)
    files, size = FILES_READ, BYTES_READ
    for run in [*own, *others]:
        read = []
        for file in tests_of(run.artifacts):
            files, size = files - 1, size - file.size_bytes
            if files < 0 or size < 0:
                return
            read.append(outcomes_of(attempt_id(run.task, run.attempt), file.path, file.sha256))
        if read:
            yield run, read


def _passed(outcomes: Sequence[Outcomes], key: int) -> bool | None:
    """Return whether a test passed in a run; one that failed in one of its files has failed."""
    found = [passed for one in outcomes if (passed := one.of(key)) is not None]
    return all(found) if found else None


def _both_ways(runs: Sequence[Past]) -> bool:
    commits = {True: set[str](), False: set[str]()}
    for one in runs:
        if one.commit is not None:
            commits[one.passed].add(one.commit)
    return bool(commits[True] & commits[False])


@functools.lru_cache(maxsize=256)
def outcomes_of(attempt: str, path: str, _sha256: str) -> Outcomes:
    """Read a file that is kept once in each process: it does not change."""
    found = content(attempt, path, BYTES_READ + 1)
    report = junit.read(found) if found is not None else None
    cases = report.cases if report is not None else []
    failed = {case.key for case in cases if case.outcome in ("failed", "error")}
    passed = {case.key for case in cases if case.outcome == "passed"}
    return Outcomes(array("Q", sorted(failed)), array("Q", sorted(passed)))


def _has(keys: array[int], key: int) -> bool:
    at = bisect_left(keys, key)
    return at < len(keys) and keys[at] == key
