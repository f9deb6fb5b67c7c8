"""The web admin: pages over a million tasks, a hundred followers of one log, and as many open tails as it allows."""

from __future__ import annotations

import re
import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from urllib.parse import urlencode, urlsplit

import psutil
import pymongo
import pytest
import urllib3

from bench.figure import Figure, percentile
from bench.machine import Machine
from keruta.domain.naming import new_id
from tests.support.browser import Reader, chromium, running_browser
from tests.support.world import closed

TASKS = 1_000_000
ASKED = 80
FOLLOWERS, TAILS = 100, 360  # of 400 for each process
OF_ONE_PERSON = 15  # of 20
PAGES = {
    "overview": "/", "list": "/tasks", "failed": "/tasks?status=failed", "words": "/tasks?q=alpha",
    "task": "/tasks/{id}", "repository": "/repositories/alpha/activity", "queue": "/queues/default/activity",
    "worker": "/workers/this-machine", "needs you": "/needs-you",
}  # fmt: skip


def measure(machine: Machine) -> dict[str, Figure]:
    _run_one(machine)
    cookie = _signed_in(machine)
    figures = _tails(machine)
    figures |= _first_page(machine)
    shown = _fill(machine)
    figures |= _pages(machine, cookie, shown)
    return figures


def _run_one(machine: Machine) -> None:
    """Run a task on a repository of the catalog."""
    machine.system.client.create("repository", {"name": "alpha", "url": machine.repository})
    body = {"repository": {"name": "alpha"}, "script": "echo alpha", "name": "alpha one"}
    machine.system.ended(machine.system.client.submit(body).id)


def _signed_in(machine: Machine) -> str:
    """The session's cookie of this machine's person."""
    url, code = machine.system.running.url, machine.system.state.sign_in_code_file.read_text().strip()
    form = urlencode({"code": code, "next": "/"})
    headers = {"Origin": url, "Content-Type": "application/x-www-form-urlencoded"}
    answer = urllib3.request("POST", f"{url}/auth/code", body=form, headers=headers, redirect=False)
    found = re.search(r"keruta-session=[^;]+", answer.headers.get("Set-Cookie", ""))
    assert found is not None, answer.status
    return found[0]


# ---------------------------------------------------------------- many tasks


def _fill(machine: Machine) -> str:
    """Copies of one real task, a hundredth of them failed; returns the identity of one."""
    with machine.system.database_client() as client:
        tasks = client["keruta"]["tasks"].with_options(write_concern=pymongo.WriteConcern(w=1))
        model = tasks.find_one({"name": "alpha one", "status": "succeeded"})
        assert model is not None
        model = closed(model)
        last = ""
        for _ in range(TASKS // 10_000):
            rows = [{**model, "_id": new_id(), "status": "succeeded" if n % 100 else "failed"} for n in range(10_000)]
            tasks.insert_many(rows, ordered=False)
            last = rows[0]["_id"]
        return str(last)


def _pages(machine: Machine, cookie: str, shown: str) -> dict[str, Figure]:
    """Time each page from the request to the whole answer, on loopback; the worst page is the figure."""
    machine.settle()
    pool = urllib3.PoolManager()
    found = {}
    for name, path in PAGES.items():
        took = []
        for _ in range(ASKED):
            began = time.perf_counter()
            answer = pool.request(
                "GET", machine.system.running.url + path.format(id=shown), headers={"Cookie": cookie}, redirect=False
            )
            took.append((time.perf_counter() - began) * 1000)
            assert answer.status == 200, (path, answer.status)
        found[name] = took
        print(f"  page {name}: p50 {percentile(took, 50):.1f} ms, p95 {percentile(took, 95):.1f} ms", flush=True)
    worst = max(found.values(), key=lambda took: percentile(took, 95))
    spread = (min(percentile(took, 50) for took in found.values()), max(max(took) for took in found.values()))
    said = f"ms, p95 of the worst of {len(PAGES)} pages, {TASKS:,} tasks; least p50 to slowest"
    return {"page_ms": Figure(value=percentile(worst, 95), spread=spread, unit=said, runs=ASKED)}


# ---------------------------------------------------------------- open tails


@contextmanager
def _open(machine: Machine, task: str, count: int) -> Iterator[list[socket.socket]]:
    """Open so many streams of a task's log, each on a connection of its own, for several people."""
    where = urlsplit(machine.system.running.url)
    issuer = machine.system.state.issuer()
    sockets = []
    try:
        for first in range(0, count, OF_ONE_PERSON):
            token = issuer.issue(f"reader-{first}-of-{count}", ["admin"], lifetime=timedelta(hours=1))
            request = (
                f"GET /api/v1/tasks/{task}/logs HTTP/1.1\r\nHost: {where.netloc}\r\n"
                f"Authorization: Bearer {token}\r\nAccept: text/event-stream\r\n\r\n"
            )
            for _ in range(min(OF_ONE_PERSON, count - first)):
                opened = socket.create_connection((where.hostname, where.port), timeout=30)
                opened.sendall(request.encode())
                sockets.append(opened)
        for opened in sockets:
            head = opened.recv(4096)
            assert b" 200 " in head, head[:200]
        yield sockets
    finally:
        for opened in sockets:
            opened.close()


def _tails(machine: Machine) -> dict[str, Figure]:
    script = "for i in $(seq 240); do echo at $(date +%s%N); sleep 0.25; done"
    task = machine.system.submit(machine.repository, script)
    machine.system.reaches(task, "running")
    before = _memory(machine)
    with _open(machine, task, FOLLOWERS) as sockets:
        delays = _delays(sockets, 15)
    time.sleep(2)  # until those are known to be closed
    with _open(machine, task, TAILS) as sockets:
        time.sleep(2)
        after = _memory(machine)
        many = _delays(sockets, 8)
        pool = urllib3.PoolManager()
        took = []
        for _ in range(20):
            began = time.perf_counter()
            assert pool.request("GET", f"{machine.system.running.url}/healthz").status == 200
            took.append((time.perf_counter() - began) * 1000)
    machine.system.client.cancel(task)
    others, asked = percentile(many, 95), percentile(took, 95)
    print(f"  with {TAILS} tails: delay p95 {others:.0f} ms, another request p95 {asked:.0f} ms", flush=True)
    each = (after - before) / TAILS / 1024
    low, high = percentile(delays, 50), max(delays)
    return {
        "followers_delay_ms": Figure(
            value=percentile(delays, 95), spread=(low, high), runs=len(delays),
            unit=f"ms, p95, line written to line at {FOLLOWERS} followers; p50 to slowest",
        ),
        "tail_kib": Figure(value=each, spread=(each, each), runs=TAILS, unit="KiB of memory for each open tail"),
    }  # fmt: skip


def _memory(machine: Machine) -> int:
    """Return the memory of admin's processes, in bytes."""
    main = psutil.Process(machine.system.pid_of("admin"))
    return sum(process.memory_info().rss for process in (main, *main.children(recursive=True)))


def _delays(sockets: list[socket.socket], seconds: float) -> list[float]:
    """Return the delay of every new line at every follower, in ms."""
    selector = selectors.DefaultSelector()
    for opened in sockets:
        opened.setblocking(False)
        selector.register(opened, selectors.EVENT_READ)
    begun, found = time.time_ns(), []
    while time.time_ns() - begun < seconds * 1e9:
        for key, _ in selector.select(0.5):
            block = key.fileobj.recv(1 << 20)  # type: ignore[union-attr]
            now = time.time_ns()
            found += [(now - int(at)) / 1e6 for at in re.findall(rb"at (\d{19})", block) if int(at) > begun]
    return found


# ---------------------------------------------------------------- the first page


def _first_page(machine: Machine) -> dict[str, Figure]:
    """Measure the first page on a cold cache: bytes over the wire, and the time until it can be used."""
    try:
        chromium()
    except pytest.skip.Exception as skipped:
        print(f"  first page not measured: {skipped}", flush=True)
        return {}
    took, sizes = [], []
    with running_browser() as browser:
        code = machine.system.state.sign_in_code_file.read_text().strip()
        for _ in range(5):
            reader = Reader(browser, machine.system.running.url)
            reader.sign_in(code)
            state = reader.context.storage_state()
            reader.close()
            fresh = Reader(browser, machine.system.running.url, storage_state=state)
            fresh.open("/tasks")
            timing = fresh.page.evaluate(
                "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
                ".map(one => [one.transferSize, one.responseEnd])"
            )
            sizes.append(sum(size for size, _ in timing) / 1000)
            took.append(fresh.page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"))
            fresh.close()
    return {
        "first_page_kb": Figure(
            value=max(sizes), spread=(min(sizes), max(sizes)), unit="kB over the wire, all of it", runs=len(sizes)
        ),
        "first_page_ms": Figure(
            value=percentile(took, 50),
            spread=(min(took), max(took)),
            unit="ms until it can be used, p50",
            runs=len(took),
        ),
    }
