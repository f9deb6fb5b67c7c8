"""Checkouts of some directories of a repository, from real servers, and what is pushed of them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from keruta.adapters.git.credentials import Credential
from keruta.errors import PhaseError
from tests.support.gitservers import GitHttp, GitSsh
from tests.support.repositories import ENV, commit_on, git, make_repository
from tests.support.workspaces import Workspace

FILES = {
    "README.md": "# All\n",
    "services/Makefile": "all:\n",
    "services/api/a.txt": "a\n",
    "services/api/deep/b.txt": "b\n",
    "services/web/c.txt": "c\n",
    "libs/one/d.txt": "d\n",
    "日本 語/é.txt": "e\n",
    '"quoted" \\dir/*/f.txt': "f\n",
}
IN_API = {"README.md", "services/Makefile", "services/api/a.txt", "services/api/deep/b.txt"}
PUSHER = Credential(name="pusher", username="pusher", token="a-token")


@pytest.fixture
def served(tmp_path: Path) -> Path:
    make_repository(tmp_path / "a.git", FILES)
    git(tmp_path / "a.git", "config", "uploadpack.allowFilter", "true")
    return tmp_path / "a.git"


@pytest.fixture
def http(served: Path) -> Iterator[GitHttp]:
    with GitHttp(served.parent, {"pusher": ("a-token", True)}) as server:
        yield server


@pytest.fixture
def workspace(tmp_path: Path, http: GitHttp) -> Workspace:
    return Workspace(tmp_path / "attempt", http.url("a.git"), PUSHER)


def there(workspace: Workspace) -> set[str]:
    """The files that the workspace has."""
    found = (path.relative_to(workspace.path) for path in workspace.path.rglob("*") if path.is_file())
    return {str(path) for path in found if path.parts[0] != ".git"}


def missing(workspace: Workspace) -> int:
    """How many files' contents the repository lacks."""
    env = {**ENV, "GIT_NO_LAZY_FETCH": "1"}
    rows = subprocess.run(
        ["git", "rev-list", "--objects", "--missing=print", "HEAD"], cwd=workspace.path, env=env, capture_output=True,
        check=True,
    ).stdout.splitlines()  # fmt: skip
    return sum(row.startswith(b"?") for row in rows)


def test_only_the_directories_are_there(workspace: Workspace) -> None:
    """With the files beside and above them; the contents of all others were not transferred."""
    workspace.check_out(paths=("services/api",))

    assert there(workspace) == IN_API
    assert missing(workspace) == 4
    assert workspace.run("git status --porcelain") == ""
    assert workspace.run("git sparse-checkout list") == "services/api"
    assert workspace.run("git symbolic-ref HEAD") == "refs/heads/main"


@pytest.mark.parametrize(
    ("path", "file"),
    [("日本 語", "日本 語/é.txt"), ('"quoted" \\dir/*', '"quoted" \\dir/*/f.txt'), ("libs", "libs/one/d.txt")],
)
def test_a_directory_has_any_name(workspace: Workspace, path: str, file: str) -> None:
    """Patterns are none."""
    workspace.check_out(paths=(path,))

    assert there(workspace) == {"README.md", file}


def test_a_server_without_filters_sends_everything(workspace: Workspace, served: Path) -> None:
    """The workspace is the same."""
    git(served, "config", "uploadpack.allowFilter", "false")

    workspace.check_out(paths=("services/api",))

    assert there(workspace) == IN_API
    assert missing(workspace) == 0


def test_a_server_that_filters_and_gives_no_single_file_sends_everything(
    workspace: Workspace, http: GitHttp, served: Path
) -> None:
    """As one that knows the old protocol alone."""
    http.old_protocol = True
    git(served, "config", "uploadpack.allowReachableSHA1InWant", "false")

    workspace.check_out(paths=("services/api",))

    assert there(workspace) == IN_API
    assert missing(workspace) == 0
    assert workspace.run("git config --get-regexp 'promisor|partial' || true") == ""


def test_over_ssh(tmp_path: Path, served: Path) -> None:
    """As over http."""
    (tmp_path / "ssh").mkdir()
    with GitSsh(tmp_path / "ssh") as ssh:
        key = Credential(name="ssh", ssh_key=ssh.key, known_hosts=ssh.known_hosts)
        workspace = Workspace(tmp_path / "attempt", ssh.url(served), key)
        workspace.check_out(paths=("services/api", "libs/one"))

        assert there(workspace) == IN_API | {"libs/one/d.txt"}
        workspace.run("echo x > services/api/x")
        workspace.push()

    assert git(served, "diff", "--name-only", "main", "result") == "services/api/x"


def test_a_directory_that_is_not_there_is_nothing(workspace: Workspace) -> None:
    """As for Git: a profile's directories need not be in every repository."""
    workspace.check_out(paths=("services/api", "no/such"))

    assert there(workspace) == IN_API


def test_a_file_is_refused_with_what_to_write(workspace: Workspace) -> None:
    """Git would check out nothing of it without a word."""
    with pytest.raises(PhaseError) as refused:
        workspace.check_out(paths=("services/api/a.txt",))

    assert refused.value.reason == "CheckoutRefused"
    assert "services/api/a.txt is a file" in refused.value.message.text


def test_with_all_history(workspace: Workspace, served: Path) -> None:
    """Every commit is there, and the contents of the directories alone."""
    commit_on(served, "other", "theirs")

    workspace.check_out(paths=("services/api",), depth="full")

    assert workspace.run("git log --format=%s origin/other") == "theirs\nfirst"
    assert there(workspace) == IN_API


def test_a_server_that_fails_for_a_moment_is_asked_again(workspace: Workspace, http: GitHttp) -> None:
    """Also for the contents."""
    http.unavailable = 2

    workspace.check_out(paths=("services/api",))

    assert there(workspace) == IN_API


# ------------------------------------------------------------ what is pushed


SCRIPT = "echo more >> services/api/a.txt; git commit -qam one; rm services/api/deep/b.txt; echo new > services/api/new"
CHANGED = "services/api/a.txt\nservices/api/deep/b.txt\nservices/api/new"


def test_what_is_outside_stays_in_the_result(workspace: Workspace, served: Path) -> None:
    """The result differs from the base in what the script changed, and in nothing else."""
    workspace.check_out(paths=("services/api",))
    workspace.run(SCRIPT)

    workspace.push()

    assert git(served, "diff", "--name-only", "main", "result") == CHANGED
    assert git(served, "fsck", "--strict", "--no-dangling") == ""


def test_when_the_branch_has_moved_on_meanwhile(workspace: Workspace, served: Path) -> None:
    """The server is asked what it has; what is not in the workspace need not be sent."""
    workspace.check_out(paths=("services/api",))
    workspace.run(SCRIPT)
    commit_on(served, "main", "theirs")

    workspace.push()

    assert git(served, "diff", "--name-only", "main~1", "result") == CHANGED
    assert workspace.slept == []


def test_when_the_server_cannot_say_what_it_has(workspace: Workspace, served: Path, http: GitHttp) -> None:
    """Then the base commit is fetched whole, and sent with the result."""
    base = workspace.check_out(paths=("services/api",))
    workspace.run(SCRIPT)
    git(served, "config", "uploadpack.allowAnySHA1InWant", "true")
    commit_on(served, "main", "theirs")
    http.old_protocol = True

    workspace.push()

    assert git(served, "diff", "--name-only", base, "result") == CHANGED


def test_a_new_file_outside_is_pushed(workspace: Workspace, served: Path) -> None:
    """The script wrote it."""
    workspace.check_out(paths=("services/api",))
    workspace.run("mkdir -p libs/two; echo x > libs/two/x")

    workspace.push()

    assert git(served, "diff", "--name-only", "main", "result") == "libs/two/x"


def test_work_that_is_kept_applies(workspace: Workspace, served: Path, tmp_path: Path) -> None:
    """To a whole clone; also where a file was removed whose content was never here."""
    workspace.check_out(paths=("services/api",))
    workspace.run(SCRIPT + "; git rm -q --sparse --cached libs/one/d.txt")

    files = workspace.keep()

    assert [path.name for path in files] == ["result.bundle"]
    git(tmp_path, "clone", "-q", str(served), "clone")
    git(tmp_path / "clone", "fetch", "-q", str(files[0]), "result")
    assert git(tmp_path / "clone", "diff", "--name-only", "main", "FETCH_HEAD") == f"libs/one/d.txt\n{CHANGED}"


def test_large_files_of_the_directories_alone_are_fetched(tmp_path: Path, http: GitHttp) -> None:
    """Out of Git LFS, as they are checked out."""
    if shutil.which("git-lfs") is None:
        pytest.skip("SKIPPED LOUDLY: git-lfs is not installed")
    make_repository(tmp_path / "lfs.git", {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"})
    git(tmp_path / "lfs.git", "config", "uploadpack.allowFilter", "true")
    whole = Workspace(tmp_path / "whole", http.url("lfs.git"), PUSHER, lfs=True)
    whole.check_out()
    whole.run("mkdir a b; echo in-a > a/x.bin; echo in-b > b/x.bin")
    whole.push("both")
    before = http.lfs.downloads

    workspace = Workspace(tmp_path / "attempt", http.url("lfs.git"), PUSHER, lfs=True)
    workspace.check_out("both", paths=("a",))

    assert (workspace.path / "a" / "x.bin").read_text() == "in-a\n"
    assert not (workspace.path / "b").exists()
    assert http.lfs.downloads == before + 1
