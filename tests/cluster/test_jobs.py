"""Tasks as Jobs of a real cluster: from the gateway to the shared volume, and every way to end."""

from __future__ import annotations

import io
import json
import subprocess
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.cluster import GATEWAY, HOST, NAMESPACE, NODE, Cluster, eventually
from tests.support.gates import Gate
from tests.support.gitservers import GitHttp
from tests.support.repositories import git


def profile(cluster: Cluster, name: str, **fields: Any) -> str:
    cluster.client.create("profile", {"name": name, **fields})
    return name


def test_a_private_repository_from_submit_to_artifact(
    cluster: Cluster, repository: str, git_server: GitHttp, gate: Gate
) -> None:
    """Run in a Job Pod, its log followed live, its results on the volume, its branch pushed."""
    cluster.client.create("document", {"name": "rules", "title": "Rules", "text": "be kind\n"})
    # It ends only after its first line has been seen.
    script = f"""
id -u; git log -1 --format=%H; cat "$KERUTA_DOCUMENTS/rules.md"
({gate.script()})
echo answer=42 >> "$KERUTA_OUTPUTS"; echo file > "$KERUTA_ARTIFACTS/file"; echo new > new.txt
"""
    began = time.monotonic()
    task_id = cluster.submit(repository, script, documents=["rules"], result_branch="out", timeout_seconds=180)
    answered = time.monotonic() - began
    seen: dict[str, float] = {}
    for event in cluster.client.follow(task_id):
        for line in event.text.splitlines():
            seen.setdefault(line, time.monotonic())
        if "line 0" in seen:
            gate.open()

    task = cluster.ended(task_id)

    assert task.status == "succeeded", task.message
    assert "10002" in seen
    assert "be kind" in seen
    assert "passed" in seen
    assert task.attempts[0].commit == git(git_server.root / "app.git", "rev-parse", "main")
    assert task.outputs == {"answer": "42"}
    content = io.BytesIO()
    cluster.client.artifact(task_id, "file", content)
    assert content.getvalue() == b"file\n"
    assert git(git_server.root / "app.git", "show", "out:new.txt") == "new"
    print(f"answered after {answered:.2f} s, first line after {seen['10002'] - began:.1f} s")


TOO_MUCH = "python3 -c 'x = bytearray(600 * 1024 * 1024); print(len(x))'"


@dataclass(frozen=True, kw_only=True)
class End:
    """A task and how it ends: its profile, its script, and what else it is submitted with."""

    profile: dict[str, Any] = field(default_factory=dict)
    script: str = "true"
    more: dict[str, Any] = field(default_factory=dict)
    repository: str | None = None
    reason: str
    code: int | None = None
    told: str = ""


SMALL = {"limits": {"memory": "48Mi"}, "requests": {"memory": "32Mi"}}
# Those that are waited for first: nothing happens until the cluster's patience with them ends.
ENDS = {
    "no-node": End(profile={"node_selector": {"disk": "none"}}, reason="Unschedulable"),
    "no-image": End(profile={"image": "localhost/no-such-image:1"}, reason="ImagePullFailed"),
    "no-secret": End(repository="lacking", reason="MountFailed", told='secret "keruta-job-missing" not found'),
    "no-quota": End(
        profile={"pod": {"priority_class": "no-quota"}}, reason="QuotaExceeded", told="exceeded quota"
    ),
    "no-shell": End(profile={"image": "localhost/no-shell:1"}, reason="ImageNotRunnable", told="/bin/sh"),
    "exits": End(script="echo last words; exit 3", reason="ScriptFailed", code=3),
    "hungry": End(
        profile={"resources": SMALL}, script=f"echo last words; {TOO_MUCH}", reason="OutOfMemory", code=137
    ),
    "late": End(script="echo last words; sleep 100", more={"timeout_seconds": 8}, reason="DeadlineExceeded"),
}  # fmt: skip


@pytest.fixture(scope="module")
def submitted(cluster: Cluster, repository: str, git_server: GitHttp) -> dict[str, str]:
    """Every one of `ENDS`, submitted at once, so that their waits go by together."""
    # Pods of this class, and no others, have no room.
    cluster.apply(
        {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "no-quota"}, "value": 1},
        {
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": NAMESPACE},
            "spec": {"hard": {"pods": "0"}, "scopeSelector": {"matchExpressions": [
                {"scopeName": "PriorityClass", "operator": "In", "values": ["no-quota"]}]}},
        },
    )  # fmt: skip
    key = {"type": "token", "username": "bot", "kubernetes_secret": "keruta-job-missing"}
    cluster.client.create("credential", {"name": "missing", **key})
    (git_server.root / "lacking.git").symlink_to("app.git")  # an address belongs to one entry
    url = f"http://{NODE}:{git_server.port}/lacking.git"
    cluster.client.create("repository", {"name": "lacking", "url": url, "read_credential": "missing"})
    eventually("the quota", lambda: cluster.get("resourcequota", "none").get("status", {}).get("used"), 60)
    return {
        name: cluster.submit(
            end.repository or repository, end.script, profile=profile(cluster, f"end-{name}", **end.profile),
            retry={"policy": "never"}, **end.more,
        )
        for name, end in ENDS.items()
    }  # fmt: skip


@pytest.mark.parametrize("name", list(reversed(ENDS)))
def test_each_end_has_its_reason_and_the_last_lines(cluster: Cluster, submitted: dict[str, str], name: str) -> None:
    """Told with the cluster's own sentence, within the patience setting; not after the task's whole limit."""
    end, task_id = ENDS[name], submitted[name]

    task = cluster.ended(task_id, 240)

    assert (task.status, task.reason) == ("failed", end.reason), task.message
    assert task.message
    assert end.told in task.message
    if end.code is not None:
        assert task.exit_code == end.code
    if "last words" in end.script:
        assert "last words\n" in cluster.text(task_id)
        assert "last words\n" in task.log.tail


PRIVATE_FILES = """
umask 077
mkdir -p "$KERUTA_ARTIFACTS/kept"; chmod 700 "$KERUTA_ARTIFACTS/kept"
t=$(mktemp); echo by-mktemp > "$t"; mv "$t" "$KERUTA_ARTIFACTS/kept/by-mktemp"
python3 -c '
import os, tempfile
kept = os.environ["KERUTA_ARTIFACTS"] + "/kept"
file = tempfile.NamedTemporaryFile("w", dir=kept, delete=False)
file.write("by-tempfile"); file.close()
os.replace(file.name, kept + "/by-tempfile")
open("private.txt", "w").write("private")
'
mkdir -m 700 private; echo deep > private/deep.txt
git add private.txt private; git -c user.name=a -c user.email=a@b commit -qm private
echo later > changed.txt
echo ready
"""


PRIVATE_ENDS: dict[str, tuple[str, dict[str, Any], str]] = {
    "normal": ("", {}, "succeeded"),
    "oom": (TOO_MUCH, {}, "failed"),
    "deadline": ("sleep 600", {"timeout_seconds": 15}, "failed"),
    "cancel": ("sleep 600", {}, "cancelled"),
}


@pytest.fixture(scope="module")
def private_files(cluster: Cluster, repository: str) -> dict[str, str]:
    """One task for each way to end, all of them at once."""
    small = {"limits": {"memory": "96Mi"}, "requests": {"memory": "32Mi"}}
    named = profile(cluster, "private", resources=small)
    return {
        end: cluster.submit(
            repository, PRIVATE_FILES + script, result_branch=f"private-{end}", retry={"policy": "never"},
            profile=named, **more,
        )
        for end, (script, more, _) in PRIVATE_ENDS.items()
    }  # fmt: skip


@pytest.mark.parametrize("end", PRIVATE_ENDS)
def test_private_files_are_kept_however_the_script_ends(
    cluster: Cluster, git_server: GitHttp, private_files: dict[str, str], end: str
) -> None:
    """Modes 0600 and 0700, by mktemp and mv, by tempfile and os.replace, by a commit under umask 077."""
    task_id = private_files[end]
    if end == "cancel":
        eventually("the script", lambda: "ready\n" in cluster.text(task_id), 120)
        cluster.client.cancel(task_id)

    task = cluster.ended(task_id, 180)

    assert task.status == PRIVATE_ENDS[end][2], (task.reason, task.message, cluster.text(task_id))
    work = set() if end == "normal" else {"result.bundle", "result.patch"}
    assert {artifact.path for artifact in task.artifacts} == {"kept/by-mktemp", "kept/by-tempfile", "log.gz"} | work
    if end == "normal":
        branch = [git(git_server.root / "app.git", "show", f"private-normal:{name}") for name in
                  ("private.txt", "private/deep.txt", "changed.txt")]  # fmt: skip
        assert branch == ["private", "deep", "later"]


def test_a_preparation_that_fails_leaves_no_pod_that_goes_on(cluster: Cluster, repository: str) -> None:
    """The sentence and the log stay with the task; the Pod holds nothing any more."""
    nowhere = {"name": repository, "ref": "no-such-branch"}
    task_id = cluster.client.submit({"repository": nowhere, "script": "true", "retry": {"policy": "never"}}).id

    task = cluster.ended(task_id)

    assert (task.status, task.reason) == ("failed", "RefNotFound")
    assert "RefNotFound" in cluster.text(task_id)
    phases = ("Succeeded", "Failed")
    eventually(
        "the Pod's end",
        lambda: all(
            pod["status"]["phase"] in phases for pod in cluster.get("pods", "-l", f"keruta.dev/task={task_id}")["items"]
        ),
        60,
    )


def test_a_pod_that_is_deleted_under_its_script(cluster: Cluster, repository: str) -> None:
    """Told as that, with what the script said last; not as the script's own failure."""
    task_id = cluster.submit(repository, "echo last words; sleep 100")
    eventually("the script", lambda: "last words\n" in cluster.text(task_id), 120)

    cluster.kubectl("delete", "pod", "-n", NAMESPACE, cluster.pod_of(task_id), "--wait=false")

    task = cluster.ended(task_id)
    assert (task.status, task.reason) == ("failed", "PodDeleted"), task.message
    assert "last words\n" in cluster.text(task_id)


def test_a_cancel_ends_the_script_and_leaves_no_job_at_work(cluster: Cluster, repository: str) -> None:
    running = cluster.submit(repository, "trap 'echo told; exit 0' TERM; echo ready; while :; do sleep 0.2; done")
    stuck = cluster.submit(repository, "true", profile=profile(cluster, "nowhere", node_selector={"a": "b"}))
    eventually("the script", lambda: "ready\n" in cluster.text(running), 120)
    eventually("its Job", lambda: cluster.get("jobs", "-l", f"keruta.dev/task={stuck}")["items"], 90)

    began = time.monotonic()
    for task_id in (running, stuck):
        cluster.client.cancel(task_id)

    assert cluster.ended(stuck).status == "cancelled"
    assert cluster.ended(running).status in ("cancelled", "succeeded")
    assert "told" in cluster.text(running)
    assert time.monotonic() - began < 45  # less than its Pod's grace
    eventually("no Job", lambda: not cluster.get("jobs", "-l", f"keruta.dev/task={stuck}")["items"], 90)


HOSTILE = r"""
try() { echo "$1: $(eval "$2" 2>&1 | head -c 300 | tr '\n' ' ')"; }
try uid 'id -u'
try service-account 'cat /var/run/secrets/kubernetes.io/serviceaccount/token'
try root-file-system 'touch /etc/x /usr/x'
try attempt-token 'cat /token/token /agent/* /proc/*/environ | tr "\0" "\n" | grep -a eyJ'
try credential 'ls /credentials; cat /credentials/*/*'
try cache 'ls /shared/cache; touch /shared/cache/x'
try results 'ls /results; touch /results/x'
try api-server 'python3 -c "
import ssl, urllib.request
c = ssl._create_unverified_context()
print(urllib.request.urlopen(\"https://10.96.0.1/api/v1/namespaces/keruta/secrets\", context=c, timeout=5).status)"'
try become-root 'su -c id; sudo id; python3 -c "import os; os.setuid(0)"'
cd /job/control
try replace-log 'mv output o2; rm -f output; ln -s /token/token output'
cd "$KERUTA_WORKSPACE"
try replace-control 'mv /job/control /job/c2; mv /job/artifacts /job/a2; mv /job/workspace /job/w2'
try write-documents 'touch /job/documents/x; chmod 777 /job/documents'
try write-given 'echo exit 0 >/job/given/script; touch /job/given/check'
ln -s /token/token "$KERUTA_ARTIFACTS/stolen-token"
ln /job/control/output "$KERUTA_ARTIFACTS/hard-link" 2>/dev/null
ln -s /agent "$KERUTA_ARTIFACTS/agent"
mkfifo "$KERUTA_ARTIFACTS/pipe"
rm -f "$KERUTA_OUTPUTS" 2>/dev/null; ln -s /token/token "$KERUTA_OUTPUTS" 2>/dev/null
mkdir -p .git/hooks; printf '#!/bin/sh\ncp /token/token /job/artifacts/\n' > .git/hooks/pre-push
chmod +x .git/hooks/pre-push
git config core.sshCommand 'cp /token/token /job/artifacts/by-ssh;'
git config core.fsmonitor 'cp /token/token /job/artifacts/by-monitor;'
git config credential.helper '!cp /token/token /job/artifacts/by-helper;'
git config url."http://10.244.0.1:1/".insteadOf "http://10.244.0.1"
echo hostile > hostile.txt
echo done
"""


def test_a_hostile_script_gets_nothing(cluster: Cluster, repository: str, git_server: GitHttp) -> None:
    """All that it tries fails; what it leaves behind runs nothing in the agent and takes nothing of the agent's."""
    task_id = cluster.submit(repository, HOSTILE, result_branch="hostile")

    task = cluster.ended(task_id)

    text = cluster.text(task_id)
    said = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line and not line.startswith("["))
    assert task.status == "succeeded", (task.reason, task.message, text)
    assert said["uid"].strip() == "10002"
    for what in ("service-account", "credential", "cache", "results"):
        assert "No such file" in said[what], (what, said[what])
    assert "Read-only" in said["root-file-system"] or "denied" in said["root-file-system"]
    assert "eyJ" not in text
    assert "200" not in said["api-server"], said["api-server"]
    assert "uid=0" not in said["become-root"]
    assert any(word in said["replace-control"] for word in ("not permitted", "denied", "busy", "Read-only"))
    assert "done" in text.splitlines(), "a log whose name was taken away goes on"
    assert "Read-only" in said["write-documents"]
    assert "Read-only" in said["write-given"]
    assert [artifact.path for artifact in task.artifacts] == ["log.gz"]
    assert task.outputs == {}
    assert git(git_server.root / "app.git", "show", "hostile:hostile.txt") == "hostile"


def test_a_secret_that_is_not_a_jobs_is_not_mounted(cluster: Cluster) -> None:
    """Neither by a credential's name, nor by a Job that a worker's account would make."""
    with pytest.raises(Exception, match="keruta-job-"):
        cluster.client.create(
            "credential",
            {"name": "thief", "type": "token", "username": "x", "kubernetes_secret": "keruta-session-key"},
        )
    pod = {
        "restartPolicy": "Never", "serviceAccountName": "keruta-job", "automountServiceAccountToken": False,
        "containers": [{"name": "script", "image": "x"}],
        "volumes": [{"name": "s", "secret": {"secretName": "keruta-session-key"}}],
    }  # fmt: skip
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "thief", "namespace": NAMESPACE}}
    job["spec"] = {"template": {"spec": pod}}
    account = f"--as=system:serviceaccount:{NAMESPACE}:keruta-worker"

    refused = eventually("the policy", lambda: _refusal(cluster, account, job), 90)

    assert "denied request" in refused  # by which rule: see test_admission
    rights = ("get secrets", "list secrets", "create pods", "get configmaps", "create pods/exec", "patch deployments")
    for right in rights:
        verb, what = right.split()
        assert cluster.kubectl("auth", "can-i", verb, what, "-n", NAMESPACE, account, check=False).strip() == "no", what


def _refusal(cluster: Cluster, account: str, job: dict[str, Any]) -> str | None:
    """Return the API server's refusal of that account; None while the policy is not in force yet."""
    done = subprocess.run(
        ["kubectl", "create", "--dry-run=server", account, "-f", "-"],
        input=json.dumps(job), capture_output=True, text=True, env=cluster.kubectl.env, check=False,
    )  # fmt: skip
    return done.stderr if done.returncode else None


def test_a_token_of_another_attempt_opens_nothing(cluster: Cluster, repository: str, gate: Gate) -> None:
    """The attempt's token that a Pod's agent has speaks for that attempt alone."""
    first, second = (cluster.submit(repository, gate.script()) for _ in range(2))
    for task_id in (first, second):
        cluster.reaches(task_id, "running")
    name = f"keruta-job-{first}-1"
    token = cluster.kubectl("get", "secret", "-n", NAMESPACE, name, "-o", "go-template={{.data.token | base64decode}}")
    headers = {"Host": HOST, "Authorization": f"Bearer {token}"}

    own = cluster.pool.request("GET", f"{GATEWAY}/agent/v1/tasks/{first}/attempts/1", headers=headers)
    other = cluster.pool.request("GET", f"{GATEWAY}/agent/v1/tasks/{second}/attempts/1", headers=headers)
    person = cluster.pool.request("GET", f"{GATEWAY}/api/v1/tasks", headers=headers)

    assert (own.status, other.status, person.status) == (200, 403, 401)
    gate.open()
    assert {cluster.ended(task_id).status for task_id in (first, second)} == {"succeeded"}


def test_finished_jobs_leave_no_token_behind(cluster: Cluster, repository: str) -> None:
    """A token's Secret goes with its Job."""
    task_id = cluster.submit(repository, "true")
    cluster.ended(task_id)

    cluster.kubectl("delete", "job", "-n", NAMESPACE, f"{task_id}-1", "--wait=false")

    name = f"keruta-job-{task_id}-1"
    eventually("its end", lambda: not cluster.kubectl("get", "secret", "-n", NAMESPACE, name, "--ignore-not-found"), 60)
