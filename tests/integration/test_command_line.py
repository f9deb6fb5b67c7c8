"""The command line against servers and terminals that misbehave: a sentence and an exit code, never a traceback."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import unquote

import pytest

from keruta.client import ApiError, Client, LogEvent
from keruta.domain.file_names import as_bytes, as_text
from tests.support.ports import free_port
from tests.support.serving import Quiet, Serving

KERUTA = (sys.executable, "-c", "from keruta.cli.main import main; main()")
TASK = "01jz0000000000000000000000"
WAITING_TASK = {
    "id": TASK, "changed_at": "2026-01-01T00:00:00Z", "name": None, "labels": {}, "profile": "plain", "documents": [],
    "status": "queued", "created_at": "2026-01-01T00:00:00Z", "repository": {"url": "https://example.com/a.git"},
    "owner": "me", "queue": "default", "priority": 0, "timeout_seconds": 60, "retry": {}, "attempts": [], "history": [],
    "waiting": {"position": 2, "why": "Every worker is busy."},
}  # fmt: skip


def environment(url: str, **more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
    root = str(Path(__file__).parents[2])
    return {**kept, "PYTHONPATH": root, "KERUTA_URL": url, "KERUTA_TOKEN": "token-of-a-person", **more}


def run(
    *arguments: str | bytes, url: str, env: Mapping[str, str] | None = None, shell: str = "", cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    command: list[str | bytes] = [*KERUTA, *arguments]
    if shell:
        command = ["sh", "-c", shell, "sh", *command]
    done = subprocess.run(command, capture_output=True, env=environment(url, **(env or {})), timeout=60, cwd=cwd)
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done


NAMES = (b"plain", b"a\nb", "表.txt".encode("cp932"), b"dir/\xff\xfe", b"100%25", b"%2e%2e%2fx", "a\u202eb".encode())


class Answers(Quiet):
    """Answers each path as a broken proxy, a portal or a half-dead server would."""

    def do_GET(self) -> None:
        kind = self.path.split("/")[1]
        if kind == "html":
            self.answer(200, b"<html>Sign in to the network</html>", {"Content-Type": "text/html"})
        elif kind == "bad-gateway":
            self.answer(502, b"<html>Bad Gateway</html>", {"Content-Type": "text/html"})
        elif kind == "redirect":
            self.answer(302, b"", {"Location": "https://portal.invalid/sign-in"})
        elif kind == "short":
            self.send_response(200)
            self.send_header("Content-Length", "5000")
            self.end_headers()
            self.wfile.write(b'{"items": [')
            self.close_connection = True
        elif kind == "problem-without-fields":
            self.answer(422, {"title": "no"}, {"Content-Type": "application/problem+json"})
        elif kind == "other-json":
            self.answer(200, {"hello": ["world"]})
        elif kind == "no-events":
            self.answer(200, b"event: log\ndata: [1]\n\n", {"Content-Type": "text/event-stream"})
        elif kind == "stream":
            self.stream()
        elif kind == "attempts":
            self.attempts()
        elif kind == "names":
            self.names()
        elif kind == "closed":
            self.closed()
        else:
            self.answer(404, {"detail": "There is no such task.", "reason": "TaskNotFound"})

    def do_POST(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        self.do_GET()

    def names(self) -> None:
        """Serve a task that left files with names of every kind, each with its name as its content."""
        if "/artifacts/" in self.path:
            shown = unquote(self.path.partition("/artifacts/")[2])
            self.answer(200, as_bytes(shown), {"Content-Type": "application/octet-stream"})
            return
        left = [{"path": as_text(name), "size_bytes": len(name), "sha256": "0" * 64} for name in NAMES]
        self.answer(200, WAITING_TASK | {"status": "succeeded", "artifacts": left, "waiting": None})

    def attempts(self) -> None:
        """Serve a task of two attempts, each with a log, a file and an output of its own."""
        path, _, query = self.path.partition("?")
        number = int(query.removeprefix("attempt=") or 2)
        if path.endswith("/logs"):
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.wfile.write(f'event: log\ndata: {{"text": "log {number}\\n"}}\n\n'.encode())
            ended = {"status": "failed", "exit_code": number + 4}
            self.wfile.write(f"event: end\ndata: {json.dumps(ended)}\n\n".encode())
            self.close_connection = True
        elif path.endswith("/artifacts/a.txt"):
            self.answer(200, f"file {number}".encode(), {"Content-Type": "application/octet-stream"})
        else:
            left = [
                {
                    "number": n, "worker": "w", "assigned_at": "2026-01-01T00:00:00Z", "outputs": {"n": f"{n}\nmore"},
                    "artifacts": [{"path": f"{n}.txt", "size_bytes": n, "sha256": "0" * 64}],
                    "outcome": "failed", "exit_code": n + 4,
                }
                for n in (1, 2)
            ]  # fmt: skip
            last = {name: left[1][name] for name in ("outputs", "artifacts", "exit_code")}
            self.answer(200, WAITING_TASK | last | {"status": "failed", "attempts": left, "waiting": None})

    def closed(self) -> None:
        """Serve a stream that its reader may not read any more, and refuse the next."""
        if not self.path.endswith("/logs"):
            self.answer(200, WAITING_TASK)
        elif "Last-Event-ID" in self.headers:
            self.answer(401, {"detail": "This account is disabled.", "reason": "Unauthenticated"})
        else:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.wfile.write(b'id: 1-0\nevent: log\ndata: {"text": "one\\n"}\n\n')
            self.wfile.write(b'event: closed\ndata: {"reason": "SignInEnded", "message": "The view ended."}\n\n')
            self.close_connection = True

    def stream(self) -> None:
        """Serve a task that waits, a log that breaks off, and the rest of it to who asks again."""
        if not self.path.endswith("/logs"):
            self.answer(200, WAITING_TASK)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        if "Last-Event-ID" not in self.headers:
            self.wfile.write(b'event: status\ndata: {"status": "queued"}\n\n: still here\n\n')
            self.wfile.write(b'id: 1-0\nevent: log\ndata: {"text": "one\\n"}\n\n')
        else:
            data = b64encode("二\n".encode("cp932")).decode()
            self.wfile.write(f'event: log\ndata: {{"text": "\\ufffd", "base64": "{data}"}}\n\n'.encode())
            self.wfile.write(b'event: end\ndata: {"status": "succeeded"}\n\n')
        self.close_connection = True


@pytest.fixture(scope="module")
def server() -> object:
    with Serving(Answers) as serving:
        yield serving


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("html", "UnexpectedAnswer"),
        ("bad-gateway", "UnexpectedAnswer"),
        ("redirect", "Redirected"),
        ("short", "AnswerCutShort"),
        ("problem-without-fields", "UnexpectedAnswer"),
        ("other-json", "UnexpectedAnswer"),
        ("nothing-there", "TaskNotFound"),
    ],
)
def test_an_answer_that_is_not_keruta_s_is_an_error_with_a_reason(server: Serving, kind: str, reason: str) -> None:
    """A portal's page, a proxy's error, a redirect and half an answer each have a reason and a sentence."""
    client = Client(f"{server.url}/{kind}", "token")

    with pytest.raises(ApiError) as caught:
        client.task(TASK)

    assert caught.value.reason == reason
    assert "token" not in str(caught.value).replace("a token is", "")


@pytest.mark.parametrize(
    "call",
    [
        lambda client: b"".join(client.logs(TASK)),
        lambda client: client.artifact(TASK, "a.txt", io.BytesIO()),
        lambda client: client.export(),
        lambda client: client.provenance(TASK),
        lambda client: client.delete("queue", "q"),
        lambda client: client.close_circuit("c"),
        lambda client: next(client.follow(TASK)),
    ],
    ids=["logs", "artifact", "export", "provenance", "delete", "close", "follow"],
)
@pytest.mark.parametrize("kind", ["html", "other-json"])
def test_a_portal_s_page_is_no_log_no_file_and_no_success(
    server: Serving, kind: str, call: Callable[[Client], object]
) -> None:
    """An answer of another media type than keruta's is an error, also where its content could be anything."""
    with pytest.raises(ApiError) as caught:
        call(Client(f"{server.url}/{kind}", "token"))

    assert caught.value.reason == "UnexpectedAnswer"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("html", "UnexpectedAnswer"), ("bad-gateway", "UnexpectedAnswer"), ("redirect", "Redirected"),
     ("short", "AnswerCutShort"), ("other-json", "UnexpectedAnswer")],
)  # fmt: skip
def test_signing_in_says_what_is_in_the_way(server: Serving, tmp_path: Path, kind: str, reason: str) -> None:
    """Not that there is no keruta: a proxy may stand before it."""
    done = run("--json", "login", f"{server.url}/{kind}", url=server.url, env={"XDG_CONFIG_HOME": str(tmp_path)})

    assert (done.returncode, json.loads(done.stderr)["reason"]) == (1, reason)


def test_a_stream_in_which_nothing_ever_comes_is_given_up(server: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss is told once; then what answers there is no keruta."""
    monkeypatch.setattr("keruta.client.AGAIN_SECONDS", 0.0)
    events: list[LogEvent] = []

    with pytest.raises(ApiError) as caught:
        events.extend(Client(f"{server.url}/no-events", "token").follow(TASK))

    assert caught.value.reason == "UnexpectedAnswer"
    assert [event.kind for event in events] == ["lost"]


def test_files_that_are_downloaded_have_the_names_that_the_script_gave_them(server: Serving, tmp_path: Path) -> None:
    """A name is shown safely, and on disk it is the one that was kept, byte for byte."""
    done = run("artifacts", TASK, "--all", str(tmp_path / "files"), url=f"{server.url}/names")

    assert done.returncode == 0
    top = os.fsencode(tmp_path / "files")
    found = [os.path.join(root, name) for root, _, names in os.walk(top) for name in names]
    assert sorted(os.path.relpath(path, top) for path in found) == sorted(NAMES)
    assert {Path(os.fsdecode(path)).read_bytes() for path in found} == set(NAMES)


@pytest.mark.parametrize("token", ["abc\ndef", "abc\r\nHost: x", "ab c", "トークン", ""])
def test_a_token_with_a_line_break_is_refused_and_not_shown(token: str) -> None:
    """A token that no header can carry is an error that does not repeat the token."""
    with pytest.raises(ApiError) as caught:
        Client("http://127.0.0.1:1", token)

    assert caught.value.reason == "InvalidToken"
    assert "abc" not in str(caught.value)


def test_white_space_around_a_token_does_not_matter() -> None:
    """A token read from a file with a line break at its end is the token."""
    Client("http://127.0.0.1:1", " abc\r\n")


@pytest.mark.parametrize("url", ["", "127.0.0.1:8480", "ftp://x", "http://", "http://[::1", "https://exa mple.com"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """An address without a scheme or host is told as such."""
    with pytest.raises(ApiError) as caught:
        Client(url, "token")

    assert caught.value.reason == "InvalidAddress"


@pytest.mark.parametrize("arguments", [("list",), ("logs", TASK, "--follow"), ("show", TASK), ("queues", "list")])
def test_an_address_that_does_not_answer_is_told_at_once(arguments: tuple[str, ...]) -> None:
    """Nothing is tried for ever: the first connection that fails ends the command with 1."""
    done = run(*arguments, url=f"http://127.0.0.1:{free_port()}")

    assert done.returncode == 1
    assert b"No answer from" in done.stderr


def test_a_follower_is_told_why_the_task_waits_and_that_the_connection_broke(server: Serving) -> None:
    """The reason for waiting comes once; a broken stream is told, and resumed; bytes come as the script wrote them."""
    events = list(Client(f"{server.url}/stream", "token").follow(TASK))

    assert [event.kind for event in events] == ["status", "waiting", "log", "lost", "log", "end"]
    assert events[1].message == "Every worker is busy."
    assert b"".join(event.data for event in events if event.kind == "log") == b"one\n" + "二\n".encode("cp932")


def test_a_follower_who_may_read_no_more_is_told_so(server: Serving) -> None:
    """And not that the task has ended, or that the connection was lost."""
    events: list[LogEvent] = []
    with pytest.raises(ApiError, match="disabled"):
        events.extend(Client(f"{server.url}/closed", "token").follow(TASK))
    done = run("logs", TASK, "--follow", url=f"{server.url}/closed")

    assert (done.returncode, done.stdout) == (1, b"one\n")
    assert b"The view ended." in done.stderr
    assert b"This account is disabled." in done.stderr


@pytest.mark.parametrize(("attempt", "number"), [((), 2), (("--attempt", "1"), 1), (("--attempt", "2"), 2)])
def test_each_attempt_has_files_and_outputs_of_its_own(server: Serving, attempt: tuple[str, ...], number: int) -> None:
    """The last one's without a number; a list, a file, and the outputs as text and as JSON."""
    url = f"{server.url}/attempts"

    assert f" {number}.txt\n".encode() in run("artifacts", TASK, *attempt, url=url).stdout
    assert run("artifacts", TASK, "a.txt", *attempt, url=url).stdout == f"file {number}".encode()
    assert run("outputs", TASK, *attempt, url=url).stdout == f"n<<EOF\n{number}\nmore\nEOF\n".encode()
    assert json.loads(run("--json", "outputs", TASK, *attempt, url=url).stdout) == {"n": f"{number}\nmore"}


@pytest.mark.parametrize(("attempt", "number"), [((), 2), (("--attempt", "1"), 1)])
def test_following_an_attempt_ends_with_its_own_exit_code(
    server: Serving, attempt: tuple[str, ...], number: int
) -> None:
    """`logs -f --attempt N` shows that attempt, also one that another has followed."""
    done = run("logs", "-f", TASK, *attempt, url=f"{server.url}/attempts")

    assert done.stdout == f"log {number}\n".encode()
    assert done.returncode == number + 4


@pytest.mark.parametrize("command", ["artifacts", "outputs"])
def test_an_attempt_that_there_is_not_is_told(server: Serving, command: str) -> None:
    """With how many there are, and as JSON for programs."""
    done = run("--json", command, TASK, "--attempt", "9", url=f"{server.url}/attempts")

    assert done.returncode == 1
    assert json.loads(done.stderr)["message"] == f"{TASK} has no attempt 9; it has 2"


def test_ctrl_c_before_the_command_has_begun_is_quiet(server: Serving) -> None:
    """While its modules are imported, which takes a second on a busy machine."""
    code = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever runs the tests ignores
class Finder:
    def find_spec(self, name, *more):
        if name == "keruta.cli.commands":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from keruta.cli.main import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment(server.url), timeout=60)

    assert (done.returncode, done.stderr) == (130, b"")


def test_an_error_with_json_is_json(server: Serving) -> None:
    """With --json a failure is one JSON document with a stable reason on standard error."""
    unknown = run("show", TASK, "--json", url=server.url)
    wrong = run("show", "--json", url=server.url)

    assert json.loads(unknown.stderr)["reason"] == "TaskNotFound"
    assert (unknown.returncode, unknown.stdout) == (1, b"")
    assert json.loads(wrong.stderr)["reason"] == "UsageError"
    assert wrong.returncode == 2


def test_bytes_that_are_not_utf_8_are_told_as_such(server: Serving) -> None:
    """An argument in another encoding is named, with its bytes made visible."""
    done = run("run", "--repo", "https://example.com/a.git", "--name", b"\x93\xfa\x96{", "--", "true", url=server.url)

    assert done.returncode == 1
    assert b"This is not UTF-8 text: \\x93\\xfa" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [("run", "--repo", "https://example.com/a.git", "--script"), ("import",), ("verify", "--key", "/dev/null")],
)
def test_a_file_that_is_not_there_is_named_with_its_bytes(arguments: tuple[str, ...], server: Serving) -> None:
    """The same sentence in each command, without Python's own words."""
    done = run(*arguments, b"/no\xff/file", url=server.url)

    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"Error: /no\\xff/file can't be read: No such file or directory\n"


@pytest.mark.parametrize("task", ["", ".", "..", "../queues/default", "a/b"])
def test_an_id_that_would_be_another_address_is_no_task(task: str, server: Serving) -> None:
    done = run("show", "--json", task, url=server.url)

    assert (done.returncode, json.loads(done.stderr)["reason"]) == (1, "TaskNotFound")


def test_a_script_in_another_encoding_is_told_as_such(server: Serving, tmp_path: Path) -> None:
    """A script file in Shift_JIS is refused with the place of the first byte that is not UTF-8."""
    script = tmp_path / "script.sh"
    script.write_bytes("echo 日本\n".encode("cp932"))

    done = run("run", "--repo", "https://example.com/a.git", "--script", str(script), url=server.url)

    assert done.returncode == 1
    assert b"is not UTF-8 text" in done.stderr


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_standard_streams_are_no_fault(server: Serving, redirection: str) -> None:
    """A command with closed standard streams ends as if they led nowhere."""
    done = run("list", url=server.url, shell=f'"$@" {redirection}')

    assert done.returncode == 1  # what the server answers to it


def test_a_full_disk_behind_standard_output_is_told(server: Serving) -> None:
    """Output that can't be written is an error, not a success."""
    done = run("--help", url=server.url, shell='"$@" >/dev/full')

    assert done.returncode == 1
    assert b"No space left on device" in done.stderr


def test_a_reader_that_has_enough_ends_the_command_quietly(server: Serving) -> None:
    """`| head` ends with 141 and without a word."""
    done = run("--help", url=server.url, shell='{ "$@"; echo "code $?" >&2; } | true')

    assert done.stderr == b"code 141\n"


@pytest.mark.parametrize("arguments", [("list",), ("run", "--repo", ".", "--", "true")])
def test_a_directory_that_is_gone_is_told(server: Serving, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """A current directory that was removed is a sentence."""
    gone = tmp_path / "gone"
    gone.mkdir()

    done = run(*arguments, url="", shell=f'rmdir "{gone}"; "$@"', cwd=gone, env={"KERUTA_TOKEN": ""})

    assert done.returncode == 1
    assert b"The current directory is gone" in done.stderr


def test_a_terminal_gets_no_colours_with_no_color(server: Serving) -> None:
    """NO_COLOR set to anything keeps escape sequences out of a terminal, too."""

    def shown(**env: str) -> bytes:
        master, slave = pty.openpty()
        with os.fdopen(master, "rb", buffering=0) as reader:
            subprocess.run(
                [*KERUTA, "show", TASK], stdin=slave, stdout=slave, stderr=slave, timeout=60,
                env=environment(server.url, TERM="xterm", **env),
            )  # fmt: skip
            os.close(slave)
            return reader.read(65536)

    assert b"\x1b[" in shown()
    assert b"\x1b[" not in shown(NO_COLOR="1")


@pytest.mark.parametrize("locale", ["C", "POSIX", "ja_JP.eucJP", "en_US.ISO-8859-1"])
def test_any_locale_can_show_any_text(server: Serving, locale: str) -> None:
    """A letter that the locale's encoding lacks is written as its number; nothing fails."""
    done = run("show", "日本語 📷", url=server.url, env={"LC_ALL": locale, "PYTHONIOENCODING": "ascii"})

    assert done.returncode == 1
    assert b"There is no such task" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--repo", "a", "--script", "/dev/zero"),
        ("import", "/dev/zero"),
        ("verify", "/dev/zero", "--key", "/dev/zero"),
    ],
)
def test_a_file_without_an_end_is_not_read_to_it(server: Serving, arguments: tuple[str, ...]) -> None:
    ended = run(*arguments, url=server.url)

    assert (ended.returncode, ended.stderr.count(b"16 MiB")) == (1, 1)


@pytest.mark.parametrize("extra", ["?x=1", "/#a", "USER"])
def test_an_address_with_more_than_a_place_is_refused_and_not_shown(server: Serving, extra: str) -> None:
    """A password in it would stand in every message."""
    url = server.url + extra if extra != "USER" else server.url.replace("://", "://me:hidden@")
    ended = run("--json", "list", url=url)

    assert json.loads(ended.stderr)["reason"] == "InvalidAddress"
    assert b"hidden" not in ended.stderr


def test_a_server_without_tls_is_told_as_that(server: Serving) -> None:
    ended = run("--json", "list", url=server.url.replace("http:", "https:"))

    assert json.loads(ended.stderr)["reason"] == "NoTls"


def test_bytes_are_shown_as_they_were_given(server: Serving) -> None:
    ended = run("show", b"caf\xe9", url=server.url)

    assert b"caf\\xe9" in ended.stderr
