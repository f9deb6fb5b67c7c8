"""Scripts that fetch more of their own repository, by whole attempts on real servers; and what they do not get."""

from __future__ import annotations

import contextlib
import gzip
import shlex
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.attempt import fetch_proxy
from agent.attempt.fetch_proxy import AT_ONCE, PACKETS_LIMIT, REQUEST_LIMIT_BYTES, FetchProxy, Place
from agent.attempt.fetch_rules import DELIMITER, FLUSH, Rules, packet
from agent.runners.process.fence import find_fence
from agent.settings import WorkerSettings
from keruta.domain.messages import message
from keruta.domain.repository import DEFAULT_TRANSPORTS
from keruta.domain.specification import Access
from keruta.domain.task import RepositoryRef
from keruta.errors import PhaseError
from tests.support.attempts import Ask, Attempt, Told, environment
from tests.support.gitservers import GitHttp, GitSsh
from tests.support.repositories import commit_on, git, make_repository
from tests.support.serving import Quiet, Serving

TOKEN = "token-of-the-reader"
SETTINGS = {"transports": DEFAULT_TRANSPORTS | {"http"}}


class Served:
    """A private repository with a history of three commits, another branch, and a secret one; beside it, another."""

    def __init__(self, root: Path, url: str, credential: dict[str, str], state: Path) -> None:
        self.root, self.url, self.state = root, url, state
        mounted = state / "credentials" / "keruta-job-reader"
        mounted.mkdir(parents=True)
        for name, value in credential.items():
            (mounted / name).write_text(value)

    def run(self, script: str, *, settings: dict[str, Any] | None = None, **fields: Any) -> Told:
        repository = fields.pop("repository", None) or RepositoryRef(url=self.url, ref="main")
        kind = "ssh" if self.url.startswith("ssh") else "token"
        fields = {
            "read": Access(name="reader", kind=kind, secret="keruta-job-reader"), "repository": repository,
            "script": f"set -e\n{script}", **fields,
        }  # fmt: skip
        more = {**SETTINGS, "secrets_dir": self.state / "credentials", **(settings or {})}
        return Attempt(Ask(state=str(self.state), repository=self.url, fields=fields, settings=more)).ends()


def fill(root: Path) -> None:
    root.mkdir(exist_ok=True)
    make_repository(root / "app.git", {"src/a.txt": "first\n", "docs/b.txt": "b\n"})
    make_repository(root / "app-lib.git", {"other.txt": "x\n"})
    for path in root.glob("*.git"):
        git(path, "config", "uploadpack.allowFilter", "true")
    work = root / "app.git.work"
    for number in range(2):
        (work / "src" / "a.txt").write_text(f"change {number}\n")
        git(work, "commit", "-qam", f"change {number}")
    git(work, "push", "-q", str(root / "app.git"), "main")
    for branch in ("other", "secret"):
        commit_on(root / "app.git", branch, f"{branch}.txt")


@pytest.fixture
def http(tmp_path: Path) -> Iterator[Served]:
    fill(tmp_path / "git")
    with GitHttp(tmp_path / "git", {"reader": (TOKEN, True)}) as server:
        state = tmp_path / "state"
        yield Served(tmp_path / "git", server.url("app.git"), {"username": "reader", "token": TOKEN}, state)


@pytest.fixture(params=["http", "ssh"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    if request.param == "http":
        yield request.getfixturevalue("http")
        return
    fill(tmp_path / "git")
    keys = tmp_path / "keys"
    keys.mkdir()
    with GitSsh(keys) as server:
        values = {"private_key": server.key, "known_hosts": server.known_hosts}
        yield Served(tmp_path / "git", server.url(tmp_path / "git" / "app.git"), values, tmp_path / "state")


@pytest.mark.parametrize("isolation", ["auto", "none"])
def test_a_script_fetches_history_and_branches(served: Served, isolation: str) -> None:
    """Of its private repository, without the credential; in a fence, where the machine can make one, and without."""
    told = served.run(
        "git fetch -q --unshallow && git rev-list --count HEAD >&2\n"
        "git fetch -q origin other && git log -1 --format=%s FETCH_HEAD && git merge-base HEAD FETCH_HEAD\n"
        "git diff --stat HEAD...FETCH_HEAD; git fetch -q --tags && git ls-remote -q origin && git describe --always\n"
        "git config remote.origin.url",
        settings={"isolation": isolation},
    )

    assert told.status == "succeeded", told.log
    assert "\n3\n" in told.log
    assert "other.txt" in told.log
    assert told.log.rstrip().endswith(served.url)
    assert TOKEN not in told.log


def test_a_partial_clone_fetches_what_it_lacks(served: Served) -> None:
    """Contents of older commits, one by one, from the promisor remote."""
    told = served.run(
        "git fetch -q --unshallow && git log -p --format=%s",
        repository=RepositoryRef(url=served.url, ref="main", paths=("src",)),
    )

    assert told.status == "succeeded", told.log
    assert "+first" in told.log


ATTACKS = {
    "push": "git push origin HEAD:refs/heads/x",
    "push by the proxy": 'git push "$proxy" HEAD:refs/heads/x',
    "another repository": 'git ls-remote "${proxy%/repository.git}/app-lib.git"',
    "a longer name": 'git ls-remote "${proxy}-lib"',
    "a path upwards": 'git ls-remote "$proxy/../app-lib.git"',
    "dumb files": 'git -c protocol.version=0 ls-remote "$proxy"',
    "a file": 'curl -fsS -H "$header" "$proxy/HEAD"',
    "large files": 'curl -fsS -H "$header" -d "{}" "$proxy/info/lfs/objects/batch"',
    "receive-pack": 'curl -fsS -H "$header" -H "Git-Protocol: version=2" "$proxy/info/refs?service=git-receive-pack"',
    "no token": 'curl -fsS -H "Git-Protocol: version=2" "$proxy/info/refs?service=git-upload-pack"',
    "another token": 'git -c "http.$root.extraHeader=" -c "http.$root.extraHeader=x: y" ls-remote "$proxy"',
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_else_is_given(http: Served, attack: str) -> None:
    """Not to this attempt either: each of these fails, and the server has no new branch."""
    told = http.run(
        "proxy=$(git remote get-url origin); root=${proxy%repository.git}\n"
        'header=$(git config --get-urlmatch http.extraHeader "$root")\n'
        'curl -fsS -o /dev/null -H "$header" -H "Git-Protocol: version=2" "$proxy/info/refs?service=git-upload-pack"\n'
        f"git ls-remote -q origin >&2\nif {ATTACKS[attack]}; then echo GIVEN; fi"
    )

    assert told.status == "succeeded", told.log
    assert "refs/heads/other" in told.log
    assert "GIVEN" not in told.log
    assert "x" not in git(http.root / "app.git", "branch", "--format=%(refname:short)").split()


def test_only_allowed_refs_are_seen(served: Served) -> None:
    """A forbidden branch is refused by its name and by its commit, and what is allowed is there."""
    secret = git(served.root / "app.git", "rev-parse", "secret")
    told = served.run(
        "git fetch -q --unshallow; git fetch -q origin other; git ls-remote -q origin\n"
        f"git fetch origin secret && echo GIVEN\ngit fetch origin {secret} && echo GIVEN\n"
        f"git fetch origin +refs/heads/*:refs/x/* && git cat-file -e {secret} && echo GIVEN\ntrue",
        allowed_refs=["main", "other"],
    )

    assert told.status == "succeeded", told.log
    assert "refs/heads/other" in told.log
    assert "refs/heads/secret" not in told.log
    assert "allowed_refs" in told.log
    assert "GIVEN" not in told.log


def test_the_credential_is_nowhere_that_a_script_looks(http: Served) -> None:
    """Neither in its home, its workspace, nor its environment."""
    told = http.run(f'if env | grep -q {TOKEN} || grep -rqs {TOKEN} "$HOME" .git; then echo GIVEN; fi\ngit fetch -q')

    assert told.status == "succeeded", told.log
    assert "GIVEN" not in told.log


@pytest.mark.parametrize("off", [{"settings": {"fetch_proxy": False}}, {"fetch_more": False}])
def test_it_can_be_turned_off(http: Served, off: dict[str, Any]) -> None:
    """By the worker's setting, and by the repository's or the profile's entry, which the specification has."""
    told = http.run(f'test "$(git remote get-url origin)" = {shlex.quote(http.url)}\n! git fetch -q', **off)

    assert told.status == "succeeded", told.log
    assert not list((http.state / "worker" / "jobs").rglob("fetch-proxy"))


def test_a_script_fetches_more_of_a_repository_of_this_machine(tmp_path: Path) -> None:
    """A path that is not in the fence may have spaces and signs; allowed_refs count here, too."""
    if find_fence(WorkerSettings(worker_dir=tmp_path / "worker"))[0] is None:
        pytest.skip("bubblewrap does not work here")
    served = tmp_path / "who's 100% + one"
    fill(served)
    url = (served / "app.git").as_uri()
    fields = {
        "repository": RepositoryRef(url=url, ref="main"), "allowed_refs": ["main", "other"],
        "script": "set -e\ngit fetch -q --unshallow && git log --format=%s && git fetch -q origin other\n"
        "git ls-remote -q origin; git fetch -q origin secret && echo GIVEN\ntrue",
    }  # fmt: skip
    told = Attempt(Ask(state=str(tmp_path / "state"), repository=url, fields=fields)).ends()

    assert told.status == "succeeded", told.log
    assert "first" in told.log
    assert "refs/heads/other" in told.log
    assert "refs/heads/secret" not in told.log
    assert "GIVEN" not in told.log


def test_the_users_own_login_serves_scripts_too(http: Served, tmp_path: Path) -> None:
    """On one machine keruta's user may have a credential helper, which is not in the script's home."""
    helper = f"!f() {{ echo username=reader; echo password={TOKEN}; }}; f"
    git(tmp_path, "config", "--file", ".gitconfig", "credential.helper", helper)
    ask = Ask(
        state=str(http.state), repository=http.url, settings=SETTINGS | {"own_git": True},
        fields={"script": "git fetch -q --unshallow && git log --format=%s"},
    )  # fmt: skip
    with environment({"HOME": str(tmp_path)}):
        told = Attempt(ask).ends()

    assert told.status == "succeeded", told.log
    assert "first" in told.log
    assert TOKEN not in told.log


def test_a_server_of_an_older_protocol_is_said(tmp_path: Path) -> None:
    """In place of a bare failure."""
    fill(tmp_path / "git")
    with GitHttp(tmp_path / "git", {"reader": (TOKEN, False)}) as server:
        server.old_protocol = True
        values = {"username": "reader", "token": TOKEN}
        served = Served(tmp_path / "git", server.url("app.git"), values, tmp_path / "state")
        told = served.run("! git fetch -q --unshallow")

    assert told.status == "succeeded", told.log
    assert "version 2 of Git's protocol" in told.log


def test_a_restarted_agent_serves_at_the_same_place(http: Served, tmp_path: Path) -> None:
    """So what lies in the script's home stays right; nothing is served after the end."""
    places = []
    for _ in range(2):
        proxy = FetchProxy(http.url, nothing, tmp_path, Rules((), "c" * 40))
        places.append(proxy.start())
        with socket.create_connection(("127.0.0.1", places[-1].port), timeout=5):
            pass
        proxy.close()

    assert places[0] == places[1]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", places[0].port), timeout=5)


def nothing(directory: Path) -> Any:
    raise AssertionError(directory)


def lines(*said: bytes) -> list[bytes]:
    return [*(one if one == DELIMITER else packet(one + b"\n") for one in said), FLUSH]


HIDDEN = b"e" * 40


@pytest.mark.parametrize(
    "said",
    [
        (b"command=object-info", DELIMITER, b"size"),
        (b"command=bundle-uri",),
        (b"command=fetch", b"server-option=x", DELIMITER, b"done"),
        (b"command=fetch", DELIMITER, b"want-ref refs/heads/secret", b"done"),
        (b"command=fetch", DELIMITER, b"want " + HIDDEN, b"done"),
        (b"command=fetch", DELIMITER, b"deepen-not refs/heads/secret", b"done"),
        (b"command=fetch", DELIMITER, b"packfile-uris https", b"done"),
        (b"command=fetch", DELIMITER, b"filter combine:sparse:oid=" + HIDDEN, b"done"),
        (b"command=fetch", DELIMITER, b"filter combine:%73parse:oid=" + HIDDEN + b"+tree:0", b"done"),
        (b"command=fetch", DELIMITER, b"done", DELIMITER, b"done"),
        (b"command=fetch", DELIMITER, b"done\nwant " + HIDDEN),
        (b"0032want " + HIDDEN,),
    ],
)
def test_what_is_not_known_of_the_protocol_is_refused(said: tuple[bytes, ...]) -> None:
    """And an object that no allowed ref names."""
    with pytest.raises(PhaseError):
        Rules(("main",), "c" * 40).request(lines(*said))


def test_what_builds_on_hidden_objects_is_left_out_where_refs_are_hidden() -> None:
    """And tags that were not asked for."""
    asked = lines(b"command=fetch", DELIMITER, b"thin-pack", b"include-tag", b"want " + b"c" * 40, b"done")

    assert b"thin-pack" in Rules((), "c" * 40).request(asked)[1]
    made = Rules(("main",), "c" * 40).request(asked)[1]
    assert b"thin-pack" not in made
    assert b"include-tag" not in made


def test_no_redirect_is_followed(tmp_path: Path) -> None:
    """A checkout follows the first one, as Git does; what a script asks for goes to the named server alone."""
    fill(tmp_path / "git")

    class Redirecting(Quiet):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", real.url(self.path.lstrip("/")))
            self.send_header("Content-Length", "0")
            self.end_headers()

    with GitHttp(tmp_path / "git") as real, Serving(Redirecting, "127.0.0.1", None) as server:
        values = {"username": "reader", "token": TOKEN}
        served = Served(tmp_path / "git", f"http://127.0.0.1:{server.port}/app.git", values, tmp_path / "state")
        told = served.run("if git fetch -q --unshallow; then echo GIVEN; fi")

    assert told.status == "succeeded", told.log
    assert "GIVEN" not in told.log


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[FetchProxy]:
    """A proxy whose upstream is never asked."""
    proxy = FetchProxy("http://127.0.0.1:1/a.git", nothing, tmp_path, Rules((), "c" * 40))
    yield proxy
    proxy.close()


def asked(place: Place, body: bytes, headers: dict[str, str], path: str = "/repository.git/git-upload-pack") -> bytes:
    """What the proxy answers to a request, whole."""
    given = {"Host": "a", "Authorization": f"Bearer {place.token}", "Git-Protocol": "version=2", **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    with socket.create_connection(("127.0.0.1", place.port), timeout=10) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


MANY = gzip.compress(b"0001" * (PACKETS_LIMIT + 1))
BOMB = gzip.compress(bytes(REQUEST_LIMIT_BYTES + 1))


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", {"Content-Length": str(REQUEST_LIMIT_BYTES + 1)}),
        (b"", {"Content-Length": "-1"}),
        (b"", {"Content-Length": "ten"}),
        (b"0000", {"Content-Length": "400"}),
        (BOMB, {"Content-Length": str(len(BOMB)), "Content-Encoding": "gzip"}),
        (MANY, {"Content-Length": str(len(MANY)), "Content-Encoding": "gzip"}),
        (b"no gzip", {"Content-Length": "7", "Content-Encoding": "gzip"}),
        (b"%x\r\n" % (REQUEST_LIMIT_BYTES + 1), {"Transfer-Encoding": "chunked"}),
        (b"-4\r\n0000\r\n0\r\n\r\n", {"Transfer-Encoding": "chunked"}),
        (b"4\r\n0000\r\n", {"Transfer-Encoding": "chunked"}),
        (b"zz\r\n", {"Transfer-Encoding": "chunked"}),
        (b"4\r\nffff\r\n0\r\n\r\n", {"Transfer-Encoding": "chunked"}),
    ],
)
def test_a_request_that_is_too_large_or_malformed_is_refused(
    idle: FetchProxy, body: bytes, headers: dict[str, str]
) -> None:
    """At once, and without asking the repository's server."""
    assert asked(idle.start(), body, headers).startswith(b"HTTP/1.1 400 ")


def test_a_client_that_says_nothing_is_let_go(idle: FetchProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any user of the machine may connect: nobody keeps the script's own fetches out for long."""
    monkeypatch.setattr(fetch_proxy._Handler, "timeout", 0.2)
    place = idle.start()

    with socket.create_connection(("127.0.0.1", place.port), timeout=10) as silent:
        assert silent.recv(1) == b""


def test_more_fetches_at_once_than_allowed_are_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They wait a while for a place, and then Git says why it got none."""
    monkeypatch.setattr(fetch_proxy, "WAIT_SECONDS", 0.1)
    begun, over = threading.Semaphore(0), threading.Event()

    @contextlib.contextmanager
    def held(directory: Path) -> Iterator[dict[str, str]]:
        begun.release()
        over.wait(20)
        raise PhaseError("FetchRefused", message("fetch_refused"))
        yield {}

    proxy = FetchProxy("http://127.0.0.1:1/a.git", held, tmp_path, Rules((), "c" * 40))
    place = proxy.start()
    request = b"".join(lines(b"command=ls-refs"))
    headers = {"Content-Length": str(len(request))}
    busy = [threading.Thread(target=asked, args=(place, request, headers)) for _ in range(AT_ONCE)]
    try:
        for one in busy:
            one.start()
            assert begun.acquire(timeout=10)
        answer = asked(place, request, headers)
    finally:
        over.set()
        for one in busy:
            one.join(20)
        proxy.close()

    assert b"ERR " + str(message("fetch_too_many")).encode() in answer
