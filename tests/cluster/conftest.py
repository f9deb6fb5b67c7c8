"""One real cluster for the run, and a private repository that its Pods reach."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import LAB, ROOT, Cluster, lab, private_repository, running_cluster
from tests.support.gates import Gate
from tests.support.gitservers import GitHttp

HERE = Path(__file__).parent
NEED_IMAGES = {"cluster", "stock"}  # fixtures
ORDER = ("test_admission.py", "test_trial.py")


@pytest.fixture(scope="session", autouse=True)
def images_in_the_background(request: pytest.FixtureRequest) -> Iterator[None]:
    """Images are built while the first tests, which need none, run; whoever needs them waits for their lock."""
    if not LAB.exists() or not any(NEED_IMAGES & set(item.fixturenames) for item in request.session.items):  # type: ignore[attr-defined]
        yield
        return
    command = [sys.executable, "-m", "tests.support.images"]
    building = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    try:
        yield
    finally:
        if building.poll() is None:
            os.killpg(building.pid, signal.SIGTERM)
        building.wait()
        if any(NEED_IMAGES & set(item.fixturenames) for item in request.session.items):  # type: ignore[attr-defined]
            lab("cluster", "down")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The overlay applied, and everything in it ready."""
    if not LAB.exists():
        pytest.skip("SKIPPED LOUDLY: no lab beside this checkout; set KERUTA_LAB to its command to try the cluster")
    with running_cluster(tmp_path_factory.mktemp("identity")) as made:
        yield made


@pytest.fixture(scope="session")
def private(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GitHttp, str]]:
    with private_repository(cluster, tmp_path_factory.mktemp("git")) as made:
        yield made


@pytest.fixture(scope="session")
def git_server(private: tuple[GitHttp, str]) -> GitHttp:
    return private[0]


@pytest.fixture(scope="session")
def repository(private: tuple[GitHttp, str]) -> str:
    """Its name in the catalog; its credential is a Secret of the cluster's."""
    return private[1]


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A server on the node's address that keeps scripts at work until it is opened."""
    with Gate() as made:
        yield made


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First what needs an API server alone, then the trial, which needs a cluster with nothing in it."""
    for item in items:
        if item.path.parent == HERE:  # what they share may take long to set up, and limits each of its steps itself
            item.add_marker(pytest.mark.timeout(900, func_only=True))
    items.sort(key=lambda item: ORDER.index(item.path.name) if item.path.name in ORDER else len(ORDER))
