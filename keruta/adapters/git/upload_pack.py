"""`git-upload-pack` of a repository, spoken to in protocol version 2.

Over http it is asked by Git's own helper, over ssh by ssh, and for a repository of this machine Git itself is started.

So credentials, certificates, proxies and stalled servers are as in every other fetch; redirects are refused.

Source: gitremote-helpers(7), stateless-connect
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import IO
from urllib.parse import unquote, urlsplit

import msgspec

from keruta.adapters.git import ls_refs
from keruta.adapters.git.command import Git
from keruta.adapters.git.faults import fault
from keruta.domain.messages import message
from keruta.domain.repository import transport
from keruta.errors import PhaseError


class Upstream(msgspec.Struct, frozen=True):
    """A server's upload-pack: what it reads, and what it writes."""

    process: subprocess.Popen[bytes]
    stdin: IO[bytes]
    stdout: IO[bytes]
    errors: IO[bytes]

    def fault(self) -> PhaseError:
        """Return the error for which the server's answer ended, or None."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self.errors.seek(0)
        return fault(self.errors.read(65536).decode("utf-8", "replace"), "FetchRefused")

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


@contextlib.contextmanager
def upload_pack(url: str, env: Mapping[str, str]) -> Iterator[Upstream]:
    """Give a server's upload-pack, which is ended afterwards.

    Args:
        env: as `keruta.adapters.git.credentials.environment` gives it.

    Raises:
        PhaseError: it can't be reached, or speaks an older version alone.
    """
    kind = transport(url)
    http = kind in ("http", "https")
    command = _over_http(url) if http else _of_this_machine(url) if kind == "file" else _over_ssh(url, env)
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, env={**env, "GIT_PROTOCOL": "version=2"}, cwd="/", start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        upstream = Upstream(process, process.stdin, process.stdout, errors)
        try:
            if http:
                _connect(upstream)
            yield upstream
        finally:
            upstream.end()
            for end in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    end.close()
            process.wait()


def _connect(upstream: Upstream) -> None:
    with contextlib.suppress(BrokenPipeError):
        upstream.stdin.write(b"stateless-connect git-upload-pack\n")
        upstream.stdin.flush()
    match upstream.stdout.readline(100):
        case b"\n":
            return
        case b"fallback\n":
            raise PhaseError("FetchRefused", message("fetch_old_server"))
    raise upstream.fault()


def _over_http(url: str) -> list[str]:
    options = ("-c", "http.followRedirects=false", "-c", "protocol.version=2")
    return ["git", *options, f"remote-{transport(url)}", url, url]


def refs_of_this_machine(url: str, names: Sequence[str], git: Git) -> str | None:
    """Return what a repository of this machine has of these refs, as `git ls-remote --symref` prints it.

    One process instead of four. None where `git ls-remote` must ask, whose words become the reason of a failure.

    Raises:
        Stopped, TimedOut: see `Git`.
    """
    speaking = git.with_env({**git.env, "GIT_PROTOCOL": "version=2"})
    done = speaking.run("upload-pack", "--stateless-rpc", _path(url), stdin=ls_refs.question(names))
    return ls_refs.lines(done.out, names) if done.exit_code == 0 else None


def _of_this_machine(url: str) -> list[str]:
    return ["git", "upload-pack", _path(url)]


def _path(url: str) -> str:
    """Return the path of file://HOST/PATH, of which Git ignores the host."""
    return "/" + unquote(url.removeprefix("file://").partition("/")[2])


def _over_ssh(url: str, env: Mapping[str, str]) -> list[str]:
    """Return the command for ssh://USER@HOST:PORT/PATH or USER@HOST:PATH. Source: git-clone(1), GIT URLS."""
    if "://" in url:
        parts = urlsplit(url)
        host, port, path = parts.hostname or "", parts.port, unquote(parts.path)
        path = path[1:] if path.startswith("/~") else path
        host = f"{unquote(parts.username)}@{host}" if parts.username else host
    else:
        host, _, path = url.partition(":")
        port = None
    options = ["-o", "SendEnv=GIT_PROTOCOL", *(["-p", str(port)] if port else [])]
    if host.startswith("-") or path.startswith("-"):
        raise PhaseError("FetchRefused", message("fetch_refused"))
    asked = shlex.join([*options, host, f"git-upload-pack {shlex.quote(path)}"])
    return ["/bin/sh", "-c", f"exec {env['GIT_SSH_COMMAND']} {asked}"]
