"""Pods of Jobs on a real cluster: what a script finds in one, and what its profile asked for beside it."""

from __future__ import annotations

from tests.support.cluster import NODE, Cluster
from tests.support.expectations import script, table, untrue
from tests.support.gitservers import GitHttp
from tests.support.repositories import add_commit, git, make_repository

SERVER = "import http.server as h; h.HTTPServer(('127.0.0.1', 8000), h.SimpleHTTPRequestHandler).serve_forever()"
READY = "import urllib.request as r; r.urlopen('http://127.0.0.1:8000')"


def test_each_line_of_the_table_holds_in_a_pod(cluster: Cluster, repository: str) -> None:
    lines = table()
    task_id = cluster.submit(repository, script(lines))

    assert cluster.ended(task_id).status == "succeeded"

    assert untrue(lines, "pod", cluster.text(task_id)) == []


def test_a_service_is_ready_when_the_script_starts_and_a_broken_one_is_named(cluster: Cluster, repository: str) -> None:
    """Asked once, it answers. One that ends is told with its exit code; a Pod that is refused, by the policy."""
    service = {"image": "localhost/python:3.11", "directories": ["/srv"], "memory": "64Mi", "cpu": "50m"}
    runs = {
        "with-service": [{**service, "name": "web", "command": ["python3", "-c", SERVER],
                          "ready": ["python3", "-c", READY]}],
        "with-broken": [{**service, "name": "web", "command": ["sh", "-c", "exit 3"], "ready": ["true"],
                         "ready_seconds": 5}],
    }  # fmt: skip
    for name, services in runs.items():
        cluster.client.create("profile", {"name": name, "pod": {"services": services}})
    cluster.client.create("profile", {"name": "labelled", "pod": {"labels": {"team": "red"}}})
    names = ("with-service", "with-broken", "labelled")
    ids = {name: cluster.submit(repository, f'python3 -c "{READY}"', profile=name) for name in names}

    ends = {name: cluster.ended(task_id) for name, task_id in ids.items()}

    assert ends["with-service"].status == "succeeded", ends["with-service"].message
    assert ends["with-broken"].reason == "ServiceNotReady", ends["with-broken"]
    assert "web" in (ends["with-broken"].message or "")
    assert ends["labelled"].status == "failed"
    assert "KERUTA_JOB_LABELS" in (ends["labelled"].message or "")


def test_a_check_that_runs_out_of_memory_is_told_as_such(cluster: Cluster, repository: str) -> None:
    limits = {"limits": {"memory": "48Mi"}, "requests": {"memory": "32Mi"}}
    cluster.client.create("profile", {"name": "hungry", "resources": limits})
    hungry = "python3 -c 'x = bytearray(600 * 1024 * 1024); print(len(x))'"
    ended = cluster.ended(cluster.submit(repository, "true", check=hungry, profile="hungry"))

    assert (ended.reason, ended.exit_code) == ("OutOfMemory", 137)
    assert "check" in (ended.message or "")


def test_a_dependency_cache_is_stored_by_the_default_branch_and_only_read_by_another(
    cluster: Cluster, git_server: GitHttp
) -> None:
    """The first task stores, and the next one has it; another branch begins with it, and stores nothing of its own."""
    work = git_server.root / "cached.git.work"
    make_repository(git_server.root / "cached.git", {"lock": "one\n", ".gitignore": "/target/\n"})
    git(work, "checkout", "-q", "-b", "other")
    add_commit(work, {"lock": "two\n"}, "Another lock")
    git(work, "push", "-q", "origin", "other")
    where = {"name": "cached", "url": f"http://{NODE}:{git_server.port}/cached.git", "read_credential": "git"}
    cache = {"paths": ["~/.cache/tool", "target"], "key": ["lock"], "restore_keys": [""]}
    cluster.client.create("repository", {**where, "cache": [cache]})
    script = """
cat ~/.cache/tool/made target/made || echo nothing
mkdir -p ~/.cache/tool target; umask 077; ln -sf made ~/.cache/tool/link
echo "kept by $KERUTA_TASK" | tee ~/.cache/tool/made target/made
"""

    first = cluster.submit("cached", script)
    assert cluster.ended(first).status == "succeeded"
    second = cluster.submit("cached", script)
    other = cluster.client.submit({"repository": {"name": "cached", "ref": "other"}, "script": script}).id
    assert [cluster.ended(one).status for one in (second, other)] == ["succeeded", "succeeded"]

    said = {one: cluster.text(one).splitlines() for one in (first, second, other)}
    lines = {one: [line.partition(": ")[2] for line in said[one] if line.startswith("[keruta] cache")] for one in said}
    assert "nothing" in said[first]
    assert [line.split()[0] for line in lines[first]] == ["miss", "saved"], lines
    assert [line.split()[0] for line in lines[second]] == ["hit"], lines
    assert "restored from" in lines[other][0], lines
    assert lines[other][1] == "not saved: only tasks at the tip of the default branch save"
    for one in (second, other):
        assert said[one].count(f"kept by {first}") == 2
