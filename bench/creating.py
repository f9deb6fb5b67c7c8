"""create_task alone: beside a bare Flask view, from a cold start, and what a history of a million tasks costs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pymongo
import urllib3

from bench.figure import Figure, median, percentile
from bench.machine import ROOT, Machine
from keruta.adapters.mongo.assignments import MongoAssignment
from keruta.adapters.mongo.client import connect
from keruta.adapters.mongo.task_queries import MongoReading
from keruta.adapters.mongo.users import make_verifier
from keruta.domain.naming import new_id
from keruta.domain.reports import Ended, Running
from keruta.domain.task_list import TaskFilter
from keruta.services.scheduler import assign
from keruta.settings import Settings, load
from tests.support.ports import free_port
from tests.support.world import ANN, World, closed

CREATE_TASK = ROOT / "functions/create_task/main.py"
BARE_VIEW = "bare"
SECONDS = 4
ROUNDS = 5
CLIENTS = 4
STARTS = 7
FINISHED = 1_000_000
RUNNING = 1000
QUERIES = 60
VERIFICATIONS = 5000

BARE = """
import os, flask, functions_framework, pymongo
collection = None
@functions_framework.http
def bare(request):
    global collection
    if collection is None:
        collection = pymongo.MongoClient(os.environ["KERUTA_MONGO_URL"], w="majority")["bench"]["bare"]
    collection.insert_one(request.get_json())
    return flask.Response("{}", 201, content_type="application/json")
"""

# create_task that knows who asks without looking at the token: what verification costs is what this one saves.
_UNVERIFIED = """
from keruta.adapters.identity.verifier import Verifier
from keruta.domain.principal import Principal
someone = Principal(subject="someone", name="someone", mail="", roles=frozenset({"developer"}), groups=frozenset())
Verifier.verify = lambda self, token: someone
from functions.create_task.main import create_task
"""


def measure(machine: Machine) -> dict[str, Figure]:
    machine.settle()
    env = environment(machine)
    bare = machine.directory / "bare.py"
    bare.write_text(BARE)
    starts = [(_cold_start(env, BARE_VIEW, bare), _cold_start(env, "create_task", CREATE_TASK)) for _ in range(STARTS)]
    figures = {
        "cold_start_ms": median([own for _, own in starts], "ms, process start to first answer"),
        "cold_start_ratio": median(
            [own / base for base, own in starts], "create_task's cold start / bare Flask view's"
        ),
    }
    unverified = machine.directory / "unverified.py"
    unverified.write_text(_UNVERIFIED)
    ratios, verified = [], []
    for _ in range(ROUNDS):
        base = _rate(env, BARE_VIEW, bare)
        own = _rate(env, "create_task", CREATE_TASK)
        without = _rate({**env, "PYTHONPATH": str(ROOT)}, "create_task", unverified)
        print(f"  create: bare {base:.0f}/s, create_task {own:.0f}/s, without verification {without:.0f}/s")
        ratios.append(own / base)
        verified.append(own / without)
    figures["create_ratio"] = median(ratios, "create_task's requests/s / bare Flask view's")
    figures["verified_ratio"] = median(verified, "create_task's requests/s with verification / without")
    figures["verify_ms"] = _verify(machine, env)
    figures |= _history(machine, env)
    return figures


def _verify(machine: Machine, env: Mapping[str, str]) -> Figure:
    """Measure authentication with all its look-ups: p50 of the requests of one person."""
    settings = load(env)
    database = connect(settings)
    verifier = make_verifier(database, settings)
    took = []
    for _ in range(VERIFICATIONS):
        began = time.perf_counter()
        verifier.verify(env["KERUTA_TOKEN"])
        took.append((time.perf_counter() - began) * 1000)
    database.client.close()
    low, high = percentile(took, 5), percentile(took, 95)
    return Figure(value=percentile(took, 50), spread=(low, high), unit="ms a request, p50; p5 to p95", runs=len(took))


def environment(machine: Machine) -> dict[str, str]:
    root = machine.system.state.root
    ports = machine.system.state.ports_in_use()
    return {
        **os.environ,
        "KERUTA_MONGO_URL": machine.system.state.mongod_access().keepers_url(ports["mongod"]),
        "KERUTA_MONGO_DATABASE": "bench",
        "KERUTA_TRUSTED_KEYS": str(root / "keys" / "trusted.json"),
        "KERUTA_REQUESTS_PER_MINUTE": "1000000",  # counted, and never reached
        "THREADS": "16",
        "KERUTA_TOKEN": machine.system.running.token,
    }


class Served:
    """One function, as it is started: ours by our own program, the bare view by functions-framework's."""

    def __init__(self, env: Mapping[str, str], target: str, source: Path) -> None:
        self.port = free_port()
        framework = [str(Path(sys.executable).with_name("functions-framework"))]
        program = framework if target == BARE_VIEW else [sys.executable, "-m", "functions"]
        command = [*program, f"--target={target}", f"--source={source}", f"--port={self.port}", "--host=127.0.0.1"]
        self._process = subprocess.Popen(command, env=dict(env), cwd=ROOT, stderr=subprocess.DEVNULL)
        self._pool = urllib3.PoolManager(maxsize=CLIENTS, retries=False, timeout=10.0)
        self._headers = {"Authorization": f"Bearer {env['KERUTA_TOKEN']}", "Content-Type": "application/json"}

    def post(self) -> int:
        body = b'{"repository": {"url": "https://example.com/a.git"}, "script": "true"}'
        url = f"http://127.0.0.1:{self.port}/api/v1/tasks"
        return self._pool.request("POST", url, body=body, headers=self._headers).status

    def await_first(self) -> None:
        while True:
            try:
                assert self.post() == 201
                return
            except urllib3.exceptions.HTTPError:
                time.sleep(0.002)

    def end(self) -> None:
        self._process.terminate()
        self._process.wait()


def _cold_start(env: Mapping[str, str], target: str, source: Path) -> float:
    began = time.perf_counter()
    served = Served(env, target, source)
    served.await_first()
    took = (time.perf_counter() - began) * 1000
    served.end()
    return took


def _rate(env: Mapping[str, str], target: str, source: Path) -> float:
    served = Served(env, target, source)
    served.await_first()
    until = time.perf_counter() + SECONDS
    counts = [0] * CLIENTS

    def ask(number: int) -> None:
        while time.perf_counter() < until:
            assert served.post() == 201
            counts[number] += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    served.end()
    return sum(counts) / SECONDS


def _history(machine: Machine, env: Mapping[str, str]) -> dict[str, Figure]:
    """p50 of an assignment, a list, a show and a report, with 1,000 tasks running and 1,000,000 finished, beside none.

    The full one has 100 queues and 1,000 repositories, too.
    """
    ratios: list[float] = []
    empty = _times(env["KERUTA_MONGO_URL"], 0, 0)
    full = _times(env["KERUTA_MONGO_URL"], RUNNING, FINISHED)
    for name, base in empty.items():
        ratios.append(full[name] / base)
        print(f"  history: {name} {base * 1000:.2f} ms empty, {full[name] * 1000:.2f} ms full")
    # The worst of them is the figure.
    worst = max(ratios)
    return {
        "history_ratio": Figure(
            value=worst, spread=(min(ratios), worst), unit="p50 full / empty, worst of 4", runs=QUERIES
        )
    }


def _times(url: str, running: int, finished: int) -> dict[str, float]:
    settings = Settings(mongo_url=url, mongo_database=f"history{new_id()}")
    world = World(connect(settings), settings)
    try:
        _fill(world, running, finished)
        store = MongoAssignment(world.database, settings)
        reading = MongoReading(world.database, settings)
        worker = world.worker("bench", slots=1)
        took: dict[str, list[float]] = {"assignment": [], "list": [], "show": [], "report": []}
        for _ in range(QUERIES):
            task_id = world.submit()
            began = time.perf_counter()
            assert assign(store, world.outbox, world.nudges, only=worker) == 1
            took["assignment"].append(time.perf_counter() - began)
            began = time.perf_counter()
            reading.page(ANN, TaskFilter(), limit=50, cursor=None)
            took["list"].append(time.perf_counter() - began)
            began = time.perf_counter()
            reading.task(ANN, task_id)
            took["show"].append(time.perf_counter() - began)
            world.database["workers"].update_one({"_id": worker}, {"$set": {"seen_at": datetime.fromtimestamp(0, UTC)}})
            began = time.perf_counter()
            world.report(worker)  # one with which its leases are due
            took["report"].append(time.perf_counter() - began)
            world.report(worker, Running(task=task_id, attempt=1, execution="x"))
            world.report(worker, Ended(task=task_id, attempt=1, execution="x", status="succeeded"))
        return {name: percentile(values, 50) for name, values in took.items()}
    finally:
        world.database.client.drop_database(world.database.name)
        world.database.client.close()


def _fill(world: World, running: int, finished: int) -> None:
    """Copies of one real task: 50 at least, so that a list's page is full on both sides."""
    model = world.document(world.submit())
    ended = closed(model) | {"status": "succeeded"}
    world.database["tasks"].delete_many({})
    tasks = world.database["tasks"].with_options(write_concern=pymongo.WriteConcern(w=1))
    left = max(finished, 60)
    while left:
        count = min(left, 10_000)
        tasks.insert_many([{**ended, "_id": new_id()} for _ in range(count)], ordered=False)
        left -= count
    for kind, count in (("queues", 100), ("repositories", 1000)) if finished else ():
        entry = world.database["queues"].find_one({}) or {}
        copies = [{**entry, "_id": f"x{n}", "spec": {"name": f"x{n}", "url": f"u{n}"}} for n in range(count)]
        world.database[kind].insert_many(copies, ordered=False)
    if running:
        held = {**ended, "status": "running", "holder": "other", "lease_until": model["created_at"]}
        tasks.insert_many([{**held, "_id": new_id(), "holder": f"w{n % 100}"} for n in range(running)], ordered=False)
