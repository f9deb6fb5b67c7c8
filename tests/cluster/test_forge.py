"""Refusals of a push that only a forge makes: protected branches, read-only deploy keys, missing rights; on a real
Gitea.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from keruta.adapters.git.credentials import Credential
from keruta.errors import PhaseError
from tests.support.gitea import Gitea, running_gitea
from tests.support.workspaces import Workspace


@pytest.fixture(scope="module")
def gitea(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gitea]:
    with running_gitea(tmp_path_factory.mktemp("forge")) as made:
        yield made


def workspace(tmp_path: Path, url: str, credential: Credential) -> Workspace:
    made = Workspace(tmp_path / "attempt", url, credential)
    made.check_out()
    made.run("echo new > new.txt")
    return made


def refused(made: Workspace, branch: str) -> PhaseError:
    with pytest.raises(PhaseError) as caught:
        made.push(branch)
    return caught.value


def test_a_result_is_pushed(gitea: Gitea, tmp_path: Path) -> None:
    """With a token, by a forge that checks what it gets."""
    pushed = workspace(tmp_path, gitea.repository, gitea.owner).push("results/one")

    assert gitea.call("GET", "/repos/lab/app/branches/results%2Fone")["commit"]["id"] == pushed.commit


def test_a_protected_branch_is_told(gitea: Gitea, tmp_path: Path) -> None:
    """In a sentence of its own, with the forge's words; it is not tried again."""
    made = workspace(tmp_path, gitea.repository, gitea.owner)

    error = refused(made, "release/1")

    assert (error.reason, error.message.code) == ("BranchRefused", "branch_protected"), error.message
    assert "release/1" in error.message.text
    assert made.slept == []


def test_a_reader_may_not_push(gitea: Gitea, tmp_path: Path) -> None:
    """The credential is refused, not the branch."""
    made = workspace(tmp_path, gitea.repository, gitea.person("reader", "read"))

    error = refused(made, "results/reader")

    assert error.reason == "PushRefused", error.message
    assert made.slept == []


def test_who_sees_no_repository_is_told_so(gitea: Gitea, tmp_path: Path) -> None:
    """A forge says of a private repository that it is not there."""
    stranger = gitea.person("stranger", None)

    with pytest.raises(PhaseError) as caught:
        workspace(tmp_path, gitea.repository, stranger)

    assert caught.value.reason in ("RepositoryNotFound", "CloneAuthFailed"), caught.value.message


def test_a_deploy_key_that_may_only_read(gitea: Gitea, tmp_path: Path) -> None:
    """The checkout works, and the push is refused as the credential's fault."""
    made = workspace(tmp_path, gitea.over_ssh, gitea.deploy_key(tmp_path, read_only=True))

    error = refused(made, "results/read-only")

    assert error.reason == "PushRefused", error.message
    assert made.slept == []


def test_a_deploy_key_that_may_write(gitea: Gitea, tmp_path: Path) -> None:
    """Checks out and pushes."""
    pushed = workspace(tmp_path, gitea.over_ssh, gitea.deploy_key(tmp_path, read_only=False)).push("results/key")

    assert gitea.call("GET", "/repos/lab/app/branches/results%2Fkey")["commit"]["id"] == pushed.commit


def test_directories_alone_out_of_a_forge(gitea: Gitea, tmp_path: Path) -> None:
    """The forge filters, so the contents of other files are not transferred; the result keeps them."""
    made = Workspace(tmp_path / "attempt", gitea.repository, gitea.owner)
    made.check_out(paths=("src",))
    assert (made.path / "src" / "a.txt").exists()
    made.run("echo more >> src/a.txt")

    pushed = made.push("results/paths")

    found = gitea.call("GET", f"/repos/lab/app/git/trees/{pushed.commit}?recursive=true")["tree"]
    assert {one["path"] for one in found} == {"README.md", "src", "src/a.txt"}
