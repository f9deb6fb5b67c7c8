"""How entries are put together into reports."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from agent.reporter import Reporter
from keruta.domain.naming import new_id
from keruta.domain.reports import (
    REPORT_LIMIT_BYTES,
    AnyEntry,
    Ended,
    Held,
    LogChunk,
    Outcome,
    Preparing,
    Report,
    ReportAnswer,
    Running,
)
from keruta.domain.task import Artifact

FILES = [Artifact(path=f"{'d' * 100}/{number:05}", size_bytes=1, sha256="0" * 64) for number in range(9_000)]


def test_ends_with_many_files_do_not_make_a_report_too_large() -> None:
    """A report that keruta refuses as too large would be sent again and again, and hold back all later ones."""
    sizes: list[int] = []
    done = threading.Event()
    told = 0

    def post(body: bytes) -> ReportAnswer:
        nonlocal told
        sizes.append(len(body))
        entries = msgspec.json.decode(body, type=Report).entries
        told += len(entries)
        if told == 8:
            done.set()
        return ReportAnswer(outcomes=[Outcome(accepted=True) for _ in entries], assigned=[])

    def answered(answer: ReportAnswer, held: Sequence[Held]) -> None: ...

    reporter = Reporter(post, held=list, anxious=lambda: False, answered=answered, heartbeat_seconds=1.0)
    for _ in range(8):
        reporter.send(Ended(task=new_id(), attempt=1, status="succeeded", artifacts=FILES), urgent=True)
    thread = threading.Thread(target=reporter.run)
    thread.start()
    assert done.wait(30)
    reporter.end()
    thread.join(30)

    assert max(sizes) < REPORT_LIMIT_BYTES
    assert sum(sizes) > REPORT_LIMIT_BYTES, "all of them in one report would be too large"


class Posted:
    """A reporter whose reports are kept; each is answered at once."""

    def __init__(self) -> None:
        self.reports: list[list[AnyEntry]] = []
        self.came = threading.Condition()
        self.reporter = Reporter(
            self._post, held=list, anxious=lambda: False, answered=lambda answer, held: None, heartbeat_seconds=60.0
        )
        self._thread = threading.Thread(target=self.reporter.run)

    def _post(self, body: bytes) -> ReportAnswer:
        entries = msgspec.json.decode(body, type=Report).entries
        with self.came:
            self.reports.append(entries)
            self.came.notify_all()
        return ReportAnswer(outcomes=[Outcome(accepted=True) for _ in entries], assigned=[])

    def __enter__(self) -> Posted:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.reporter.end()
        self._thread.join(30)

    def posted(self, count: int) -> list[list[AnyEntry]]:
        """Return the reports, when there are so many."""
        with self.came:
            assert self.came.wait_for(lambda: len(self.reports) >= count, 30)
            return self.reports


def chunk(task: str) -> LogChunk:
    return LogChunk(task=task, attempt=1, sequence=0, offset_bytes=0, at=datetime.now(UTC), data=b"line\n")


def test_a_start_takes_its_preparation_along_and_leaves_the_log_waiting() -> None:
    """A script waits for the answer to its start, and the answer to a log's chunk for the database's disk."""
    task = new_id()
    with Posted() as made:
        made.reporter.send(Preparing(task=task, attempt=1))
        made.reporter.send(chunk(task))
        assert made.reporter.ask(Running(task=task, attempt=1, execution="e"), threading.Event()) is not None

        first, second = made.posted(2)[:2]
        assert [type(one) for one in first] == [Preparing, Running]
        assert [type(one) for one in second] == [LogChunk]


def test_an_end_takes_along_what_came_before_it_of_its_attempt() -> None:
    """So a short script needs two reports in all."""
    task = new_id()
    with Posted() as made:
        made.reporter.send(chunk(task))
        made.reporter.send(chunk(task), urgent=True)
        made.reporter.ask(Ended(task=task, attempt=1, execution="e", status="succeeded"), threading.Event())

        assert [type(one) for one in made.posted(1)[0]] == [LogChunk, LogChunk, Ended]


def test_what_is_urgent_leaves_another_attempts_preparation_waiting() -> None:
    """That goes with its own start, or by itself when it has waited for a moment."""
    one, other = new_id(), new_id()
    with Posted() as made:
        made.reporter.send(Preparing(task=other, attempt=1))
        made.reporter.ask(Running(task=one, attempt=1, execution="e"), threading.Event())

        first, second = made.posted(2)[:2]
        assert [entry.task for entry in first] == [one]
        assert [type(entry) for entry in second] == [Preparing]


def test_a_short_scripts_output_goes_with_its_end() -> None:
    task = new_id()
    with Posted() as made:
        made.reporter.send(chunk(task), urgent=True)
        made.reporter.ask(Ended(task=task, attempt=1, execution="e", status="succeeded"), threading.Event())

        assert [type(one) for one in made.posted(1)[0]] == [LogChunk, Ended]


def test_a_running_scripts_output_does_not_wait_for_anything() -> None:
    task = new_id()
    with Posted() as made:
        made.reporter.send(chunk(task), urgent=True)

        assert [type(one) for one in made.posted(1)[0]] == [LogChunk]


def test_a_report_that_failed_is_made_again_with_all_that_was_in_it() -> None:
    """And with what came meanwhile."""
    task = new_id()
    with Posted() as made:
        answer, tries = made.reporter._post, []

        def fails_once(body: bytes) -> ReportAnswer:
            tries.append(body)
            if len(tries) == 1:
                raise OSError("away")
            return answer(body)

        made.reporter._post = fails_once
        made.reporter.ask(Running(task=task, attempt=1, execution="e"), threading.Event())

        assert [type(one) for one in made.posted(1)[0]] == [Running]
        assert len(tries) == 2
