"""receive_event alone: a webhook until its task is queued, beside a bare Flask view with one insert."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from datetime import UTC

import urllib3

from bench.creating import BARE, BARE_VIEW, Served, environment
from bench.figure import Figure, percentile
from bench.machine import Machine
from tests.support.system import RunningSystem, eventually

DELIVERIES = 100
PAUSE_SECONDS = 0.1  # each is queued before the next one comes
SECRET = "bench-secret"
QUEUE = {"name": "bench-waiting", "max_running": 0}


def measure(machine: Machine) -> dict[str, Figure]:
    machine.settle()
    queued = _until_queued(machine.system)
    bare = machine.directory / "bare-receiving.py"
    bare.write_text(BARE)
    served = Served(environment(machine), BARE_VIEW, bare)
    served.await_first()
    answered = [_took(served.post) for _ in range(DELIVERIES)]
    served.end()
    low, high = percentile(queued, 5), percentile(queued, 95)
    base = percentile(answered, 50)
    print(f"  receive: bare {base:.1f} ms, webhook to queued {percentile(queued, 50):.1f} ms")
    ratio = percentile(queued, 50) / base
    return {
        "webhook_ms": Figure(
            value=percentile(queued, 50), spread=(low, high), unit="ms, webhook sent to task queued, p50; p5 to p95",
            runs=len(queued),
        ),
        "webhook_ratio": Figure(
            value=ratio, spread=(ratio, ratio), unit="webhook to queued, p50 / a bare Flask view's answer, p50",
            runs=len(queued),
        ),
    }  # fmt: skip


def _took(post: object) -> float:
    assert callable(post)
    began = time.perf_counter()
    post()
    return (time.perf_counter() - began) * 1000


def _until_queued(system: RunningSystem) -> list[float]:
    """Send one push after the other; the database's clock says when each task was made."""
    client = system.client
    client.create("queue", QUEUE)
    client.create("repository", {"name": "bench-app", "url": "https://git.example.com/team/bench.git"})
    client.create("credential", {"name": "bench-signing", "type": "webhook_secret", "value": SECRET})
    client.create("trigger", {
        "name": "bench-push", "repository": "bench-app", "provider": "gitea", "webhook_secret": "bench-signing",
        "events": ["push"], "script": "true", "queue": QUEUE["name"],
    })  # fmt: skip
    http = urllib3.PoolManager(retries=False, timeout=10.0)
    sent: dict[str, float] = {}
    for number in range(DELIVERIES):
        commit = f"{number + 1:040x}"
        body = json.dumps({
            "ref": "refs/heads/main", "before": f"{number:040x}", "after": commit, "commits": [], "total_commits": 0,
            "repository": {"full_name": "team/bench"}, "sender": {"login": "dana"},
        }).encode()  # fmt: skip
        headers = {
            "Content-Type": "application/json", "X-Gitea-Event": "push", "X-Gitea-Delivery": f"bench-{number}",
            "X-Gitea-Signature": hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest(),
        }  # fmt: skip
        sent[commit] = time.time()
        address = f"{system.running.url}/events/v1/bench-push"
        assert http.request("POST", address, body=body, headers=headers).status == 202
        time.sleep(PAUSE_SECONDS)
    with system.database_client() as database:
        tasks = database["keruta"]["tasks"]
        made = {"origin.trigger": "bench-push"}
        eventually(lambda: tasks.count_documents(made) == DELIVERIES or None, 60, "every task")
        rows = list(tasks.find(made, ["origin.commit", "created_at"]))
    return [(row["created_at"].replace(tzinfo=UTC).timestamp() - sent[row["origin"]["commit"]]) * 1000 for row in rows]
