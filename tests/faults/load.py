"""Tasks under way, and what must be true of them after a fault."""

from __future__ import annotations

import re
import shutil
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from keruta.domain.task import TaskView
from tests.support.system import ENDED, RunningSystem, eventually

TASKS = 100
LINES = 12
MOVING_WITHIN_SECONDS = 60
ENVIRON = {
    "KERUTA_LEASE_SECONDS": "6",
    "KERUTA_WORKER_SLOTS": "8",
    "KERUTA_GRACE_SECONDS": "2",
    "KERUTA_ISOLATION": "none",  # the witness lies outside the jobs' directories, where bubblewrap lets nothing write
}
BASE = Path(__file__).parents[2] / "knative" / "base"

# Each start leaves a line in a file outside the job; each line of the log can be told from every other.
SCRIPT = f"""
echo "$KERUTA_EXECUTION" >> "$WITNESS/$KERUTA_TASK"
i=0; while [ $i -lt {LINES} ]; do echo "line $i"; i=$((i+1)); sleep 0.02; done
"""


def quick_manifests(directory: Path, *, without: tuple[str, ...] = ()) -> Path:
    """The manifests with a tick every 2 s, as goes with a lease of 6 s."""
    target = directory / "base"
    shutil.copytree(BASE, target)
    tick = target / "tick.yaml"
    tick.write_text(tick.read_text().replace("*/10 * * * * *", "*/2 * * * * *"))
    for name in without:
        path = target / name
        parts = path.read_text().split("---\n")
        path.write_text("---\n".join(part for part in parts if "kind: Trigger" not in part))
    return target


class Load:
    """The tasks of one test."""

    def __init__(self, system: RunningSystem, repository: str, directory: Path) -> None:
        self.system = system
        self._repository = repository
        self._witness = directory / "witness"
        self._witness.mkdir()
        self.ids: list[str] = []

    def submit(self, count: int = TASKS, script: str = SCRIPT) -> None:
        """Tasks with all three policies."""
        policies = ("if_not_started", "never", "always")

        def one(number: int) -> str:
            policy = {"policy": policies[number % 3], "max_attempts": 5}
            return self.system.submit(self._repository, script, retry=policy, env={"WITNESS": str(self._witness)})

        with ThreadPoolExecutor(4) as pool:
            self.ids += pool.map(one, range(count))

    def under_way(self) -> None:
        """Some have ended, some run, most wait."""
        eventually(lambda: self._count("succeeded") >= 10 and self._count("running") >= 2, 30, "the load")

    def _count(self, status: str) -> int:
        items = self.system.client.tasks(status=status, limit=200).items
        return len({item.id for item in items} & set(self.ids))

    def check(self, *, killed: bool = False) -> dict[str, TaskView]:
        """Every task came to an end; none lost, none run twice unless it may, every log whole.

        Args:
            killed: a process was killed that had scripts in flight: their ends may be unknown.
        """
        until = time.monotonic() + MOVING_WITHIN_SECONDS + 30
        tasks: dict[str, TaskView] = {}
        while time.monotonic() < until:
            left = [task_id for task_id in self.ids if task_id not in tasks]
            for task_id in left[:20]:
                task = self.system.task(task_id)
                if task is not None and (task.status in ENDED or (task.status == "unknown" and killed)):
                    tasks[task_id] = task
            if len(tasks) == len(self.ids):
                break
            time.sleep(0.1)
        states = Counter(task.status for task in tasks.values())
        missing = {t: self.system.task(t) for t in self.ids if t not in tasks}
        assert not missing, (states, [(t, v and (v.status, v.message)) for t, v in list(missing.items())[:5]])
        for task in tasks.values():
            starts = self._starts(task.id)
            assert len(starts) == len(set(starts))
            if task.retry.policy != "always":
                assert len(starts) <= 1, (task.id, starts)
            if task.status == "succeeded":
                assert len(starts) >= 1
                self._check_log(task)
            elif task.status == "failed":
                # Its worker stopped before the script: of these policies only `never` makes no other attempt.
                assert (task.reason, task.retry.policy, starts) == ("WorkerStopped", "never", []), task.message
            else:
                assert task.status == "unknown", (task.status, task.reason, task.message)
        if not killed:
            assert states == {"succeeded": len(self.ids)}, states
        return tasks

    def _starts(self, task_id: str) -> list[str]:
        path = self._witness / task_id
        return path.read_text().split() if path.exists() else []

    def _check_log(self, task: TaskView) -> None:
        number = task.attempts[-1].number
        chunks = self.system.client.logs(task.id, attempt=number)
        lines = re.findall(r"^line \d+$", b"".join(chunks).decode(), re.MULTILINE)
        assert lines == [f"line {i}" for i in range(LINES)], (task.id, lines)
