"""README's way to try keruta on a cluster, from nothing, with Knative's own settings, a real image registry, and
NetworkPolicies in force, as on kind and k3s.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import images
from tests.support.cluster import LAB, NAMESPACE, NODE, ROOT, Kubectl, eventually, is_up, knative_up, lab
from tests.support.gitservers import GitHttp
from tests.support.repositories import make_repository

REGISTRY = f"{NODE}:5000"
KNATIVE_DEFAULT = "kind.local,ko.local,dev.local"
TRIAL = "knative/overlays/.trial"
CONFIG = ("configmap", "-n", "knative-serving", "config-deployment")
SKIPPED = "registries-skipping-tag-resolving"


@pytest.fixture
def stock() -> Iterator[Kubectl]:
    """A cluster of this test's own, with Knative as its documentation installs it, and an image registry."""
    if not LAB.exists():
        pytest.skip("SKIPPED LOUDLY: no lab beside this checkout; set KERUTA_LAB to its command to try the trial")
    assert not is_up("kubelet"), "the trial needs a cluster with nothing in it, and comes before the others"
    knative_up()
    kubectl = Kubectl()
    before = json.loads(kubectl("get", *CONFIG, "-o", "json"))["data"][SKIPPED]
    try:
        lab("registry", "up")
        lab("netpol", "up")
        images.build()
        images.load()  # MongoDB's and the script's, which a cluster elsewhere has from their own registries
        kubectl("patch", *CONFIG, "--type=merge", "-p", json.dumps({"data": {SKIPPED: KNATIVE_DEFAULT}}))
        yield kubectl
    finally:
        lab("netpol", "down")
        lab("registry", "down")
        kubectl("patch", *CONFIG, "--type=merge", "-p", json.dumps({"data": {SKIPPED: before}}))
        remove(kubectl)


def remove(kubectl: Kubectl) -> None:
    """Take keruta off the cluster, at once and to the last object: the other tests go on with it."""
    kubectl("delete", "-k", TRIAL, "--ignore-not-found", "--wait=false", check=False)
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false")
    kubectl("delete", "pods", "-n", NAMESPACE, "--all", "--force", "--grace-period=0", "--wait=false", check=False)
    # The policies of `knative/persistent` stay: without any, an API server would stop to read Deployments for good.
    eventually("no namespace", lambda: not kubectl("get", "namespace", NAMESPACE, "--ignore-not-found"), 180)


# Runs in admin's Pod. A task whose script fails, so that its work is kept; every file of it is read again. Its Pod
# may reach nothing but keruta and, by the overlay, the Git server.
LEFT_BY_A_TASK = """
import hashlib, io, json, sys, time
from pathlib import Path
from keruta.client import Client

token = Path("/etc/keruta/sign-in/token").read_text()
reader = Client("http://localhost:8080", token)
reader.create("profile", {"name": "shut", "network": "closed"})
script = 'head -c 9000000 /dev/urandom >"$KERUTA_ARTIFACTS/large"; echo new >new.txt; exit 3'
task = {"repository": {"url": sys.argv[1]}, "script": script, "result_branch": "kept", "profile": "shut"}
task["retry"] = {"policy": "never"}
number = Client("http://create-task.keruta.svc.cluster.local", token).submit(task).id
until = time.monotonic() + 240
while (found := reader.task(number)).status not in ("succeeded", "failed", "cancelled") and time.monotonic() < until:
    time.sleep(1)
whole = {}
for one in found.artifacts:
    content = io.BytesIO()
    reader.artifact(number, one.path, content)
    whole[one.path] = hashlib.sha256(content.getvalue()).hexdigest() == one.sha256
print(json.dumps([found.status, found.reason, whole]))
"""


@pytest.mark.release  # three to six minutes: a registry, an installation and its removal
def test_one_command_ends_with_a_finished_task_and_a_code_to_sign_in(stock: Kubectl, tmp_path: Path) -> None:
    """`make cluster-trial`, then `keruta doctor --cluster`; what is missing afterwards is named."""
    make_repository(tmp_path / "app.git")
    with GitHttp(tmp_path, host=NODE) as server:
        settings = {
            "OVERLAY": "tests/cluster/trial",
            "REGISTRY": f"{REGISTRY}/",
            "INSECURE": "1",
            "BASE": images.BASE,
            "BUILD": images.BUILD,
            "MONGO": images.MONGOD,
            "REPOSITORY": f"http://{NODE}:{server.port}/app.git",
            "KERUTA": os.fspath(ROOT / ".venv" / "bin" / "keruta"),
        }
        done = subprocess.run(
            ["sh", "knative/trial.sh"], cwd=ROOT, env={**stock.env, **settings},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        in_admin = ("exec", "-i", "-n", NAMESPACE, "deployment/admin", "-c", "admin", "--", "python", "-")
        left = stock(*in_admin, settings["REPOSITORY"], stdin=LEFT_BY_A_TASK, check=False)
    print("\n".join(re.findall(r"^[0-9:]{8}  .*", done.stderr, re.MULTILINE)))  # how long each step took

    assert done.returncode == 0, done.stderr[-4000:]
    assert re.search(r"^task \w+ succeeded", done.stdout, re.MULTILINE), done.stdout
    assert re.search(r"sign in with the code \S+", done.stderr)
    assert _doctor(stock) == []

    # Results were uploaded: no Job mounts a volume claim, so one that a single node may write is enough anywhere.
    whole = dict.fromkeys(("large", "log.gz", "result.bundle", "result.patch"), True)
    assert json.loads(left) == ["failed", "ScriptFailed", whole]
    jobs = json.loads(stock("get", "jobs", "-n", NAMESPACE, "-o", "json"))["items"]
    assert len(jobs) == 2
    assert "persistentVolumeClaim" not in json.dumps(jobs)

    # Over to the server's side, by the step that the docs give; then nothing drifts, whoever of two managers applies.
    assert stock("diff", "-k", TRIAL) == ""
    step = (ROOT / "docs" / "operations.md").read_text().partition("### With GitOps")[2].partition("```console\n")[2]
    subprocess.run(["bash", "-euc", step.partition("```")[0]], env=stock.env, capture_output=True, check=True)
    for manager in ("one", "other", "one", "other"):
        stock("apply", "--server-side", "--force-conflicts", f"--field-manager={manager}", "-k", TRIAL)
    assert stock("diff", "--server-side", "--field-manager=one", "-k", TRIAL) == ""

    stock("delete", "secret", "-n", NAMESPACE, "keruta-session-key")
    assert any("keruta-session-key is missing" in one for one in _doctor(stock))


def _doctor(kubectl: Kubectl) -> list[str]:
    """Return what `keruta doctor --cluster` calls wrong."""
    command = [os.fspath(ROOT / ".venv" / "bin" / "keruta"), "doctor", "--cluster"]
    said = subprocess.run(command, cwd=ROOT, env=kubectl.env, capture_output=True, text=True, check=False)
    return [line for line in said.stdout.splitlines() if line.startswith("wrong")]
