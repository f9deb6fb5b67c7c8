"""Simulated agents: `python -m bench.scale [WORKERS] [SLOTS] [TASKS] [QUEUED]`.

One process speaks the agents' protocol for many workers, without scripts: each task is submitted by the API, assigned,
started, has three log chunks, and ends. Beside it a bare loop makes the same majority writes on the same mongod. Then
many tasks wait in many lanes, and the reports that end a task, which assign the next one, are timed. Last, workers
without tasks send heartbeats.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import psutil
from aiohttp import web
from pymongo import WriteConcern

from bench.figure import Figure, median, percentile
from keruta.domain.naming import attempt_id, new_id
from keruta.domain.reports import (
    AnyEntry,
    Ended,
    Held,
    LogChunk,
    Registration,
    Report,
    ReportAnswer,
    Running,
    Session,
)
from tests.support.system import RunningSystem

WORKERS, SLOTS, TASKS, QUEUED, LANES = 1_000, 10, 2_000, 100_000, 1_000
SUBMITTERS = 16
CHUNKS = (b"one line of a log\n" * 8,) * 3
WAIT_SECONDS = 20.0
BATCH = 1_000
BODY = {"repository": {"url": "https://git.example.com/a.git"}, "script": "true", "retry": {"policy": "never"}}


class Agents:
    """Workers that take what is assigned to them, and say at once that it has ended.

    Args:
        url: where reports go.
        token: what workers register with.
    """

    def __init__(self, url: str, token: str, http: aiohttp.ClientSession) -> None:
        self._url, self._token, self._http = url, token, http
        self._nudged: dict[str, asyncio.Event] = {}
        self._port = 0
        self.ended = 0
        self.reports: list[float] = []  # seconds of those that end a task
        self.heartbeats = 0
        self.begins = True  # whether what is assigned is begun

    async def listen(self) -> None:
        """Take nudges for all workers at one port."""
        server = web.Application()
        server.router.add_post("/{worker}", self._on_nudge)
        runner = web.AppRunner(server, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._port = runner.addresses[0][1]

    async def _on_nudge(self, request: web.Request) -> web.Response:
        if nudged := self._nudged.get(request.match_info["worker"]):
            nudged.set()
        return web.Response(status=204)

    async def work(self, worker: str, slots: int) -> None:
        """Register one worker, and report until cancelled."""
        nudged = self._nudged[worker] = asyncio.Event()
        registration = Registration(slots=slots, address=f"http://127.0.0.1:{self._port}/{worker}")
        answer = await self._send("PUT", f"/agent/v1/workers/{worker}", registration, self._token)
        session = msgspec.json.decode(answer, type=Session)
        held: dict[str, Held] = {}
        entries: list[AnyEntry] = []
        while True:
            began = time.perf_counter()
            body = Report(entries=entries, held=list(held.values()))
            answer = await self._send("POST", "/agent/v1/reports", body, session.token)
            reported = msgspec.json.decode(answer, type=ReportAnswer)
            ends = sum(isinstance(entry, Ended) for entry in entries)
            if ends:
                self.reports.append(time.perf_counter() - began)
                self.ended += ends
            elif not entries:
                self.heartbeats += 1
            entries = self._next(reported, held) if self.begins else []
            if not entries:
                try:
                    await asyncio.wait_for(nudged.wait(), session.heartbeat_seconds)
                except TimeoutError:
                    continue
                nudged.clear()

    def _next(self, answer: ReportAnswer, held: dict[str, Held]) -> list[AnyEntry]:
        """Return what follows: the starts of what is new, then the logs and ends of what was started."""
        entries: list[AnyEntry] = []
        for one in answer.assigned:
            name = attempt_id(one.task, one.attempt)
            if name not in held:
                execution = new_id()
                held[name] = Held(task=one.task, attempt=one.attempt, execution=execution)
                entries.append(Running(task=one.task, attempt=one.attempt, execution=execution, commit="0" * 40))
            elif one.status == "running":
                entries += _end(held[name])
        present = {attempt_id(one.task, one.attempt) for one in answer.assigned}
        for name in [name for name in held if name not in present]:
            del held[name]
        return entries

    async def _send(self, method: str, path: str, body: Any, token: str) -> bytes:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        while True:
            with contextlib.suppress(aiohttp.ClientConnectionError):  # an idle connection was closed
                return await self._once(method, path, body, headers)
            await asyncio.sleep(0.01)

    async def _once(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> bytes:
        while True:
            async with self._http.request(
                method, self._url + path, data=msgspec.json.encode(body), headers=headers
            ) as it:
                said = await it.read()
                if it.status < 300:
                    return said
                if it.status not in (429, 503):
                    raise RuntimeError(f"{method} {path}: {it.status} {said[:300]!r}")
            await asyncio.sleep(0.5)


def _end(held: Held) -> list[AnyEntry]:
    assert held.execution is not None
    chunks: list[AnyEntry] = []
    at = 0
    for number, data in enumerate(CHUNKS):
        chunks.append(
            LogChunk(
                task=held.task, attempt=held.attempt, sequence=number, offset_bytes=at, data=data, at=datetime.now(UTC)
            )
        )
        at += len(data)
    end = Ended(task=held.task, attempt=held.attempt, status="succeeded", execution=held.execution, exit_code=0)
    return [*chunks, end]


class Scale:
    """One system, with simulated agents in place of its worker."""

    def __init__(self, system: RunningSystem, http: aiohttp.ClientSession) -> None:
        self._system, self._http = system, http
        ports = system.state.ports_in_use()
        token = (system.state.root / "tokens" / "worker").read_text()
        self.agents = Agents(f"http://127.0.0.1:{ports['report-status']}", token, http)
        self._running: list[asyncio.Task[None]] = []

    async def start(self, workers: int, slots: int) -> None:
        await self.agents.listen()
        self._running = [asyncio.create_task(self.agents.work(f"sim-{n}", slots)) for n in range(workers)]

    async def end(self) -> None:
        for one in self._running:
            one.cancel()
        done = await asyncio.gather(*self._running, return_exceptions=True)
        faults = [one for one in done if isinstance(one, Exception)]
        if faults:
            raise faults[0]

    async def lives(self, count: int) -> tuple[float, float]:
        """Submit tasks and wait for their ends; return seconds, and seconds of CPU of the system."""
        cpu, began, before = self.cpu_seconds(), time.perf_counter(), self.agents.ended
        left = iter(range(count))
        await asyncio.gather(*(self._submit(left) for _ in range(SUBMITTERS)))
        await self.until(before + count)
        return time.perf_counter() - began, self.cpu_seconds() - cpu

    async def _submit(self, left: Any) -> None:
        headers = {"Authorization": f"Bearer {self._system.running.token}"}
        for _ in left:
            async with self._http.post(self._system.running.url + "/api/v1/tasks", json=BODY, headers=headers) as it:
                if it.status != 201:
                    raise RuntimeError(f"submit: {it.status} {(await it.read())[:300]!r}")

    async def until(self, ended: int) -> None:
        until = time.monotonic() + 600
        while self.agents.ended < ended:
            if time.monotonic() > until:
                raise TimeoutError(f"{ended - self.agents.ended} tasks have not ended")
            for one in self._running:
                if one.done():
                    one.result()
            await asyncio.sleep(0.01)

    async def cpu_while_waiting(self) -> float:
        """Return the system's seconds of CPU in a while in which no task is submitted."""
        before = self.cpu_seconds()
        await asyncio.sleep(WAIT_SECONDS)
        return self.cpu_seconds() - before

    def cpu_seconds(self) -> float:
        total = 0.0
        for process in self._system.processes():
            try:
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
            except psutil.NoSuchProcess:
                continue
        return total


def bare(system: RunningSystem, count: int) -> float:
    """Make the same majority writes for so many tasks: submit, assignment, start, end; and their log chunks."""
    with system.database_client() as client:
        model = client["keruta"]["tasks"].find_one({"status": "succeeded"}) or {}
        database = client["bare"]
        tasks = database.get_collection("tasks", write_concern=WriteConcern("majority"))
        chunks = database["chunks"]
        tasks.create_index([("status", 1), ("lane", 1)])

        def one(_: int) -> None:
            task = new_id()
            tasks.insert_one({**model, "_id": task, "status": "queued"})
            for status in ("assigned", "running"):
                tasks.find_one_and_update({"_id": task}, {"$set": {"status": status}})
            chunks.insert_many([{"_id": f"{task}.{n}", "data": data} for n, data in enumerate(CHUNKS)])
            tasks.find_one_and_update({"_id": task}, {"$set": {"status": "succeeded"}})

        began = time.perf_counter()
        with ThreadPoolExecutor(SUBMITTERS) as pool:
            list(pool.map(one, range(count)))
        seconds = time.perf_counter() - began
        client.drop_database("bare")
    return seconds


def queue_up(system: RunningSystem, count: int) -> None:
    """Put queued tasks into many lanes, as copies of one that was submitted."""
    task_id = system.client.submit({**BODY, "priority": -1}).id
    with system.database_client() as client:
        tasks = client["keruta"]["tasks"]
        model: Mapping[str, Any] = tasks.find_one({"_id": task_id}) or {}
        for first in range(0, count, BATCH):
            tasks.insert_many([_queued(model, number) for number in range(first, first + BATCH)], ordered=False)


def _queued(model: Mapping[str, Any], number: int) -> dict[str, Any]:
    lane = {**model["lane"], "submitter": f"person-{number % LANES}"}
    return {**model, "_id": new_id(), "lane": lane, "claim": lane, "submitter": lane["submitter"], "outbox": []}


async def measure(system: RunningSystem, workers: int, slots: int, count: int, queued: int) -> dict[str, Figure]:
    """Return the figures; those of lanes only if some are asked for."""
    figures: dict[str, Figure] = {}
    connector = aiohttp.TCPConnector(limit=64)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(120)) as http:
        scale = Scale(system, http)
        idle = await scale.cpu_while_waiting()
        await scale.start(workers, slots)
        await asyncio.sleep(2 + workers / 100)
        await scale.lives(max(50, count // 10))
        rates, ratios, costs = [], [], []
        for _ in range(3):
            loop = await asyncio.to_thread(bare, system, count)
            seconds, cpu = await scale.lives(count)
            rates.append(count / seconds)
            ratios.append(loop / seconds)
            costs.append(cpu / count * 1000)
            print(
                f"  {count} tasks: bare {count / loop:.0f} a second; "
                f"keruta {count / seconds:.0f}, {costs[-1]:.1f} ms CPU each"
            )
        figures["scale_per_second"] = median(rates, f"tasks a second, {workers} workers of {slots} slots")
        figures["scale_ratio"] = median(ratios, "bare loop's time / keruta's")
        figures["scale_cpu_ms"] = median(costs, "ms of CPU of all parts for each task")
        before = scale.agents.heartbeats
        used = await scale.cpu_while_waiting() - idle
        beats = max(1, scale.agents.heartbeats - before)
        figures["heartbeat_cpu_ms"] = median([used / beats * 1000], f"ms of CPU of all parts; {beats} heartbeats")
        if queued:
            scale.agents.begins = False
            await asyncio.to_thread(queue_up, system, queued)
            scale.agents.begins = True
            scale.agents.reports.clear()
            wanted = scale.agents.ended + count
            await scale.until(wanted)
            took = [seconds * 1000 for seconds in scale.agents.reports]
            figures["assignment_ms"] = Figure(
                value=percentile(took, 95), spread=(percentile(took, 50), max(took)), runs=len(took),
                unit=f"ms, p95 (p50 to most) of reports that end tasks and assign; {queued} queued in {LANES} lanes",
            )  # fmt: skip
        await scale.end()
    return figures


def main(arguments: Sequence[str]) -> None:
    workers, slots, count, queued = [*map(int, arguments), *(WORKERS, SLOTS, TASKS, QUEUED)[len(arguments) :]]
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="keruta-bench-") as directory:
        settings = {"KERUTA_WORKER_SLOTS": "0", "KERUTA_WORKER_DIR": f"{directory}/worker"}
        with RunningSystem(Path(directory) / "home", settings) as system:
            print(f"{os.cpu_count()} cores; ports {system.state.ports_in_use()}")
            figures = asyncio.run(measure(system, workers, slots, count, queued))
    for name, figure in figures.items():
        low, high = figure.spread
        print(f"{name:<20}{figure.value:>10.4g}  {low:.4g} to {high:.4g}  {figure.unit}")


if __name__ == "__main__":
    main(sys.argv[1:])
