"""Refs that are asked of a real Git server over HTTP without a process, and everything for which Git must ask."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.attempt.checkout import checkout
from keruta.adapters.git.command import Git, Output
from keruta.adapters.git.credentials import Credential, environment, first_lines
from keruta.adapters.git.own_git import is_plain
from keruta.adapters.git.refs_by_http import Refs
from keruta.adapters.git.remote import resolve
from keruta.adapters.git.upload_pack import refs_of_this_machine
from keruta.adapters.http_client import Answer, Http
from keruta.domain.repository import DEFAULT_TRANSPORTS
from keruta.domain.task import RepositoryRef
from keruta.errors import PhaseError
from tests.support.gitservers import GitHttp
from tests.support.repositories import git, make_repository

LOGIN = ("reader", "s3cr3t-t0ken-of-the-test")


class Counting(Git):
    """Git that remembers its commands."""

    commands: list[str]

    def run(self, *arguments: str, **options: Any) -> Output:
        self.commands.append(next(one for one in arguments if not one.startswith("-") and "=" not in one))
        return super().run(*arguments, **options)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "git"
    made.mkdir()
    make_repository(made / "a.git", {"file": "one\n"})
    git(made / "a.git", "branch", "other/branch")
    git(made / "a.git", "tag", "light")
    git(made / "a.git", "-c", "user.name=a", "-c", "user.email=a@b.c", "tag", "-m", "x", "annotated")
    return made


@pytest.fixture
def public(root: Path) -> Iterator[GitHttp]:
    with GitHttp(root) as server:
        yield server


@pytest.fixture
def private(root: Path) -> Iterator[GitHttp]:
    with GitHttp(root, {LOGIN[0]: (LOGIN[1], False)}) as server:
        yield server


@contextmanager
def git_in(directory: Path, credential: Credential | None, url: str) -> Iterator[Counting]:
    transports = DEFAULT_TRANSPORTS | {"file"}
    with environment(credential, directory / "private", url=url, transports=transports, own=False) as env:
        made = Counting(directory, env, threading.Event(), time.monotonic() + 60)
        made.commands = []
        yield made


@pytest.mark.parametrize("ref", [None, "main", "other/branch", "light", "annotated", "refs/heads/main"])
def test_the_answer_is_the_one_that_git_gets(public: GitHttp, tmp_path: Path, ref: str | None) -> None:
    """Commit, tag object, full name and default branch are the same."""
    repository = RepositoryRef(url=public.url("a.git"), ref=ref)
    refs = Refs()
    with git_in(tmp_path, None, repository.url) as made:
        by_git = resolve(repository, made)
        by_http = resolve(repository, made, lambda names, _: refs.ask(repository.url, names, None))

        assert by_http == by_git
        assert made.commands == ["ls-remote"], "Git was asked the first time only"


@pytest.mark.parametrize("ref", [None, "main", "other/branch", "light", "annotated", "refs/heads/main"])
@pytest.mark.parametrize("address", ["file://{}", "file://localhost{}"])
def test_a_repository_of_this_machine_answers_one_process_as_it_answers_git(
    root: Path, tmp_path: Path, ref: str | None, address: str
) -> None:
    repository = RepositoryRef(url=address.format(root / "a.git"), ref=ref)
    with git_in(tmp_path, None, repository.url) as made:
        by_git = resolve(repository, made)
        made.commands.clear()
        by_one = resolve(repository, made, lambda names, git: refs_of_this_machine(repository.url, names, git))

        assert by_one == by_git
        assert made.commands == [], "`git ls-remote` was not asked"


@pytest.mark.parametrize("what", ["missing", "empty", "no repository", "sha256"])
def test_of_what_one_process_does_not_answer_git_says_what_it_is(root: Path, tmp_path: Path, what: str) -> None:
    place = root / what
    if what in ("empty", "sha256"):
        git(root, "init", "-q", "--bare", f"--object-format={'sha256' if what == 'sha256' else 'sha1'}", str(place))
    elif what == "no repository":
        place.mkdir()
    repository = RepositoryRef(url=f"file://{place}")
    with git_in(tmp_path, None, repository.url) as made:
        assert refs_of_this_machine(repository.url, ["HEAD"], made) is None
        with pytest.raises(PhaseError) as asked:
            resolve(repository, made, lambda names, git: refs_of_this_machine(repository.url, names, git))
        with pytest.raises(PhaseError) as by_git:
            resolve(repository, made)
        assert asked.value.reason == by_git.value.reason
        assert asked.value.message == by_git.value.message


def test_a_question_is_one_request(public: GitHttp) -> None:
    assert Refs().ask(public.url("a.git"), ["HEAD"], LOGIN) is not None
    assert public.requests == 1


def test_a_login_is_sent_when_the_server_has_asked_for_it(private: GitHttp) -> None:
    """The first time after an answer 401; from then on at once."""
    refs = Refs()

    assert refs.ask(private.url("a.git"), ["HEAD"], LOGIN) is not None
    assert private.requests == 2
    assert refs.ask(private.url("a.git"), ["HEAD"], LOGIN) is not None
    assert private.requests == 3


def test_who_may_not_read_is_told_nothing(private: GitHttp) -> None:
    """Neither without a login nor with a wrong one, also after another's was good."""
    assert Refs().ask(private.url("a.git"), ["HEAD"], None) is None
    refs = Refs()
    assert refs.ask(private.url("a.git"), ["HEAD"], LOGIN) is not None
    assert refs.ask(private.url("a.git"), ["HEAD"], (LOGIN[0], "wrong")) is None


def test_a_checkout_asks_without_a_process(private: GitHttp, tmp_path: Path) -> None:
    url, credential = private.url("a.git"), Credential(name="reader@1", username=LOGIN[0], token=LOGIN[1])
    refs = Refs()
    workspace = tmp_path / "workspace"
    with git_in(tmp_path, credential, url) as made:
        commit = checkout(
            RepositoryRef(url=url), workspace, lambda _: made_in(made, workspace), transports=DEFAULT_TRANSPORTS,
            ask=lambda names, _: refs.ask(url, names, first_lines(credential)),
        )  # fmt: skip

        assert (workspace / "file").read_text() == "one\n"
        assert commit == git(workspace, "rev-parse", "HEAD").strip()
        assert "ls-remote" not in made.commands


def made_in(made: Counting, directory: Path) -> Git:
    made.directory = directory
    return made


@pytest.mark.parametrize("what", ["no such branch", "no such repository", "refused"])
def test_of_a_failure_git_says_the_reason(private: GitHttp, tmp_path: Path, what: str) -> None:
    url = private.url("none.git" if what == "no such repository" else "a.git")
    login = (LOGIN[0], "wrong" if what == "refused" else LOGIN[1])
    credential = Credential(name="reader@1", username=login[0], token=login[1])
    repository = RepositoryRef(url=url, ref="none" if what == "no such branch" else None)
    refs = Refs()
    with git_in(tmp_path, credential, url) as made:
        with pytest.raises(PhaseError) as by_git:
            resolve(repository, made)
        with pytest.raises(PhaseError) as caught:
            resolve(repository, made, lambda names, _: refs.ask(url, names, login))

        assert (caught.value.reason, caught.value.message) == (by_git.value.reason, by_git.value.message)


def test_a_server_of_the_older_protocol_is_left_to_git(public: GitHttp) -> None:
    """And not asked again for a while."""
    public.old_protocol = True
    refs = Refs()

    assert refs.ask(public.url("a.git"), ["HEAD"], None) is None
    asked = public.requests
    assert refs.ask(public.url("a.git"), ["HEAD"], None) is None
    assert public.requests == asked


def test_a_server_that_is_away_for_a_moment_is_asked_again_the_next_time(public: GitHttp) -> None:
    public.unavailable = 1
    refs = Refs()

    assert refs.ask(public.url("a.git"), ["HEAD"], None) is None
    assert refs.ask(public.url("a.git"), ["HEAD"], None) is not None


@pytest.mark.parametrize(
    "url",
    [
        "http://reader@127.0.0.1/a.git", "http://127.0.0.1/../a.git", "http://127.0.0.1/a/./b.git",
        "http://127.0.0.1/%61.git", "http://127.0.0.1/a.git?x=1", "http://127.0.0.1/a.git#x", "http://127.0.0.1//a.git",
        "http://127.0.0.1", "file:///a.git", "ssh://127.0.0.1/a.git", "http://127.0.0.1\\@b/a.git", "http://[::1]/a.git",
    ],
)  # fmt: skip
def test_an_address_that_programs_may_read_differently_is_left_to_git(url: str) -> None:
    """No request is made."""
    assert Refs(Answering(b"", 200)).ask(url, ["HEAD"], None) is None
    assert Answering.asked == 0


class Answering(Http):
    """Gives one answer."""

    asked = 0

    def __init__(self, body: bytes, status: int = 200, **headers: str) -> None:
        super().__init__(1)
        self._answer = Answer(
            status=status, body=body,
            headers={"content-type": "application/x-git-upload-pack-result", **headers},
        )  # fmt: skip
        self.sent: list[dict[str, str]] = []
        type(self).asked = 0

    def ask(self, method: str, url: str, **options: object) -> Answer:  # type: ignore[override]
        type(self).asked += 1
        self.sent.append(options["headers"])  # type: ignore[arg-type]
        return self._answer


ONE = b"0032" + b"1" * 40 + b" HEAD\n"


def test_a_good_answer_is_read() -> None:
    assert Refs(Answering(ONE + b"0000")).ask("http://a/b.git", ["HEAD"], None) == f"{'1' * 40}\tHEAD\n"


@pytest.mark.parametrize(
    "body",
    [
        b"", b"0000", ONE, ONE + b"00", ONE + b"0000more", b"000dERR no\n0000", ONE.replace(b"1 ", b"1\t") + b"0000",
        b"0032" + b"1" * 40 + b" main\n0000", b"zzzz", b"fff1" + b"a" * 70000,
    ],
)  # fmt: skip
def test_an_answer_that_is_not_whole_and_plain_is_left_to_git(body: bytes) -> None:
    """Cut short, with something after its end, an error, other lines, another ref than was asked for."""
    assert Refs(Answering(body)).ask("http://a/b.git", ["HEAD"], None) is None


@pytest.mark.parametrize(
    ("status", "headers"),
    [(302, {"location": "http://c/d.git"}), (404, {}), (500, {}), (200, {"content-type": "text/html"})],
)
def test_another_answer_is_left_to_git(status: int, headers: dict[str, str]) -> None:
    """A redirect is not followed, so a login goes to no other server."""
    http = Answering(ONE + b"0000", status, **headers)

    assert Refs(http).ask("http://a/b.git", ["HEAD"], LOGIN) is None
    assert [one.get("Authorization") for one in http.sent] == [None]


@pytest.mark.parametrize("asks", ["Negotiate", "Digest realm=x", "Bearer, Basic", ""])
def test_a_login_is_not_sent_where_git_would_choose_another_way(asks: str) -> None:
    http = Answering(b"", 401, **{"www-authenticate": asks})

    assert Refs(http).ask("http://a/b.git", ["HEAD"], LOGIN) is None
    assert [one.get("Authorization") for one in http.sent] == [None]


@pytest.mark.parametrize(
    ("setting", "plain"),
    [
        ("[user]\n\tname = a\n[credential]\n\thelper = store\n", True),
        ('[url "http://b/"]\n\tinsteadOf = http://a/\n', False),
        ("[http]\n\tproxy = http://b/\n", False),
        ('[http "http://a/"]\n\textraHeader = X: y\n', False),
        ("[include]\n\tpath = other\n", False),
        ('[includeIf "gitdir:/"]\n\tpath = other\n', False),
        ("[protocol]\n\tversion = 0\n", False),
        ("[broken\n", False),
    ],
)
def test_what_the_users_own_configuration_says_of_servers_is_left_to_git(
    tmp_path: Path, setting: str, *, plain: bool
) -> None:
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    assert is_plain("https", environ)

    (tmp_path / ".gitconfig").write_text(setting)

    assert is_plain("https", environ) is plain


@pytest.mark.parametrize("given", [("HTTPS_PROXY", "http://b/"), ("SSL_CERT_FILE", "/b"), (".netrc", "")])
def test_a_users_proxy_certificates_and_logins_are_left_to_git(tmp_path: Path, given: Sequence[str]) -> None:
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    if given[0] == ".netrc":
        (tmp_path / ".netrc").touch()
    else:
        environ[given[0]] = given[1]

    assert not is_plain("https", environ)


def test_what_is_for_https_alone_says_nothing_of_http(tmp_path: Path) -> None:
    assert is_plain("http", {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "HTTPS_PROXY": "http://b/"})
