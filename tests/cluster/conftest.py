"""One real cluster for the run: the lab's node, Knative and gateway, with the lab overlay applied."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from keruta.onemachine.state import State

ROOT = Path(__file__).parents[2]
LAB = Path(os.environ.get("KERUTA_LAB") or ROOT.parent / "shared" / "lab" / "lab")
NAMESPACE = "keruta"
GATEWAY = "http://10.244.0.1:8080"
HOST = "keruta.example.com"
MONGO_URL = "mongodb://mongodb-0.mongodb.keruta.svc.cluster.local:27017/?replicaSet=keruta"


class Cluster:
    """kubectl, and keruta through the gateway."""

    def __init__(self, state: State) -> None:
        self.state = state
        said = subprocess.run([str(LAB), "env"], capture_output=True, text=True, check=True).stdout
        exports = dict(pair.split("=", 1) for pair in shlex.split(said) if "=" in pair)
        self._env = {**os.environ, **exports, "PATH": exports["PATH"].replace("$PATH", os.environ["PATH"])}
        self.person = ""
        self._pool = urllib3.PoolManager(retries=False, timeout=30.0)

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        done = subprocess.run(
            ["kubectl", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env=self._env,
            cwd=ROOT,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", "-n", NAMESPACE, *arguments, "-o", "json"))

    def apply(self, *documents: dict[str, Any]) -> None:
        everything = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
        self.kubectl("apply", "--validate=strict", "-f", "-", stdin=json.dumps(everything))

    def ask(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> urllib3.BaseHTTPResponse:
        """One request through the gateway, as a client sends it."""
        headers = {"Host": HOST, "Authorization": f"Bearer {token or self.person}", "Content-Type": "application/json"}
        encoded = None if body is None else json.dumps(body).encode()
        return self._pool.request(method, GATEWAY + path, body=encoded, headers=headers)


def lab(*arguments: str) -> None:
    done = subprocess.run([str(LAB), *arguments], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def await_true(what: str, check: Any, seconds: float) -> Any:
    until = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < until, f"{what}: not within {seconds} s"
        time.sleep(0.5)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if not LAB.exists():
        pytest.skip("SKIPPED LOUDLY: no lab beside this checkout; set KERUTA_LAB to its command to try the cluster")
    state = State(root=tmp_path_factory.mktemp("identity"))
    state.make()
    person = state.write_identity()
    with open(os.environ.get("KERUTA_LAB_LOCK", os.devnull), "a") as lock:  # what builds it in the background
        fcntl.flock(lock, fcntl.LOCK_EX)
        lab("cluster", "up", "knative")
    for name in ("functions", "agent", "mongod"):
        tag = f"localhost/keruta-{name}:lab"
        lab(
            "image",
            "build",
            tag,
            "knative/Dockerfile",
            ".",
            "--build-arg",
            "BASE=localhost/python:3.11",
            "--target",
            name,
        )
        lab("image", "load", tag)
    made = Cluster(state)
    made.person = person
    try:
        made.kubectl("apply", "-f", "knative/base/namespace.yaml")
        made.apply(
            _secret("keruta-trusted-keys", {"trusted.json": (state.root / "keys/trusted.json").read_text()}),
            _secret("keruta-session-key", {"session.pem": (state.root / "keys/session.pem").read_text()}),
            _secret("keruta-mongo", {"KERUTA_MONGO_URL": MONGO_URL}),
        )
        made.kubectl("apply", "--validate=strict", "-k", "knative/overlays/lab")
        yield made
    finally:
        made.kubectl("delete", "-k", "knative/overlays/lab", "--ignore-not-found", "--wait=false", check=False)
        lab("cluster", "down")


def _secret(name: str, values: dict[str, str]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values}
