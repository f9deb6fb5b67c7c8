"""Real Git servers: over http with a token, by `git http-backend`; over ssh, by sshd."""

from __future__ import annotations

import base64
import http.server
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType

import pytest

from tests.support.lfs import LfsStore
from tests.support.ports import free_port
from tests.support.serving import Quiet, Serving


class GitHttp(Serving):
    """Serves the bare repositories of a directory over http.

    Args:
        users: by user name: (token, whether it may push); empty for a public server.
        slow_seconds: how long each answer is held back.
        faults: one for each request that pushes, in order; `hold …` keeps the client waiting until `released` is set.
        held: set when a client is kept waiting.
    """

    def __init__(
        self, root: Path, users: dict[str, tuple[str, bool]] | None = None, *, host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        self.root = root
        self.users = users or {}
        self.lfs = LfsStore()
        self.host = host
        self.slow_seconds = 0.0
        self.faults: list[str] = []
        self.held, self.released = threading.Event(), threading.Event()
        self.away = False
        self.old_protocol = False  # answers as a server that knows version 0 alone
        self.requests = 0
        self.unavailable = 0  # so many requests are answered with 503
        server = self

        class Handler(Quiet):
            def do_GET(self) -> None:
                server._serve(self)

            do_POST = do_PUT = do_GET  # noqa: N815

        super().__init__(Handler, host, tls)
        self._scheme = "http" if tls is None else "https"

    def url(self, name: str) -> str:
        host = f"[{self.host}]" if ":" in self.host else "127.0.0.1"
        return f"{self._scheme}://{host}:{self.port}/{name}"

    def _fault(self, request: http.server.BaseHTTPRequestHandler) -> str:
        """The next of `faults`, if it is meant for this request."""
        pushing = request.command == "POST" and "git-receive-pack" in request.path
        asked = pushing or "service=git-receive-pack" in request.path
        known = not self.users or self._user(request) is not None
        if not self.faults or not (pushing if "pack" in self.faults[0] else asked) or not known:
            return ""
        return self.faults.pop(0)

    def _serve(self, request: http.server.BaseHTTPRequestHandler) -> None:
        self.requests += 1
        time.sleep(self.slow_seconds)
        fault = self._fault(request)
        if self.unavailable:
            self.unavailable -= 1
            fault = "503"
        if fault == "reset":
            request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            request.close_connection = True
            request.connection.close()
            return
        if fault[:3].isdigit():
            length = int(request.headers.get("Content-Length") or 0)
            request.rfile.read(length)
            request.send_response(int(fault[:3]))
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        if self.away:
            request.close_connection = True
            return
        path, _, query = request.path.partition("?")
        length = request.headers.get("Content-Length")
        body = request.rfile.read(int(length)) if length else self._chunks(request)
        if fault.startswith("hold the pack"):
            self.away = fault.endswith("and go away")
            self._hold(request)
            return
        pushing = "git-receive-pack" in request.path
        user = self._user(request)
        if self.users and (user is None or (pushing and not self.users[user][1])):
            status = 401 if user is None else 403
            request.send_response(status)
            request.send_header("WWW-Authenticate", 'Basic realm="git"')
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        if "/info/lfs/" in path:
            base = f"{self._scheme}://{request.headers['Host']}"
            self.lfs.serve(request, path, body, base + path.split("/info/lfs/")[0])
            return
        env = {
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": request.command,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": "" if self.old_protocol else request.headers.get("Git-Protocol", ""),
            "REMOTE_USER": user or "anonymous",
            "PATH": os.environ["PATH"],
            "GIT_CONFIG_NOSYSTEM": "1",
            "HOME": "/nonexistent",
        }
        done = subprocess.run(["git", "http-backend"], env=env, input=body, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = [line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line]
        status = next((int(value.split()[0]) for name, value in headers if name == "Status"), 200)
        if fault.startswith("lost answer"):
            request.close_connection = True
            return
        if fault.startswith("hold the answer"):
            self._hold(request)
            return
        try:
            request.send_response(status)
            for name, value in headers:
                if name not in ("Status", "Content-Length"):
                    request.send_header(name, value)
            request.send_header("Content-Length", str(len(content)))
            request.end_headers()
            request.wfile.write(content)
        except ConnectionError:
            pass

    def _hold(self, request: http.server.BaseHTTPRequestHandler) -> None:
        self.held.set()
        self.released.wait(30)
        request.close_connection = True

    @staticmethod
    def _chunks(request: http.server.BaseHTTPRequestHandler) -> bytes:
        if request.headers.get("Transfer-Encoding") != "chunked":
            return b""
        parts = []
        while size := int(request.rfile.readline().strip() or b"0", 16):
            parts.append(request.rfile.read(size))
            request.rfile.readline()
        request.rfile.readline()
        return b"".join(parts)

    def _user(self, request: http.server.BaseHTTPRequestHandler) -> str | None:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Basic":
            return None
        name, _, token = base64.b64decode(given).decode().partition(":")
        return name if name in self.users and self.users[name][0] == token else None


class GitSsh:
    """An sshd on a free port for one user: whoever runs the tests.

    Args:
        directory: where its keys are made.
    """

    def __init__(self, directory: Path) -> None:
        program = shutil.which("sshd", path="/usr/sbin:" + os.environ["PATH"])
        if program is None:
            pytest.skip("SKIPPED LOUDLY: no sshd on this machine (apt-get install openssh-server)")
        self._program: str = program
        self._directory = directory
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("host", "client", "stranger"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)], check=True)
        public = (directory / "host.pub").read_text().split()
        self.known_hosts = f"[127.0.0.1]:{self.port} {public[0]} {public[1]}\n"
        self.key = (directory / "client").read_text()
        self.strange_key = (directory / "stranger").read_text()

    def url(self, path: Path) -> str:
        user = os.environ.get("USER") or "root"
        return f"ssh://{user}@127.0.0.1:{self.port}{path}"

    def run_instead(self, command: str) -> None:
        """Run a shell command for each connection, with what was asked for in $SSH_ORIGINAL_COMMAND."""
        public = (self._directory / "client.pub").read_text()
        (self._directory / "authorized_keys").write_text(f'command="{command}" {public}')

    def __enter__(self) -> GitSsh:
        authorized = self._directory / "authorized_keys"
        authorized.write_text((self._directory / "client.pub").read_text())
        authorized.chmod(0o600)
        config = self._directory / "config"
        config.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self._directory}/host\nPidFile none\n"
            f"AuthorizedKeysFile {authorized}\nStrictModes no\nPasswordAuthentication no\nUsePAM no\n"
            "AcceptEnv GIT_PROTOCOL\n"
            "PermitRootLogin prohibit-password\nKbdInteractiveAuthentication no\n"
        )
        Path("/run/sshd").mkdir(exist_ok=True)
        log = (self._directory / "log").open("wb")
        self._process = subprocess.Popen(
            [self._program, "-D", "-e", "-f", str(config)], stdout=log, stderr=log, start_new_session=True
        )
        log.close()
        until = time.monotonic() + 60
        while b"listening" not in (self._directory / "log").read_bytes():
            assert self._process.poll() is None, (self._directory / "log").read_text()
            assert time.monotonic() < until
            time.sleep(0.02)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait()
