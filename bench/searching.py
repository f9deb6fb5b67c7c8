"""Search over many tasks: what a page costs by parts of words and of ids, rare and common ones, beside the list
without a search; and what the index takes for each task. `python -m bench.searching [TASKS]`
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from bench.figure import percentile
from keruta.adapters.mongo.client import connect
from keruta.adapters.mongo.schema import ensure_schema
from keruta.adapters.mongo.task_search import search_fields
from keruta.domain.naming import new_id
from keruta.domain.task_list import TaskFilter
from keruta.domain.words import terms
from keruta.settings import Settings
from tests.support.mongod import Mongod
from tests.support.world import ANN, World, closed

ASKED = 40
BATCH = 1_000
WORDS = ("import", "export", "nightly", "knowledge", "release", "update", "帳簿を更新する", "データ移行", "test")
QUERIES = {
    "(none)": "", "rare": "udge", "common": "owled", "common, many": "owled pdat", "japanese": "簿を更", "short": "le",
}  # fmt: skip


def name_of(rng: random.Random) -> str:
    """About 30 letters; one in 20,000 has a budget."""
    words = [rng.choice(WORDS) for _ in range(3)] + [f"{rng.randrange(1 << 30):x}"]
    return " ".join(["budget", *words] if rng.randrange(20_000) == 0 else words)


def fill(world: World, count: int) -> str:
    """Store so many finished tasks of random names; return the id of one."""
    rng = random.Random(1)
    model = closed(world.document(world.submit(name="model"))) | {"status": "succeeded"}
    tasks = world.database["tasks"]
    for _ in range(count // BATCH):
        rows = []
        for _ in range(BATCH):
            task, name = new_id(), name_of(rng)
            rows.append({**model, "_id": task, "name": name, **search_fields(task, name, model["readers"])})
        tasks.insert_many(rows, ordered=False)
    return str(rows[0]["_id"])


def _ask(world: World, queries: Mapping[str, str]) -> dict[str, list[float]]:
    """Return each query's time in milliseconds; they take turns, so that load affects all alike."""
    took: dict[str, list[float]] = {what: [] for what in queries}
    for _ in range(ASKED):
        for what, q in queries.items():
            began = time.perf_counter()
            world.reading.page(ANN, TaskFilter(terms=terms(q)), limit=50, cursor=None)
            took[what].append((time.perf_counter() - began) * 1000)
    return took


def main(count: int) -> None:
    shared = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None, prefix="keruta-bench-") as directory,
        Mongod(Path(directory)) as mongod,
    ):
        settings = Settings(mongo_url=mongod.url, mongo_database="bench")
        world = World(connect(settings), settings)
        ensure_schema(world.database)
        began = time.perf_counter()
        task = fill(world, count)
        print(f"{count:,} tasks in {time.perf_counter() - began:.0f} s")
        took = _ask(world, {**QUERIES, "id": task[:18], "id, inner": task[12:24]})
        plain = percentile(took["(none)"], 50)
        for what, one in took.items():
            print(f"  {what:14} p50 {percentile(one, 50):6.1f} ms, {percentile(one, 50) / plain:4.1f} times the list's")
        world.database.client.admin.command("fsync")
        sizes = world.database.command("collstats", "tasks")
        print(f"  a task: {sizes['avgObjSize']} bytes, stored {sizes['storageSize'] // count}; indexes:")
        for index, size in sorted(sizes["indexSizes"].items(), key=lambda one: -one[1])[:4]:
            print(f"    {index}: {size // count} bytes for each task")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
