"""Files of a script that keruta reads as reports: by which names, and of which runs. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

import msgspec

from keruta.domain.task import Artifact

# By these names test runners and coverage tools write their reports; MongoDB reads the same expressions.
TESTS = r"(?:junit|tests?|xunit|nunit|surefire|results?|report)[^/]{0,200}\.xml$"
COVERAGE = r"(?:(?:cobertura|coverage)[^/]{0,200}\.xml|lcov[^/]{0,200}\.info|coverage[^/]{0,200}\.info|\.lcov)$"
_TESTS, _COVERAGE = re.compile(TESTS, re.IGNORECASE), re.compile(COVERAGE, re.IGNORECASE)


class ReportedRun(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that has ended, and its files that have a report's name."""

    task: str
    attempt: int
    created_at: datetime  # of the task
    commit: str | None = None
    artifacts: Sequence[Artifact] = ()


def tests_of(artifacts: Sequence[Artifact]) -> list[Artifact]:
    return [one for one in artifacts if _TESTS.search(one.path) and not _COVERAGE.search(one.path)]


def coverage_of(artifacts: Sequence[Artifact]) -> list[Artifact]:
    return [one for one in artifacts if _COVERAGE.search(one.path)]
