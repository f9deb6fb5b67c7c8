"""How entries are put together into reports."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import msgspec

from agent.reporter import Reporter
from keruta.domain.naming import new_id
from keruta.domain.reports import REPORT_LIMIT_BYTES, Ended, Held, Outcome, Report, ReportAnswer
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
