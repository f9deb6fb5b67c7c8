"""Logs: from a script's line to a follower's screen, and how many lines a second are stored."""

from __future__ import annotations

import re
import time

from bench.figure import Figure, median, percentile
from bench.machine import Machine

LINES = 60
ROUNDS = 3
INGEST_LINES = 150_000


def measure(machine: Machine) -> dict[str, Figure]:
    delays = [_delay(machine) for _ in range(ROUNDS)]
    ingest = [_ingest(machine) for _ in range(ROUNDS)]
    return {
        "tail_delay_ms": median(delays, "ms, p95, line written to line received by SSE"),
        "ingest_lines_per_second": median(ingest, "lines of 100 bytes a second, stored"),
    }


def _delay(machine: Machine) -> float:
    """Each line says when it was written; the follower knows when it came."""
    task_id = machine.system.submit(
        machine.repository, f"for i in $(seq {LINES}); do echo at $(date +%s%N); sleep 0.05; done"
    )
    delays = []
    for event in machine.system.client.follow(task_id):
        now = time.time_ns()
        delays += [(now - int(at)) / 1e6 for at in re.findall(r"^at (\d+)$", event.text, re.MULTILINE)]
    assert len(delays) == LINES
    return percentile(delays, 95)


def _ingest(machine: Machine) -> float:
    """Time a script from its start to its end on record, with every line in MongoDB (the limit is over 15 MB)."""
    line = "x" * 99
    task_id = machine.system.submit(machine.repository, f"yes {line} | head -n {INGEST_LINES}")
    task = machine.system.ended(task_id)
    stored = sum(block.count(b"\n") for block in machine.system.client.logs(task_id))
    assert stored >= INGEST_LINES
    assert task.started_at is not None
    assert task.ended_at is not None
    return INGEST_LINES / (task.ended_at - task.started_at).total_seconds()
