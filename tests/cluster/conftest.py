"""One real cluster for the run, and a private repository that its Pods reach."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cluster import LAB, Cluster, private_repository, running_cluster
from tests.support.gitservers import GitHttp


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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The trial goes first: it needs a cluster with nothing in it, and the others share one until the end."""
    items.sort(key=lambda item: item.path.name != "test_trial.py")
