"""Checkout and push against real Git servers, over http with a token and over ssh."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from agent.attempt.checkout import checkout
from agent.attempt.clone_cache import CloneCache
from keruta.adapters.git.command import Git, Stopped, TimedOut
from keruta.adapters.git.credentials import Credential, environment
from keruta.adapters.git.faults import TransientError
from keruta.adapters.git.remote import Ask, Resolved
from keruta.domain.repository import DEFAULT_TRANSPORTS, Depth
from keruta.domain.task import RepositoryRef
from keruta.errors import PhaseError
from tests.support.gitservers import GitHttp, GitSsh
from tests.support.lfs import LfsStore
from tests.support.processes import command_lines
from tests.support.processes import environment as environment_of
from tests.support.repositories import add_commit, git, make_repository
from tests.support.serving import Quiet, Serving
from tests.support.workspaces import Workspace

TOKEN = "s3cr3t-t0ken-of-the-test"


class Place:
    """A place to check out in."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.stop = threading.Event()
        self.number = 0
        self.workspace = root / "none"

    def checkout(
        self,
        url: str,
        credential: Credential | None = None,
        *,
        lfs: bool = False,
        stall_seconds: int = 60,
        ref: str | None = None,
        submodules: bool = False,
        depth: Depth = 1,
        tags: bool = False,
        allowed_refs: Sequence[str] = (),
        transports: frozenset[str] = DEFAULT_TRANSPORTS,
        cache: CloneCache | None = None,
        paths: Sequence[str] = (),
        seconds: float = 60,
    ) -> str:
        self.number += 1
        self.workspace = self.root / f"w{self.number}"
        deadline = time.monotonic() + seconds
        with environment(
            credential, self.root / f"private{self.number}", url=url, transports=transports, own=False,
            stall_seconds=stall_seconds,
        ) as env:  # fmt: skip
            return checkout(
                RepositoryRef(url=url, ref=ref, submodules=submodules, depth=depth, tags=tags, paths=list(paths)),
                self.workspace,
                lambda directory: Git(directory, env, self.stop, deadline),
                transports=transports,
                cache=cache,
                lfs=lfs,
                allowed_refs=allowed_refs,
                stop=self.stop,
            )

    def push(self, url: str, credential: Credential | None, base: str, branch: str = "result") -> str:
        made = Workspace(self.root / f"push{self.number}", url, credential)
        made.path, made.base, made.stop = self.workspace, base, self.stop
        return made.push(branch).commit


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two tries."""
    from agent.attempt import checkout as module

    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path / "place")
    made.root.mkdir()
    yield made
    assert not list(made.root.rglob("private*")), "a file with a secret stayed"
    for path in made.root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert TOKEN.encode() not in path.read_bytes(), path


@pytest.fixture
def http(tmp_path: Path) -> Iterator[GitHttp]:
    root = tmp_path / "git"
    root.mkdir()
    with GitHttp(root, {"reader": (TOKEN, False), "pusher": (TOKEN + "p", True)}) as server:
        yield server


def reader(server: GitHttp, token: str = TOKEN) -> Credential:
    revision = 1 if token == TOKEN else 2  # another value is another revision
    return Credential(name=f"reader@{revision}", username="reader", token=token)


def reason_of(call: object, *args: object, **kwargs: object) -> PhaseError:
    with pytest.raises(PhaseError) as caught:
        call(*args, **kwargs)  # type: ignore[operator]
    assert TOKEN not in str(caught.value)
    return caught.value


def test_a_private_repository_over_http(place: Place, http: GitHttp) -> None:
    """The exact commit, shallow, and no credential in the workspace."""
    commit = make_repository(http.root / "a.git")

    assert place.checkout(http.url("a.git"), reader(http)) == commit

    assert (place.workspace / "README.md").read_text() == "# A repository\n"
    assert git(place.workspace, "rev-list", "--count", "HEAD") == "1"
    assert git(place.workspace, "status", "--porcelain") == ""
    assert git(place.workspace, "remote", "get-url", "origin") == http.url("a.git")


@pytest.mark.parametrize("kind", ["branch", "tag", "annotated", "full", "commit"])
def test_every_way_to_name_a_commit(place: Place, http: GitHttp, kind: str) -> None:
    make_repository(http.root / "a.git")
    work = http.root / "a.git.work"
    git(work, "checkout", "-q", "-b", "feature/x")
    commit = add_commit(work, {"b": "b"}, "second")
    git(work, "tag", "v1")
    git(work, "tag", "-a", "v1-annotated", "-m", "a tag")
    git(work, "push", "-q", "--all")
    git(work, "push", "-q", "--tags")
    names = {"branch": "feature/x", "tag": "v1", "annotated": "v1-annotated", "full": "refs/heads/feature/x"}

    assert place.checkout(http.url("a.git"), reader(http), ref=names.get(kind, commit)) == commit
    assert (place.workspace / "b").exists()


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("wrong token", "CloneAuthFailed"),
        ("no token", "CloneAuthFailed"),
        ("no such repository", "RepositoryNotFound"),
        ("no such ref", "RefNotFound"),
        ("no such commit", "RefNotFound"),
        ("empty", "RepositoryEmpty"),
        ("server away", "CloneFailed"),
    ],
)
def test_each_way_to_fail_has_its_reason(place: Place, http: GitHttp, what: str, reason: str) -> None:
    """A stable word, and a sentence that holds no secret."""
    make_repository(http.root / "a.git")
    git(http.root, "init", "-q", "--bare", "empty.git")
    url, credential, ref = http.url("a.git"), reader(http), None
    if what == "wrong token":
        credential = reader(http, "wrong-token")
    elif what == "no such repository":
        url = http.url("none.git")
    elif what == "no such ref":
        ref = "none"
    elif what == "no such commit":
        ref = "0" * 39 + "1"
    elif what == "empty":
        url = http.url("empty.git")
    elif what == "server away":
        http.away = True

    error = reason_of(place.checkout, url, None if what == "no token" else credential, ref=ref)

    assert error.reason == reason
    assert error.message.text.endswith((".", "server"))


def test_a_ref_that_moves_between_the_question_and_the_fetch(
    place: Place, http: GitHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit that was resolved is the commit that is checked out, even when the branch is elsewhere by then."""
    from agent.attempt import checkout as module

    first = make_repository(http.root / "a.git")
    work = http.root / "a.git.work"
    resolve = module.resolve

    def resolve_then_move(repository: RepositoryRef, git_: Git, ask: Ask | None = None) -> Resolved:
        commit = resolve(repository, git_, ask)
        add_commit(work, {"later": "later"}, "later")
        git(work, "push", "-q", "origin", "main")
        return commit

    monkeypatch.setattr(module, "resolve", resolve_then_move)

    assert place.checkout(http.url("a.git"), reader(http), ref="main") == first
    assert not (place.workspace / "later").exists()


def test_a_server_that_is_away_for_a_moment_is_asked_again(place: Place, http: GitHttp) -> None:
    """Twice unavailable, and the checkout goes on; three times, and it fails with a reason that is tried again."""
    commit = make_repository(http.root / "a.git")
    http.unavailable = 2

    assert place.checkout(http.url("a.git"), reader(http)) == commit

    http.unavailable = 100
    assert reason_of(place.checkout, http.url("a.git"), reader(http)).reason == "CloneFailed"
    assert http.unavailable == 97


def test_a_server_that_stalls_is_given_up(place: Place, http: GitHttp) -> None:
    """Within the setting, as an error that is tried again; not at the task's limit."""
    make_repository(http.root / "a.git")
    http.slow_seconds = 8
    began = time.monotonic()

    error = reason_of(place.checkout, http.url("a.git"), reader(http), stall_seconds=1)

    assert error.reason == "CloneFailed"
    assert time.monotonic() - began < 20


class Trickling(Quiet):
    """Begins a list of refs, and goes on with a byte now and then."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-git-upload-pack-advertisement")
        self.send_header("Content-Length", "10000")
        self.end_headers()
        for one in b"001e# service=git-upload-pack\n0000" + b"0" * 9000:
            self.wfile.write(bytes([one]))
            time.sleep(0.1)


def test_a_server_that_sends_a_byte_now_and_then_is_given_up(tmp_path: Path) -> None:
    """In ten times the time that it may be silent; it is never silent for libcurl."""
    env = {"PATH": os.environ["PATH"], "GIT_HTTP_LOW_SPEED_LIMIT": "1", "GIT_HTTP_LOW_SPEED_TIME": "0.2"}
    with Serving(Trickling) as server:
        git = Git(tmp_path, env, threading.Event(), time.monotonic() + 60)
        error = reason_of(git, "ls-remote", f"{server.url}/a.git", reason="PushFailed")

    assert isinstance(error, TransientError)
    assert (error.reason, error.message.code) == ("PushFailed", "git_trickles")


@pytest.mark.parametrize("ref", ["main", "v1", None])
def test_a_repository_without_commits_is_said_to_have_none(place: Place, http: GitHttp, ref: str | None) -> None:
    """Whatever ref was asked for."""
    git(http.root, "init", "-q", "--bare", "empty.git")

    error = reason_of(place.checkout, http.url("empty.git"), reader(http), ref=ref)

    assert (error.reason, error.message.code) == ("RepositoryEmpty", "git_repository_empty")


def test_a_default_branch_that_is_not_there_is_told_with_those_that_are(place: Place, http: GitHttp) -> None:
    """The repository is not empty: a server's HEAD may name a branch that nobody pushed."""
    make_repository(http.root / "a.git")
    git(http.root / "a.git", "symbolic-ref", "HEAD", "refs/heads/trunk")

    error = reason_of(place.checkout, http.url("a.git"), reader(http))

    assert (error.reason, error.message.code) == ("RefNotFound", "git_no_default_branch")
    assert "main" in error.message.text
    assert reason_of(place.checkout, http.url("a.git"), reader(http), ref="x").message.code == "git_ref_missing"


def test_what_another_try_does_not_help_is_not_tried_again(place: Place, http: GitHttp) -> None:
    """A refused token is sent once."""
    make_repository(http.root / "a.git")
    before = http.requests

    reason_of(place.checkout, http.url("a.git"), reader(http, "wrong"))

    assert http.requests - before <= 2  # without and with the token


def configuration(directory: Path) -> set[str]:
    return set(git(directory, "config", "--local", "--list").splitlines())


@pytest.mark.parametrize("branch", ["main", "feature/x", "日本語", "a#b+c@d", 'quote"d'])
def test_a_checkout_is_what_git_clone_makes(place: Place, http: GitHttp, branch: str) -> None:
    """The branch and its upstream, the configuration, the files and a clean status."""
    http.users = {}
    make_repository(http.root / "a.git")
    work = http.root / "a.git.work"
    if branch != "main":
        git(work, "checkout", "-q", "-b", branch)
    add_commit(work, {"b/c": "c\n"}, "second")
    git(work, "push", "-q", "--all")
    url = http.url("a.git")
    git(place.root, "clone", "-q", "--depth=1", "--no-single-branch", "--branch", branch, url, "clone")

    place.checkout(url, ref=branch)

    here, clone = place.workspace, place.root / "clone"
    for question in (
        ["symbolic-ref", "HEAD"], ["rev-parse", "HEAD"], ["rev-parse", "--abbrev-ref", "@{upstream}"],
        ["status", "--porcelain=v2", "--branch", "--ignored"], ["ls-files", "--stage"], ["remote", "-v"],
        ["rev-parse", "--is-shallow-repository"], ["rev-parse", f"origin/{branch}"], ["branch", "-vv"],
    ):  # fmt: skip
        assert git(here, *question) == git(clone, *question), question
    assert configuration(here) == configuration(clone)
    if branch == "main":
        assert git(here, "symbolic-ref", "refs/remotes/origin/HEAD") == "refs/remotes/origin/main"
        assert git(here, "diff", "origin/HEAD") == ""
    assert {"info", "hooks", "HEAD", "config", "index", "refs", "objects"} <= {
        p.name for p in (here / ".git").iterdir()
    }
    git(here, "fetch", "-q")
    git(here, "pull", "-q", "--ff-only")


def test_a_checkout_of_a_tag_has_the_tag(place: Place, http: GitHttp) -> None:
    """As `git clone --branch TAG` has it: HEAD is detached, and the annotated tag is there."""
    commit = make_repository(http.root / "a.git")
    work = http.root / "a.git.work"
    git(work, "tag", "-a", "v1", "-m", "a tag")
    git(work, "push", "-q", "--tags")

    assert place.checkout(http.url("a.git"), reader(http), ref="v1") == commit

    assert git(place.workspace, "describe") == "v1"
    assert git(place.workspace, "cat-file", "-t", "v1") == "tag"
    assert git(place.workspace, "rev-parse", "--abbrev-ref", "HEAD") == "HEAD"


@pytest.mark.parametrize("ref", ["origin/main", "heads/main", "remotes/origin/main", "refs/remotes/origin/main"])
def test_a_branch_by_the_names_that_it_has_in_a_clone(place: Place, http: GitHttp, ref: str) -> None:
    commit = make_repository(http.root / "a.git")

    assert place.checkout(http.url("a.git"), reader(http), ref=ref) == commit
    assert git(place.workspace, "symbolic-ref", "HEAD") == "refs/heads/main"


def test_a_branch_that_is_really_called_so_goes_first(place: Place, http: GitHttp) -> None:
    make_repository(http.root / "a.git")
    work = http.root / "a.git.work"
    git(work, "checkout", "-q", "-b", "origin/main")
    commit = add_commit(work, {"b": "b"}, "second")
    git(work, "push", "-q", "--all")

    assert place.checkout(http.url("a.git"), reader(http), ref="origin/main") == commit


def test_a_pull_request_by_the_name_that_git_fetch_takes(place: Place, http: GitHttp) -> None:
    """GitHub's own instructions write `pull/7/head`."""
    commit = make_repository(http.root / "a.git")
    git(http.root / "a.git", "update-ref", "refs/pull/7/head", commit)

    assert place.checkout(http.url("a.git"), reader(http), ref="pull/7/head") == commit


@pytest.mark.parametrize(
    ("ref", "expected"),
    [("file", "The ref names no commit"), ("tree", "The ref names no commit"), ("f" * 64, "have 40 digits")],
)
def test_a_ref_that_names_no_commit_is_told_so(place: Place, http: GitHttp, ref: str, expected: str) -> None:
    """A tag may name a file or a directory; an id of SHA-256 is none of this repository's."""
    make_repository(http.root / "a.git")
    git(http.root / "a.git", "tag", "file", "main:README.md")
    git(http.root / "a.git", "tag", "tree", "main^{tree}")

    with pytest.raises(PhaseError) as caught:
        place.checkout(http.url("a.git"), reader(http), ref=ref)

    assert (caught.value.reason, expected in caught.value.message.text) == ("RefNotFound", True)


def test_a_commit_by_a_part_of_its_id_is_told_what_to_write(place: Place, http: GitHttp) -> None:
    """No server finds it by that; the whole id in capitals is taken."""
    commit = make_repository(http.root / "a.git")

    error = reason_of(place.checkout, http.url("a.git"), reader(http), ref=commit[:8])

    assert error.reason == "RefNotFound"
    assert f"git rev-parse {commit[:8]}" in str(error)
    assert place.checkout(http.url("a.git"), reader(http), ref=commit.upper()) == commit


ON_ONE_MACHINE = DEFAULT_TRANSPORTS | {"file"}


def test_a_submodule_does_not_come_out_of_this_machines_repositories(
    place: Place, http: GitHttp, tmp_path: Path
) -> None:
    """A repository of a server names none of this machine's, though a person here may name one."""
    inner = make_repository(tmp_path / "private.git")
    modules = f'[submodule "s"]\n\tpath = s\n\turl = {(tmp_path / "private.git").as_uri()}\n'
    for directory in (http.root, tmp_path / "here"):
        make_repository(directory / "a.git", {".gitmodules": modules})
        work = directory / "a.git.work"
        git(work, "update-index", "--add", "--cacheinfo", f"160000,{inner},s")
        git(work, "commit", "-qm", "s")
        git(work, "push", "-q", "origin", "main")

    error = reason_of(place.checkout, http.url("a.git"), reader(http), submodules=True, transports=ON_ONE_MACHINE)

    assert error.reason == "TransportRefused"
    assert list((place.workspace / "s").iterdir()) == []
    place.checkout((tmp_path / "here" / "a.git").as_uri(), submodules=True, transports=ON_ONE_MACHINE)
    assert (place.workspace / "s" / "README.md").exists()


LOCAL_SERVERS = ["file://{}", "FILE://{}", "file://localhost{}", "{}", "{}/.git", "../../foreign"]


@pytest.mark.parametrize("paths", [(), ("a",)], ids=["whole", "paths"])
@pytest.mark.parametrize("address", LOCAL_SERVERS)
def test_large_files_do_not_come_out_of_this_machines_repositories(
    place: Place, http: GitHttp, tmp_path: Path, address: str, paths: Sequence[str]
) -> None:
    """The server that .lfsconfig names is of an allowed transport: not a directory, however it is written."""
    store, content = LfsStore(), b"of somebody else\n"
    pointer = store.add(content)
    foreign = tmp_path / "foreign"
    git(tmp_path, "init", "-q", str(foreign))
    name = next(iter(store.files))
    kept = foreign / ".git" / "lfs" / "objects" / name[:2] / name[2:4] / name
    kept.parent.mkdir(parents=True)
    kept.write_bytes(content)
    files: dict[str, bytes | str] = {
        "a/big.bin": pointer,
        ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n",
        ".lfsconfig": f"[lfs]\n\turl = {address.format(foreign)}\n",
    }
    make_repository(http.root / "a.git", files)

    error = reason_of(place.checkout, http.url("a.git"), reader(http), lfs=True, paths=paths, transports=ON_ONE_MACHINE)

    assert error.reason == "LfsFailed"
    assert kept.stat().st_nlink == 1
    assert [path for path in place.workspace.rglob(name) if path.is_file()] == []
    big = place.workspace / "a" / "big.bin"
    assert not big.exists() or big.read_bytes() == pointer


def test_large_files_are_not_asked_for_by_a_transport_that_is_not_allowed(place: Place, http: GitHttp) -> None:
    """An address of ssh in .lfsconfig starts no ssh where only HTTP may be used."""
    files: dict[str, bytes | str] = {
        "big.bin": LfsStore().add(b"content\n"),
        ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n",
        ".lfsconfig": "[lfs]\n\turl = ssh://git@127.0.0.1:1/a.git\n",
    }
    make_repository(http.root / "a.git", files)

    error = reason_of(
        place.checkout, http.url("a.git"), reader(http), lfs=True, transports=frozenset({"http", "https"})
    )

    assert error.reason == "LfsFailed"
    assert "connect to host" not in error.message.text


def test_a_fault_of_git_lfs_names_it(place: Place, http: GitHttp) -> None:
    """A file that the server does not have."""
    pointer = http.lfs.add(b"gone\n")
    make_repository(
        http.root / "a.git", {"big.bin": pointer, ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"}
    )
    http.lfs.files.clear()

    error = reason_of(place.checkout, http.url("a.git"), reader(http), lfs=True)

    assert error.reason == "LfsFailed"
    assert "Git LFS" in str(error)


def make_history(http: GitHttp) -> tuple[str, str]:
    """Three commits and a tag on main, and a branch `feature` from the second one; the ids of the branches' tips."""
    make_repository(http.root / "a.git")
    work = http.root / "a.git.work"
    add_commit(work, {"b": "one\n"}, "second")
    git(work, "tag", "-a", "v1", "-m", "a tag")
    git(work, "checkout", "-q", "-b", "feature")
    feature = add_commit(work, {"c": "c\n"}, "on the branch")
    git(work, "checkout", "-q", "main")
    main = add_commit(work, {"b": "one\ntwo\n"}, "third")
    git(work, "push", "-q", "--all")
    git(work, "push", "-q", "--tags")
    return main, feature


def references(directory: Path) -> set[str]:
    return set(git(directory, "for-each-ref", "--format=%(refname) %(objectname) %(symref)").splitlines())


def test_all_history_is_there_when_it_is_asked_for(place: Place, http: GitHttp) -> None:
    """Questions about history have the answers of a whole clone: describe, blame, merge-base and three dots."""
    main, feature = make_history(http)

    assert place.checkout(http.url("a.git"), reader(http), ref="feature", depth="full", tags=True) == feature

    here = place.workspace
    assert git(here, "rev-parse", "--is-shallow-repository") == "false"
    assert git(here, "describe").startswith("v1-1-g")
    assert git(here, "merge-base", "origin/main", "HEAD") == git(here, "rev-parse", "v1^{commit}")
    assert git(here, "diff", "--name-only", "origin/main...HEAD") == "c"
    assert git(here, "rev-parse", "origin/main", "origin/HEAD") == f"{main}\n{main}"
    assert not git(here, "blame", "-s", "b").startswith("^")
    assert git(here, "status", "--porcelain=v2", "--branch").splitlines()[1:] == [
        "# branch.head feature", "# branch.upstream origin/feature", "# branch.ab +0 -0",
    ]  # fmt: skip


@pytest.mark.parametrize("ref", ["main", "v1"])
def test_a_checkout_with_all_history_is_what_git_clone_makes(place: Place, http: GitHttp, ref: str) -> None:
    """The same refs, history and configuration."""
    http.users = {}
    make_history(http)
    url = http.url("a.git")
    git(place.root, "clone", "-q", "--branch", ref, url, "clone")

    place.checkout(url, ref=ref, depth="full", tags=True)

    here, clone = place.workspace, place.root / "clone"
    assert git(here, "rev-list", "--all") == git(clone, "rev-list", "--all")
    assert references(here) == references(clone)
    if ref == "main":
        assert configuration(here) == configuration(clone)


def test_as_many_commits_as_are_asked_for(place: Place, http: GitHttp) -> None:
    make_history(http)

    place.checkout(http.url("a.git"), reader(http), ref="main", depth=2)

    assert git(place.workspace, "rev-list", "--count", "HEAD") == "2"
    assert git(place.workspace, "for-each-ref", "--format=%(refname)", "refs/tags", "refs/remotes/origin/feature") == ""


def test_all_history_of_a_commit_named_by_its_id(place: Place, http: GitHttp) -> None:
    """One that no branch leads to any more is there, too."""
    make_history(http)
    work = http.root / "a.git.work"
    git(work, "checkout", "-q", "feature")
    gone = add_commit(work, {"d": "d"}, "left behind")
    git(work, "push", "-q", "origin", "HEAD:refs/pull/7/head")

    assert place.checkout(http.url("a.git"), reader(http), ref=gone, depth="full") == gone

    assert git(place.workspace, "rev-list", "--count", "HEAD") == "4"
    assert git(place.workspace, "merge-base", "origin/main", "HEAD") == git(work, "rev-parse", "v1^{commit}")
    assert git(place.workspace, "tag") == ""


def test_tags_without_history(place: Place, http: GitHttp) -> None:
    """Every tag is there, and history still ends."""
    make_history(http)

    place.checkout(http.url("a.git"), reader(http), tags=True)

    assert git(place.workspace, "tag") == "v1"
    assert git(place.workspace, "cat-file", "-t", "v1") == "tag"
    assert git(place.workspace, "rev-parse", "--is-shallow-repository") == "true"


def test_only_what_is_allowed_is_fetched_with_all_history(place: Place, http: GitHttp) -> None:
    """Of branches and tags that a task may not name, neither the refs nor the objects come."""
    _, feature = make_history(http)
    work = http.root / "a.git.work"
    git(work, "checkout", "-q", "feature")
    git(work, "tag", "secret-tag")
    git(work, "push", "-q", "--tags")

    place.checkout(
        http.url("a.git"), reader(http), ref="main", depth="full", tags=True, allowed_refs=["main", "refs/tags/v*"]
    )

    names = set(git(place.workspace, "for-each-ref", "--format=%(refname)").splitlines())
    assert names == {"refs/heads/main", "refs/remotes/origin/HEAD", "refs/remotes/origin/main", "refs/tags/v1"}
    assert feature not in git(place.workspace, "cat-file", "--batch-all-objects", "--batch-check")


def test_history_and_the_clone_cache(place: Place, http: GitHttp, tmp_path: Path) -> None:
    """A shallow entry does not serve a whole checkout, and a whole one leaves no entry for a shallow one."""
    main, _ = make_history(http)
    url, cache = http.url("a.git"), CloneCache(root=tmp_path / "cache", name="one", limit_bytes=1 << 30)
    entries = lambda: sorted(path.name for path in (tmp_path / "cache").rglob("*.pack"))  # noqa: E731

    place.checkout(url, reader(http), ref="main", depth="full", tags=True, cache=cache)
    assert entries() == []
    place.checkout(url, reader(http), ref="main", cache=cache)
    assert entries() == [f"{main}.pack"]
    assert git(place.workspace, "rev-list", "--count", "HEAD") == "1"

    for depth, count in (("full", "3"), (2, "2")):
        place.checkout(url, reader(http), ref="main", depth=depth, cache=cache)  # type: ignore[arg-type]
        assert git(place.workspace, "rev-list", "--count", "HEAD") == count
        git(place.workspace, "fsck")
    place.checkout(url, reader(http), ref="main", tags=True, cache=cache)
    assert git(place.workspace, "tag") == "v1"


def test_submodules_have_as_much_history_as_is_asked_for(place: Place, http: GitHttp) -> None:
    make_repository(http.root / "sub.git")
    head = add_commit(http.root / "sub.git.work", {"b": "b"}, "second")
    git(http.root / "sub.git.work", "push", "-q", "--all")
    make_repository(http.root / "a.git")
    work = http.root / "a.git.work"
    (work / ".gitmodules").write_text(f'[submodule "m"]\n\tpath = m\n\turl = {http.url("sub.git")}\n')
    git(work, "add", ".gitmodules")
    git(work, "update-index", "--add", "--cacheinfo", f"160000,{head},m")
    git(work, "commit", "-q", "-m", "with a submodule")
    git(work, "push", "-q", "--all")

    for depth, count in ((1, "1"), ("full", "2")):
        place.checkout(http.url("a.git"), reader(http), submodules=True, depth=depth)  # type: ignore[arg-type]
        assert git(place.workspace / "m", "rev-list", "--count", "HEAD") == count


def test_work_on_all_history_is_pushed(place: Place, http: GitHttp) -> None:
    """A merge of another branch, which a shallow checkout has not, arrives with both parents."""
    main, feature = make_history(http)
    url = http.url("a.git")
    place.checkout(url, reader(http), ref="main", depth="full")
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    git(place.workspace, *who, "merge", "-q", "--no-edit", "origin/feature")

    place.push(url, Credential(name="pusher", username="pusher", token=TOKEN + "p"), main)

    assert git(http.root / "a.git", "rev-parse", "result^1", "result^2") == f"{main}\n{feature}"


@pytest.mark.parametrize(
    "url",
    [
        "--upload-pack=touch /tmp/keruta-pwned",
        "ext::sh -c touch% /tmp/keruta-pwned",
        "file:///etc",
        "-oProxyCommand=x",
        "/etc",
    ],
)
def test_addresses_that_are_options_commands_or_local_are_refused(place: Place, url: str) -> None:
    assert reason_of(place.checkout, url).reason == "TransportRefused"
    assert not Path("/tmp/keruta-pwned").exists()


def test_a_file_address_where_it_is_allowed(place: Place, tmp_path: Path) -> None:
    commit = make_repository(tmp_path / "local.git")

    allowed = DEFAULT_TRANSPORTS | {"file"}
    assert place.checkout((tmp_path / "local.git").as_uri(), transports=allowed) == commit


def test_a_path_that_tries_to_leave_the_workspace(place: Place, http: GitHttp) -> None:
    """A tree with `..` in it is not written anywhere."""
    make_repository(http.root / "a.git")
    work = http.root / "a.git.work"
    blob = git(work, "hash-object", "-w", "--stdin", stdin=b"evil")
    inner = b"100644 evil\0" + bytes.fromhex(blob)
    tree = git(work, "hash-object", "-w", "-t", "tree", "--literally", "--stdin", stdin=inner)
    outer = b"40000 ..\0" + bytes.fromhex(tree)
    top = git(work, "hash-object", "-w", "-t", "tree", "--literally", "--stdin", stdin=outer)
    commit = git(work, "commit-tree", top, "-m", "evil")
    git(work, "push", "-q", "origin", f"{commit}:refs/heads/evil")

    assert reason_of(place.checkout, http.url("a.git"), reader(http), ref="evil").reason == "CheckoutRefused"
    assert not (place.root / "evil").exists()


def test_a_repository_of_100_mb(place: Place, http: GitHttp) -> None:
    make_repository(http.root / "a.git", {"big": os.urandom(100 * 1024 * 1024)})

    place.checkout(http.url("a.git"), reader(http))

    assert (place.workspace / "big").stat().st_size == 100 * 1024 * 1024


def test_a_checkout_ends_when_its_job_is_to_end(place: Place, http: GitHttp) -> None:
    """Cancelled, or out of time: Git and its helpers are gone."""
    make_repository(http.root / "a.git")
    http.slow_seconds = 30
    threading.Timer(0.5, place.stop.set).start()

    with pytest.raises(Stopped):
        place.checkout(http.url("a.git"), reader(http))
    place.stop.clear()
    with pytest.raises(TimedOut):
        place.checkout(http.url("a.git"), reader(http), seconds=0.5)

    left = [" ".join(line) for _, line in command_lines()]
    assert [line for line in left if http.url("a.git") in line] == []


def test_the_token_is_in_no_process_list(place: Place, http: GitHttp) -> None:
    """While Git runs, neither arguments nor environment hold it."""
    make_repository(http.root / "a.git")
    http.slow_seconds = 0.4
    seen: list[str] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            for process, line in command_lines():
                if process.pid != os.getpid():
                    seen.append(" ".join(line) + str(environment_of(process)))
            done.wait(0.02)

    looking = threading.Thread(target=look)
    looking.start()
    place.checkout(http.url("a.git"), reader(http))
    done.set()
    looking.join()

    assert any("ls-remote" in line for line in seen)
    assert not [line for line in seen if TOKEN in line]


def test_a_submodule_elsewhere_is_not_given_the_credential(place: Place, http: GitHttp, tmp_path: Path) -> None:
    """askpass answers for the repository's own host alone."""
    make_repository(http.root / "sub.git")
    make_repository(http.root / "a.git")
    elsewhere_root = tmp_path / "elsewhere"
    elsewhere_root.mkdir()
    make_repository(elsewhere_root / "trap.git")
    work = http.root / "a.git.work"
    with GitHttp(elsewhere_root, {"reader": (TOKEN, False)}) as elsewhere:
        for name, url in (("own", http.url("sub.git")), ("trap", elsewhere.url("trap.git"))):
            (work / ".gitmodules").write_text(f'[submodule "m"]\n\tpath = m\n\turl = {url}\n')
            head = git(http.root / "sub.git" if name == "own" else elsewhere_root / "trap.git", "rev-parse", "main")
            git(work, "add", ".gitmodules")
            git(work, "update-index", "--add", "--cacheinfo", f"160000,{head},m")
            git(work, "commit", "-q", "-m", name)
            git(work, "push", "-q", "origin", f"HEAD:refs/heads/{name}")

        place.checkout(http.url("a.git"), reader(http), ref="own", submodules=True)
        assert (place.workspace / "m" / "README.md").exists()
        error = reason_of(place.checkout, http.url("a.git"), reader(http), ref="trap", submodules=True)

    assert error.reason == "CloneAuthFailed"


def test_a_credential_that_is_refused_gets_nothing_out_of_the_cache(
    place: Place, http: GitHttp, tmp_path: Path
) -> None:
    """The server is asked first, whether the ref or its commit is named."""
    commit = make_repository(http.root / "a.git")
    cache = CloneCache(root=tmp_path / "cache", name="one", limit_bytes=1 << 30)
    url = http.url("a.git")
    place.checkout(url, reader(http), cache=cache)
    assert len(list((tmp_path / "cache").rglob("*.pack"))) == 1

    for ref in ("main", commit):
        error = reason_of(place.checkout, url, reader(http, "wrong"), ref=ref, cache=cache)
        assert error.reason == "CloneAuthFailed"


def test_large_files_of_a_submodule_are_there(place: Place, http: GitHttp) -> None:
    """As those of the repository itself."""
    content = b"a large file\n"
    files: dict[str, str | bytes] = {"big.bin": http.lfs.add(content), ".gitattributes": "*.bin filter=lfs -text\n"}
    inner = make_repository(http.root / "inner.git", files)
    make_repository(http.root / "a.git", {".gitmodules": '[submodule "s"]\n\tpath = s\n\turl = ../inner.git\n'})
    work = http.root / "a.git.work"
    git(work, "update-index", "--add", "--cacheinfo", f"160000,{inner},s")
    git(work, "commit", "-qm", "s")
    git(work, "push", "-q", "origin", "main")

    place.checkout(http.url("a.git"), reader(http), lfs=True, submodules=True)

    assert (place.workspace / "s" / "big.bin").read_bytes() == content


USER_NAMES = [
    "gitlab+deploy-token-1", "me@example.com", "100%", "%41", "a b", "日本語", "it's", '"$HOME`id`*', "a\\b", "~._-",
    "a/b?c#d&e=f;g,h", " a ",
]  # fmt: skip


@pytest.mark.parametrize("username", USER_NAMES)
def test_a_user_name_with_any_sign(place: Place, http: GitHttp, username: str) -> None:
    """Git asks with the name percent-encoded; the token is given all the same, to Git and to Git LFS."""
    content = b"a large file\n"
    http.users = {username: (TOKEN, False)}
    files = {"big.bin": http.lfs.add(content), ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"}
    make_repository(http.root / "a.git", files)

    place.checkout(http.url("a.git"), Credential(name="x", username=username, token=TOKEN), lfs=True)

    assert (place.workspace / "big.bin").read_bytes() == content


def test_a_server_at_an_ipv6_address_with_a_token(place: Place, tmp_path: Path) -> None:
    root = tmp_path / "six"
    commit = make_repository(root / "a.git")
    with GitHttp(root, {"a+b": (TOKEN, False)}, host="::1") as server:
        credential = Credential(name="x", username="a+b", token=TOKEN)

        assert place.checkout(server.url("a.git"), credential) == commit


def test_separate_credentials_to_read_and_to_push(place: Place, http: GitHttp) -> None:
    """The reader's can't push; the pusher's can."""
    base = make_repository(http.root / "a.git")
    url = http.url("a.git")
    place.checkout(url, reader(http))
    (place.workspace / "README.md").write_text("changed\n")
    pusher = Credential(name="pusher", username="pusher", token=TOKEN + "p")

    assert reason_of(place.push, url, reader(http), base).reason == "PushRefused"
    commit = place.push(url, pusher, base)

    assert git(http.root / "a.git", "rev-parse", "result") == commit
    assert git(http.root / "a.git", "show", "result:README.md") == "changed"


def test_a_workspace_that_leads_elsewhere_pushes_nothing_of_it(place: Place, http: GitHttp, tmp_path: Path) -> None:
    """Alternates, links and hostile configuration are not followed."""
    base = make_repository(http.root / "a.git")
    secret = make_repository(tmp_path / "secret.git", {"secret": "secret"})
    url = http.url("a.git")
    place.checkout(url, reader(http))
    pusher = Credential(name="pusher", username="pusher", token=TOKEN + "p")
    info = place.workspace / ".git" / "objects" / "info"
    info.mkdir(exist_ok=True)
    (info / "alternates").write_text(f"{tmp_path}/secret.git/objects\n")
    (place.workspace / ".git" / "HEAD").write_text(f"{secret}\n")
    with (place.workspace / ".git" / "config").open("a") as config:
        config.write("[core]\n\tsshCommand = touch /tmp/keruta-pwned\n\tfsmonitor = touch /tmp/keruta-pwned\n")
        config.write('[credential]\n\thelper = "!touch /tmp/keruta-pwned"\n[url "ext::x"]\n\tinsteadOf = http\n')

    assert reason_of(place.push, url, pusher, base).reason == "PushFailed"
    (place.workspace / ".git" / "HEAD").write_text("ref: ../../../../etc/passwd\n")
    (place.workspace / "link").symlink_to("/etc/passwd")
    place.push(url, pusher, base)

    assert not Path("/tmp/keruta-pwned").exists()
    assert git(http.root / "a.git", "cat-file", "-p", "result:link") == "/etc/passwd"  # the link itself, not the file


@pytest.fixture
def ssh(tmp_path: Path) -> Iterator[GitSsh]:
    directory = tmp_path / "ssh"
    directory.mkdir()
    with GitSsh(directory) as server:
        yield server


def test_a_repository_over_ssh(place: Place, ssh: GitSsh, tmp_path: Path) -> None:
    """With key and known hosts; there and back."""
    base = make_repository(tmp_path / "a.git")
    url = ssh.url(tmp_path / "a.git")
    credential = Credential(name="ssh", ssh_key=ssh.key, known_hosts=ssh.known_hosts)

    assert place.checkout(url, credential) == base
    (place.workspace / "new").write_text("new\n")
    commit = place.push(url, credential, base)

    assert git(tmp_path / "a.git", "rev-parse", "result") == commit


@pytest.mark.parametrize("name", ["a b", "100%h", 'a"b', "it's $HOME", "日本"])
def test_ssh_from_a_directory_with_any_sign(tmp_path: Path, ssh: GitSsh, name: str) -> None:
    """Key and known hosts are found, whatever the state's directory is called."""
    base = make_repository(tmp_path / "a.git")
    place = Place(tmp_path / name)
    place.root.mkdir()
    credential = Credential(name="ssh", ssh_key=ssh.key, known_hosts=ssh.known_hosts.replace("\n", "\r\n"))

    assert place.checkout(ssh.url(tmp_path / "a.git"), credential) == base


def test_a_repository_of_another_format_is_told_as_one(place: Place, tmp_path: Path) -> None:
    """As a reftable is to a Git that does not know it; in a sentence that says what to do."""
    make_repository(tmp_path / "a.git")
    git(tmp_path / "a.git", "config", "core.repositoryformatversion", "1")
    git(tmp_path / "a.git", "config", "extensions.ofthefuture", "true")

    error = reason_of(place.checkout, (tmp_path / "a.git").as_uri(), transports=frozenset({"file"}))

    assert (error.reason, error.message.code) == ("CloneFailed", "git_format_unknown"), error.message


@pytest.mark.parametrize("until", [0, 60])
def test_an_ssh_server_that_stalls_is_given_up(place: Place, ssh: GitSsh, tmp_path: Path, until: int) -> None:
    """Before its first byte, or after some: ssh's own questions are answered all the while."""
    make_repository(tmp_path / "a.git")
    ssh.run_instead(f"eval $SSH_ORIGINAL_COMMAND </dev/null | head -c {until}; exec sleep 8")
    credential = Credential(name="ssh", ssh_key=ssh.key, known_hosts=ssh.known_hosts)
    began = time.monotonic()

    error = reason_of(place.checkout, ssh.url(tmp_path / "a.git"), credential, stall_seconds=1)

    assert isinstance(error, TransientError)
    assert (error.reason, "sent nothing for 1 s" in error.message.text) == ("CloneFailed", True), error.message
    assert 3 <= time.monotonic() - began < 20  # three tries


def test_an_ssh_server_that_is_slow_and_goes_on_is_waited_for(place: Place, ssh: GitSsh, tmp_path: Path) -> None:
    """As long as it sends something, and while Git itself is at work."""
    commit = make_repository(tmp_path / "a.git", {"large": os.urandom(3_000_000)})
    credential = Credential(name="ssh", ssh_key=ssh.key, known_hosts=ssh.known_hosts)
    ssh.run_instead("eval $SSH_ORIGINAL_COMMAND | { head -c 20; sleep 1.8; head -c 20; sleep 1.8; cat; }")

    assert place.checkout(ssh.url(tmp_path / "a.git"), credential, stall_seconds=3) == commit


def test_a_mounted_key_that_ssh_cannot_read_says_why(place: Place, ssh: GitSsh, tmp_path: Path) -> None:
    """Out of a Kubernetes Secret it comes without having been looked at."""
    credential = Credential(name="ssh", ssh_key=ssh.key.replace("\n", "\r\n"), known_hosts=ssh.known_hosts)

    error = reason_of(place.checkout, ssh.url(tmp_path / "a.git"), credential)

    assert error.reason == "CredentialMissing"
    assert "Windows line ends" in str(error)


@pytest.mark.parametrize(
    ("what", "reason"),
    [("unknown host", "HostKeyUnknown"), ("wrong key", "CloneAuthFailed"), ("none", "RepositoryNotFound")],
)
def test_each_way_to_fail_over_ssh(place: Place, ssh: GitSsh, tmp_path: Path, what: str, reason: str) -> None:
    make_repository(tmp_path / "a.git")
    url = ssh.url(tmp_path / ("none.git" if what == "none" else "a.git"))
    known = "" if what == "unknown host" else ssh.known_hosts
    key = ssh.strange_key if what == "wrong key" else ssh.key

    error = reason_of(place.checkout, url, Credential(name="ssh", ssh_key=key, known_hosts=known))

    assert error.reason == reason


# ---------------------------------------------------------------- what a server makes Git write


def flooding(place: Place, shell: str, most_bytes: int = 1 << 20) -> tuple[Git, tuple[str, ...]]:
    """Git, which runs a command that stands for a server without end."""
    env = {"PATH": os.environ["PATH"], "HOME": str(place.root), "GIT_CONFIG_NOSYSTEM": "1"}
    git = Git(place.root, env, place.stop, time.monotonic() + 30, most_bytes)
    return git, ("-c", f"alias.flood=!{shell}", "flood")


def test_an_answer_without_end_is_given_up(place: Place) -> None:
    """Before it fills the memory of who asked; nothing of it runs on."""
    git, arguments = flooding(place, "yes")

    error = reason_of(git.run, *arguments)

    assert error.reason == "CloneFailed"
    assert error.message.code == "git_too_much"
    assert not [one for one in psutil.Process().children(recursive=True) if one.name() == "yes"]


def test_of_a_servers_words_the_last_are_kept(place: Place) -> None:
    """They say what is wrong; how many there were before is up to the server."""
    git, arguments = flooding(place, "head -c 3000000 /dev/zero >&2; echo fatal: the end >&2; echo out; exit 3")

    done = git.run(*arguments)

    assert (done.exit_code, done.out) == (3, b"out\n")
    assert len(done.err) <= 512 << 10
    assert done.err.endswith(b"fatal: the end\n")


@pytest.mark.parametrize("given", [b"", b"x" * 3_000_000], ids=["nothing", "much"])
def test_what_git_reads_and_writes_at_once_is_whole(place: Place, given: bytes) -> None:
    """However much of it there is, and also where it ends before it has read all."""
    git, arguments = flooding(place, "cat", 4 << 20)
    early, ending = flooding(place, "true")

    assert git.run(*arguments, stdin=given).out == given
    assert early.run(*ending, stdin=given).exit_code == 0
