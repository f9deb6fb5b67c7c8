"""Credentials for Git servers, and how Git gets them: never in an address, an argument or its configuration."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from keruta.domain.repository import transport
from keruta.errors import PhaseError


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """What opens a Git server. `token` and `ssh_key` are secrets; `repr` shows none.

    Args:
        name: by what the clone cache tells whose a commit is; the credential's own name and revision.
    """

    name: str = ""
    username: str = ""
    token: str = ""
    ssh_key: str = ""
    known_hosts: str = ""

    def __repr__(self) -> str:
        return f"Credential({self.name!r})"

    @property
    def secrets(self) -> list[bytes]:
        """What must not leave the job in any output."""
        key_lines = [line for line in self.ssh_key.splitlines() if line and not line.startswith("-----")]
        return [part.encode() for part in (self.token, *key_lines) if len(part) >= 4]


_ASKPASS = """#!/bin/sh
case "$1" in
"Username for '{origin}': ") cat "{directory}/username" ;;
"Password for '{asked}': ") cat "{directory}/token" ;;
*) exit 1 ;;
esac
"""


@contextmanager
def environment(
    credential: Credential | None, directory: Path, *, url: str, transports: frozenset[str], own: bool
) -> Iterator[dict[str, str]]:
    """Gives the environment that Git runs in; the files that it needs are gone afterwards.

    Args:
        directory: a private one, made here; on the same terms as the job's.
        url: the repository's. A submodule elsewhere is not given the credential: askpass answers for this host alone.
        own: whether the user's own configuration and keys may serve.
    """
    env = {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": ":".join(sorted(transports)),
        "GIT_PROTOCOL_FROM_USER": "0",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_ADVICE": "0",
        "LC_ALL": "C",
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
    }
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if own and credential is None:
        kept = ("HOME", "SSH_AUTH_SOCK", "USER", "SSL_CERT_FILE", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")
        env |= {name: os.environ[name] for name in kept if name in os.environ}
        env["GIT_SSH_COMMAND"] = "ssh -o BatchMode=yes -o ConnectTimeout=10"
    else:
        ssh = "ssh -F none -o BatchMode=yes -o ConnectTimeout=10 -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes"
        env |= {"HOME": str(directory), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
        env["GIT_SSH_COMMAND"] = f"{ssh} -o UserKnownHostsFile='{directory}/known_hosts' -i '{directory}/key'"
    try:
        if credential is not None:
            _write(credential, directory, url)
            env["GIT_ASKPASS"] = str(directory / "askpass")
        yield env
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _write(credential: Credential, directory: Path, url: str) -> None:
    for name in ("username", "token", "known_hosts"):
        _private(directory / name, getattr(credential, name))
    _private(directory / "key", credential.ssh_key.rstrip("\n") + "\n" if credential.ssh_key else "")
    if transport(url) in ("http", "https"):
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        asked = f"{parts.scheme}://{credential.username}@{parts.netloc}"
        script = _ASKPASS.format(origin=_quotable(origin), asked=_quotable(asked), directory=directory)
        _private(directory / "askpass", script, mode=0o700)
    else:
        _private(directory / "askpass", "#!/bin/sh\nexit 1\n", mode=0o700)


def _quotable(text: str) -> str:
    """What can stand in the pattern of a shell's `case`. Raises PhaseError for what can't."""
    if any(c in text for c in "\"`$\\*?['\n"):
        raise PhaseError("CloneAuthFailed", "The repository's address has a character that can't be used with a token.")
    return text


def _private(path: Path, text: str, mode: int = 0o600) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write(text)
