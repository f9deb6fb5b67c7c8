"""Git, by GitPython: in a process group of its own, with a time limit, ended with its job; its faults in our terms."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import git

from keruta.domain.messages import Message, message
from keruta.errors import PhaseError

LOOK_EVERY_SECONDS = 0.2

# What Git says, in the order in which it is looked for, and the reason that it is.
_SAID: tuple[tuple[str, str, Message], ...] = (
    ("host key verification failed", "HostKeyUnknown", message("git_host_key_unknown")),
    ("remote host identification has changed", "HostKeyUnknown", message("git_host_key_changed")),
    ("ssl certificate problem", "CertificateRefused", message("git_certificate_refused")),
    ("certificate verification failed", "CertificateRefused", message("git_certificate_refused")),
    ("certificate subject name", "CertificateRefused", message("git_certificate_refused")),
    ("x509: ", "CertificateRefused", message("git_certificate_refused")),
    ("could not resolve proxy", "CloneFailed", message("git_proxy_failed")),
    ("from proxy after connect", "CloneFailed", message("git_proxy_failed")),
    ("connect tunnel failed", "CloneFailed", message("git_proxy_failed")),
    ("permission denied (", "CloneAuthFailed", message("git_key_refused")),
    ("authentication failed", "CloneAuthFailed", message("git_token_refused")),
    ("could not read username", "CloneAuthFailed", message("git_credentials_wanted")),
    ("could not read password", "CloneAuthFailed", message("git_credentials_wanted")),
    ("terminal prompts disabled", "CloneAuthFailed", message("git_credentials_wanted")),
    ("error: 403", "CloneAuthFailed", message("git_not_permitted")),
    ("error: 401", "CloneAuthFailed", message("git_token_refused")),
    ("couldn't find remote ref", "RefNotFound", message("git_no_ref")),
    ("not our ref", "RefNotFound", message("git_no_commit")),
    ("unadvertised object", "RefNotFound", message("git_no_commit")),
    ("no such remote ref", "RefNotFound", message("git_no_ref")),
    ("transport '", "TransportRefused", message("git_transport_refused")),
    ("repository not found", "RepositoryNotFound", message("git_no_repository")),
    ("' not found", "RepositoryNotFound", message("git_no_repository")),
    ("does not appear to be a git repository", "RepositoryNotFound", message("git_no_repository_here")),
    ("does not exist", "RepositoryNotFound", message("git_no_repository_here")),
    ("invalid path", "CheckoutRefused", message("git_path_outside")),
    ("beyond a symbolic link", "CheckoutRefused", message("git_path_outside")),
    ("detected dubious ownership", "RepositoryNotFound", message("git_other_owner")),
    ("no space left on device", "WorkspaceFailed", message("git_disk_full")),
)


class Stopped(Exception):  # noqa: N818  it is what was asked for
    """The job was told to end while Git ran."""


class Git:
    """Git in one directory and environment.

    Args:
        stop: set when the job is to end; what runs is ended with it.
        deadline: by `time.monotonic()`.
    """

    def __init__(self, directory: Path, env: Mapping[str, str], stop: threading.Event, deadline: float) -> None:
        self.directory = directory
        # GitPython expands $ and ~ in its directory, and runs in this process's own where there is none: `-C` does not.
        self._git = git.Git("/")
        self._git.update_environment(**env)
        self._stop = stop
        self._deadline = deadline

    def __call__(self, *arguments: str, stdin: bytes | None = None, reason: str = "CloneFailed") -> str:
        """Runs Git and returns what it wrote.

        Raises:
            PhaseError: it ended badly; its last line is told, never its arguments.
            Stopped: the job is to end, or its time is up.
        """
        process = self._git.execute(
            ["git", "-C", str(self.directory.absolute()), *arguments],
            as_process=True,
            istream=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            start_new_session=True,
        )
        running: subprocess.Popen[bytes] = process.proc  # type: ignore[assignment]
        while True:
            try:
                out, err = running.communicate(stdin, timeout=LOOK_EVERY_SECONDS)
                break
            except subprocess.TimeoutExpired:
                stdin = None  # it was given already; given again it is an error
                if self._stop.is_set() or time.monotonic() > self._deadline:
                    _end(running)
        if self._stop.is_set() or time.monotonic() > self._deadline:
            raise Stopped
        if running.returncode != 0:
            raise _fault(err.decode("utf-8", "replace"), reason)
        return out.decode("utf-8", "replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    for signal_ in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, signal_)
        except ProcessLookupError:
            return
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            continue
        return


def _fault(said: str, reason: str) -> PhaseError:
    lower = said.lower()
    for words, known, meaning in _SAID:
        if words in lower:
            if reason.startswith("Push") and known in ("CloneAuthFailed", "RepositoryNotFound"):
                known = "PushRefused"
            return PhaseError(known, meaning)
    if reason.startswith("Push") and ("rejected" in lower or "denied" in lower):
        return PhaseError("PushRefused", message("git_branch_refused", said=_last(said)))
    return PhaseError(reason, message("git_failed", said=_last(said)))


def _last(said: str) -> str:
    lines: Sequence[str] = [line.strip() for line in said.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return (fatal or lines or ["it said nothing"])[0][:300]
