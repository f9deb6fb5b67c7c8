"""A repository with one file of 420 MB, with the memory that an agent has by default."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.cluster import NODE, Cluster
from tests.support.gitservers import GitHttp
from tests.support.repositories import git, make_repository

MEBIBYTES = 400  # 420 MB


@pytest.mark.release  # making, fetching and pushing it takes some minutes
def test_one_large_file_is_checked_out_and_changed(cluster: Cluster, tmp_path: Path) -> None:
    """Fetched and pushed by Git with little memory: none of its processes has the file in memory whole."""
    make_repository(tmp_path / "large.git")
    work = tmp_path / "work"
    git(tmp_path, "clone", "-q", str(tmp_path / "large.git"), str(work))
    with (work / "large.bin").open("wb") as file:
        for _ in range(MEBIBYTES):
            file.write(os.urandom(1 << 20))
    git(work, "-c", "core.compression=0", "-c", "core.bigFileThreshold=1m", "add", "large.bin")
    git(work, "commit", "-q", "-m", "Add a large file")
    git(work, "push", "-q", "origin", "HEAD")
    with GitHttp(tmp_path, {"bot": ("t0ken", True)}, host=NODE) as server:
        cluster.apply(
            {
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keruta-job-large", "namespace": "keruta"},
                "stringData": {"token": "t0ken"},
            }
        )  # fmt: skip
        key = {"type": "token", "username": "bot", "kubernetes_secret": "keruta-job-large"}
        cluster.client.create("credential", {"name": "large", **key})
        url = f"http://{NODE}:{server.port}/large.git"
        access = {"read_credential": "large", "push_credential": "large"}
        cluster.client.create("repository", {"name": "large", "url": url, **access})
        script = "sha256sum large.bin; wc -c < large.bin; head -c 1000000 /dev/urandom >> large.bin; echo x > more.txt"
        task = cluster.ended(cluster.submit("large", script, result_branch="changed", timeout_seconds=900), 900)

        assert task.status == "succeeded", (task.reason, task.message, cluster.text(task.id))
        assert str(MEBIBYTES << 20) in cluster.text(task.id).splitlines()
        size = git(tmp_path / "large.git", "cat-file", "-s", "changed:large.bin")
        assert int(size) == (MEBIBYTES << 20) + 1_000_000
