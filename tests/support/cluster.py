"""A real cluster: the lab's node, Knative and gateway, with the lab overlay applied, as an operator would."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import psutil
import urllib3

from keruta.cli import secrets
from keruta.client import ApiError, Client
from keruta.domain.naming import new_id
from keruta.domain.task import TaskView
from keruta.local.state import State
from tests.support import images
from tests.support.gitservers import GitHttp
from tests.support.images import LAB, ROOT, locked
from tests.support.processes import command_lines, environment
from tests.support.repositories import make_repository
from tests.support.waiting import reached

NAMESPACE = "keruta"
NODE = "10.244.0.1"
BRIDGE_ADDRESS = "0a:58:0a:f4:00:01"  # local, and of no port
GATEWAY = f"http://{NODE}:8080"
HOST = "keruta.example.com"
GIT_TOKEN = "g1t-t0ken-of-the-cluster-tests"
ENDED = ("succeeded", "failed", "cancelled")
KILL = signal.SIGKILL
T = TypeVar("T")


class Kubectl:
    """The lab's kubectl."""

    def __init__(self) -> None:
        self.env = images.environment()

    def __call__(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        done = subprocess.run(
            ["kubectl", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env=self.env,
            cwd=ROOT,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout


class Cluster:
    """kubectl, and keruta through the gateway."""

    def __init__(self, state: State, person: str) -> None:
        self.state = state
        self.kubectl = Kubectl()
        self.client = Client(GATEWAY, person, host=HOST)
        self.person = person
        self.pool = urllib3.PoolManager(retries=False, timeout=30.0)

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", "-n", NAMESPACE, *arguments, "-o", "json"))

    def apply(self, *documents: dict[str, Any]) -> None:
        everything = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
        self.kubectl("apply", "--validate=strict", "-f", "-", stdin=json.dumps(everything))

    def tokens(self) -> list[dict[str, Any]]:
        """Return Secrets as an issuer would give them: its keys, and the worker's token; and a Git server's."""
        root = self.state.root
        return [
            secret("keruta-trusted-keys", {"trusted.json": (root / "keys/trusted.json").read_text()}),
            secret("keruta-worker-token", {"worker": (root / "tokens/worker").read_text()}),
            secret("keruta-job-git", {"token": GIT_TOKEN}),
        ]

    def bring_up(self) -> float:
        """The overlay is applied and everything in it ready; returns how many seconds that took."""
        began = time.monotonic()
        signed = json.dumps({"data": {"authentication-oidc": "enabled"}})  # deliveries, as docs/identity.md says
        self.kubectl("patch", "configmap", "-n", "knative-eventing", "config-features", "--type=merge", "-p", signed)
        self.kubectl("apply", "--validate=strict", "-k", "knative/overlays/lab")
        for kind in ("statefulset", "deployment", "ksvc", "broker", "trigger", "pingsource"):

            def ready(kind: str = kind) -> bool:
                items = self.get(kind)["items"]
                return bool(items) and all(map(is_ready, items))

            eventually(kind, ready, 240)
        return time.monotonic() - began

    @contextlib.contextmanager
    def workers(self, count: int) -> Iterator[None]:
        """So many workers, by hand; afterwards dispatch says how many again."""
        own = ["-n", NAMESPACE, "deployment", "worker"]
        self.kubectl("annotate", *own, "keruta.dev/pool=paused", "--overwrite")
        try:
            self.kubectl("scale", *own, f"--replicas={count}")
            eventually(
                "workers", lambda: self.get("deployment", "worker")["status"].get("readyReplicas", 0) == count, 180
            )
            yield
        finally:
            self.kubectl("annotate", *own, "keruta.dev/pool-")

    def submit(self, repository: str, script: str, **more: Any) -> str:
        where = {"name": repository} if "://" not in repository else {"url": repository}
        body = {"repository": where, "script": script, **more}
        key = new_id()  # one task, however often it is sent
        return eventually(
            "the submit", lambda: self._try(lambda: self.client.submit(body, idempotency_key=key).id), 120
        )

    def task(self, task_id: str) -> TaskView | None:
        """None while keruta is away."""
        return self._try(lambda: self.client.task(task_id))

    def reaches(self, task_id: str, *statuses: str, seconds: float = 180) -> TaskView:
        return reached(lambda: self.task(task_id), statuses, seconds=seconds, every_seconds=0.3)

    def ended(self, task_id: str, seconds: float = 240) -> TaskView:
        return self.reaches(task_id, *ENDED, seconds=seconds)

    def text(self, task_id: str) -> str:
        """A task's log as it is now, once keruta is there to give it."""

        def read() -> list[str] | None:
            return self._try(lambda: [b"".join(self.client.logs(task_id)).decode("utf-8", "replace")])

        return eventually("the log", read, 90)[0]

    def pod_of(self, task_id: str) -> str:
        """The name of the Pod that makes a task's attempt."""
        found = eventually("the Pod", lambda: self.get("pods", "-l", f"keruta.dev/task={task_id}")["items"], 120)
        return str(found[0]["metadata"]["name"])

    def agent_of(self, task_id: str) -> psutil.Process:
        """The agent's process beside a task's script; Pods run on this machine."""

        def find() -> psutil.Process | None:
            for process, line in command_lines():
                mine = environment(process).get("KERUTA_ATTEMPT", "").startswith(task_id)
                if mine and "agent" in line and Path(line[0]).name.startswith("python"):
                    return process
            return None

        return eventually("the agent", find, 60)

    @staticmethod
    def _try(ask: Callable[[], T]) -> T | None:
        try:
            return ask()
        except ApiError as error:
            if error.status in (0, 500, 502, 503, 504):
                return None
            raise


def lab(*arguments: str) -> None:
    """Runs the lab's command, after what builds the lab in the background.

    What is brought up may be asked for again, and is when it failed: a program that was just started, and is looked at
    before it runs, is taken for one that has ended.
    """
    for last in (False, True):
        with locked():
            done = subprocess.run([str(LAB), *arguments], capture_output=True, text=True, cwd=ROOT, check=False)
        if done.returncode == 0:
            return
        print(f"lab {' '.join(arguments)}: {done.stderr[-2000:]}")
        if "up" not in arguments or last:
            raise AssertionError(f"lab {' '.join(arguments)} failed: {done.stderr[-2000:]}")


def is_up(part: str) -> bool:
    """Return whether that part of the lab is up already, for other tests."""
    said = subprocess.run([str(LAB), "status"], capture_output=True, text=True, check=True).stdout
    return any(line.split()[:2] == [part, "up"] for line in said.splitlines())


def eventually(what: str, check: Callable[[], T | None], seconds: float) -> T:
    until = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < until, f"{what}: not within {seconds} s"
        time.sleep(0.3)


def is_ready(document: dict[str, Any]) -> bool:
    """Return whether a Knative resource, a Deployment or a StatefulSet is ready."""
    status = document.get("status", {})
    if document["kind"] in ("Deployment", "StatefulSet"):
        return bool(status.get("readyReplicas"))
    return any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))


def knative_up() -> None:
    """A cluster with Knative and a gateway; at once where it is up."""
    if not (is_up("kubelet") and is_up("gateway") and is_up("envoy")):
        lab("cluster", "up", "api")
        keep_bridge_address()
        lab("cluster", "up", "knative")


def keep_bridge_address() -> None:
    """Give the bridge of the node's Pods a hardware address of its own, before there are any.

    Without one it takes that of one of its ports, and another when a Pod comes or goes. Pods that know the old one do
    not reach the node until they have noticed: for up to a minute, which is longer than a task's lease.
    """
    show = ["ip", "-json", "address", "show", "to", NODE]
    for link in json.loads(subprocess.run(show, capture_output=True, check=True).stdout):
        subprocess.run(["ip", "link", "set", "dev", link["ifname"], "address", BRIDGE_ADDRESS], check=True)


@contextlib.contextmanager
def running_cluster(root: Path) -> Iterator[Cluster]:
    """The overlay applied, and everything in it ready; gone afterwards.

    Args:
        root: a directory for the keys and tokens.
    """
    state = State(root=root)
    state.make()
    person = state.write_identity()
    knative_up()
    images.build()
    if not images.are_loaded():
        images.load()
    made = Cluster(state, person)
    try:
        made.kubectl("apply", "-k", "knative/persistent")
        made.apply(*secrets.manifest(members=1, sign_in="provider")["items"], *made.tokens())
        print(f"applied and ready after {made.bring_up():.0f} s")
        yield made
    finally:
        made.kubectl("delete", "-k", "knative/overlays/lab", "--ignore-not-found", "--wait=false", check=False)
        lab("cluster", "down")


@contextlib.contextmanager
def gateway_running() -> Iterator[Kubectl]:
    """The lab's Gateway, without a node; left as it is if somebody else's tests have brought it up."""
    before = is_up("envoy")
    if not before:
        lab("cluster", "up", "gateway")
    try:
        yield Kubectl()
    finally:
        if not before:
            lab("cluster", "down")


def secret(name: str, values: dict[str, str]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values}


@contextlib.contextmanager
def private_repository(cluster: Cluster, root: Path) -> Iterator[tuple[GitHttp, str]]:
    """A private Git server on the node's own address, which Pods reach, and its repository's name in the catalog."""
    make_repository(root / "app.git")
    with GitHttp(root, {"bot": (GIT_TOKEN, True)}, host=NODE) as server:
        key = {"type": "token", "username": "bot", "kubernetes_secret": "keruta-job-git"}
        cluster.client.create("credential", {"name": "git", **key})
        url = f"http://{NODE}:{server.port}/app.git"
        cluster.client.create("repository", {"name": "app", "url": url, "read_credential": "git"})
        yield server, "app"
