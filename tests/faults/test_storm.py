"""A storm of deliveries while what takes them is killed: each event makes its task, once."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import urllib3
from pymongo.errors import PyMongoError

from tests.faults.load import ENVIRON
from tests.support.system import RunningSystem, eventually

pytestmark = [pytest.mark.release, pytest.mark.timeout(300)]

SECRET, EVENTS, SECONDS = "s" * 32, 500, 10.0


@pytest.fixture
def storm(tmp_path: Path, manifests: Path) -> Iterator[RunningSystem]:
    """A system with a trigger whose tasks wait in a queue that runs nothing."""
    with RunningSystem(tmp_path / "home", ENVIRON, manifests) as system:
        (tmp_path / "secret").write_text(SECRET)
        (tmp_path / "script").write_text("true")
        for command in (
            ("queues", "create", "waiting", "--max-running", "0"),
            ("repositories", "create", "app", "--url", "https://git.example.com/team/app.git"),
            ("credentials", "create", "sig", "--type", "webhook_secret", "--value-file", str(tmp_path / "secret")),
            ("triggers", "create", "storm", "--repository", "app", "--provider", "gitea", "--webhook-secret", "sig",
             "--events", "push", "--queue", "waiting", "--script-file", str(tmp_path / "script")),
        ):  # fmt: skip
            done = system.run(*command)
            assert done.returncode == 0, (command, done.stderr)
        yield system


def body_of(number: int) -> bytes:
    return json.dumps({
        "ref": "refs/heads/main", "before": f"{number:040x}", "after": f"{number + 1:040x}", "commits": [],
        "total_commits": 0, "repository": {"full_name": "team/app"}, "sender": {"login": "dana"},
    }).encode()  # fmt: skip


class Sender:
    """Sends each delivery again until it is answered with 202, as a patient forge does."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._http = urllib3.PoolManager(maxsize=40, retries=False, timeout=urllib3.Timeout(connect=2, read=10))
        self.began = time.monotonic()
        self.again = 0
        self._lock = threading.Lock()

    def send(self, place: int, number: int, delivery: str) -> None:
        time.sleep(max(0.0, self.began + SECONDS * place / (2 * EVENTS) - time.monotonic()))
        body = body_of(number)
        headers = {
            "Content-Type": "application/json", "X-Gitea-Event": "push", "X-Gitea-Delivery": delivery,
            "X-Gitea-Signature": hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest(),
        }  # fmt: skip
        end = time.monotonic() + 90
        while time.monotonic() < end:
            try:
                if self._http.request("POST", self._address, body=body, headers=headers).status == 202:
                    return
            except urllib3.exceptions.HTTPError:
                pass
            with self._lock:
                self.again += 1
            time.sleep(0.3)
        raise AssertionError(f"{delivery} was never answered with 202")


def test_each_event_of_a_storm_makes_its_task_once(storm: RunningSystem) -> None:
    """1,000 deliveries in 10 s: 500 events, each a second time, under the same id or another one.

    The standin is the gateway and the broker.
    """
    sender = Sender(f"{storm.running.url}/events/v1/storm")
    with ThreadPoolExecutor(40) as pool:
        sent = [
            pool.submit(
                sender.send, 2 * number + again, number, f"d{number}" + ("-again" if again and number % 2 else "")
            )
            for number in range(EVENTS)
            for again in (0, 1)
        ]
        for part in ("receive-event", "mongod", "standin", "dispatch", "receive-event", "mongod"):
            time.sleep(SECONDS / 7)
            storm.kill(part)
        for one in sent:
            one.result()
    assert sender.again > 0, "nothing was refused, so nothing was tried"

    def made() -> list[dict[str, Any]] | None:
        try:
            with storm.database_client() as client:
                if client["keruta"]["deliveries"].count_documents({"state": "received"}):
                    return None
                return list(client["keruta"]["tasks"].find({"origin.trigger": "storm"}, ["origin.commit", "status"]))
        except PyMongoError:
            return None

    tasks = eventually(made, 120, "every delivery to be processed", pause=1.0)

    commits = Counter(task["origin"]["commit"] for task in tasks)
    assert set(commits) == {f"{number + 1:040x}" for number in range(EVENTS)}
    assert [commit for commit, count in commits.items() if count > 1] == []
    with storm.database_client() as client:
        states = Counter(one["state"] for one in client["keruta"]["deliveries"].find({}, ["state"]))
    assert set(states) == {"started", "repeated"}
    assert states["started"] == EVENTS
