"""Credentials for Git servers, and how Git gets them: never in an address, an argument or its configuration."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote

import msgspec

from keruta.adapters.git import ssh_guard
from keruta.domain.catalog.ssh_keys import ssh_key_fault
from keruta.domain.repository import transport
from keruta.errors import PhaseError
from keruta.network import Network, network

STALL_SECONDS = 60


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """A credential for a Git server. `token` and `ssh_key` are secrets; `repr` shows none.

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
        """Return the texts that must be masked in all output of the job."""
        key_lines = [line for line in self.ssh_key.splitlines() if line and not line.startswith("-----")]
        return [part.encode() for part in (self.token, *key_lines) if len(part) >= 4]


def first_lines(credential: Credential) -> tuple[str, str] | None:
    """User name and token, as Git would read them from `askpass`; None where there is not both."""
    username, token = (
        text.strip("\r\n").replace("\r", "\n").partition("\n")[0] for text in (credential.username, credential.token)
    )
    return (username, token) if username and token and ":" not in username else None


_ASKPASS = """#!/bin/sh
case "$1" in
{username}) cat {directory}/username ;;
{token}) cat {directory}/token ;;
*) exit 1 ;;
esac
"""


@contextmanager
def environment(
    credential: Credential | None,
    directory: Path,
    *,
    url: str,
    transports: frozenset[str],
    own: bool,
    reach: Network | None = None,
    stall_seconds: int = STALL_SECONDS,
) -> Iterator[dict[str, str]]:
    """Gives the environment that Git runs in; the files that it needs are gone afterwards.

    Args:
        directory: a private one, made here; on the same terms as the job's.
        url: the repository's. A submodule elsewhere is not given the credential: askpass answers for this host alone.
        own: whether the user's own configuration and keys may serve.
        stall_seconds: how long a server may send nothing before Git gives it up.
        reach: how servers are reached; not given: as this process's settings say.
    """
    if transport(url) != "file":
        transports = transports - {"file"}  # what a server's repository names, as a submodule, is not this machine's
    env = {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": ":".join(sorted(transports)),
        "GIT_PROTOCOL_FROM_USER": "0",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_ADVICE": "0",
        "GIT_HTTP_LOW_SPEED_LIMIT": "1",  # byte a second, over all of this time
        "GIT_HTTP_LOW_SPEED_TIME": str(stall_seconds),
        "LC_ALL": "C",
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
    }
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    guard = f"{shlex.quote(sys.executable)} -I -S {shlex.quote(ssh_guard.__file__)} {stall_seconds}"
    env["GIT_SSH_VARIANT"] = "ssh"  # Git would ask what program this is
    alive = f"-o ServerAliveInterval={max(1, stall_seconds // 3)} -o ServerAliveCountMax=3"
    if own and credential is None:
        kept = ("HOME", "SSH_AUTH_SOCK", "USER", "SSL_CERT_FILE", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")
        env |= {name: os.environ[name] for name in kept if name in os.environ}
        env["GIT_SSH_COMMAND"] = f"{guard} ssh -o BatchMode=yes -o ConnectTimeout=10 {alive}"
    else:
        ssh = "ssh -F none -o BatchMode=yes -o ConnectTimeout=10 -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes"
        ssh = f"{ssh} {alive}"
        env |= {"HOME": str(directory), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
        files = {"UserKnownHostsFile": directory / "known_hosts", "IdentityFile": directory / "key"}
        options = " ".join(f"-o {shlex.quote(f'{name}={_ssh_path(path)}')}" for name, path in files.items())
        env["GIT_SSH_COMMAND"] = f"{guard} {ssh} {options}"
    if "ssh" not in transports:  # Git LFS goes wherever a repository's .lfsconfig says
        env["GIT_SSH_COMMAND"] = "false"
    reach = reach or network()
    try:
        env |= reach.own_variables(_bundle(reach, directory))
        if credential is not None:
            _write(credential, directory, url)
            env["GIT_ASKPASS"] = str(directory / "askpass")
        yield env
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _bundle(reach: Network, directory: Path) -> Path | None:
    """A file with the certificates that are trusted, where they are not the machine's own alone."""
    text = reach.bundle()
    if text is None:
        return None
    _private(directory / "ca.pem", text)
    return directory / "ca.pem"


def _write(credential: Credential, directory: Path, url: str) -> None:
    if credential.ssh_key and (wrong := ssh_key_fault(credential.ssh_key)):
        raise PhaseError("CredentialMissing", wrong)  # out of a Kubernetes Secret, which nobody has looked at before
    for name in ("username", "token"):
        _private(directory / name, getattr(credential, name))
    _private(directory / "known_hosts", credential.known_hosts.replace("\r\n", "\n"))
    _private(directory / "key", credential.ssh_key.strip() + "\n" if credential.ssh_key else "")
    script = "#!/bin/sh\nexit 1\n"
    if transport(url) in ("http", "https"):
        username, token = _prompts(url, credential.username.strip("\r\n"))
        script = _ASKPASS.format(username=username, token=token, directory=shlex.quote(str(directory)))
    _private(directory / "askpass", script, mode=0o700)


def _prompts(url: str, username: str) -> tuple[str, str]:
    """The patterns of a shell's `case` for the questions that Git and Git LFS ask for this host alone.

    Git writes the user's name with everything but letters, digits and -._~ percent-encoded, in small letters; newer
    versions may use capital ones. Git LFS asks in its own words, encoded as Go's net/url does.
    """
    scheme, _, rest = url.partition("://")
    host = unquote(rest.split("/", 1)[0].split("?", 1)[0])
    capital = quote(username, safe="-._~")
    small = re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), capital)
    of_go = quote(username, safe="-._~$&+,;=")
    origin = f"{scheme}://{host}"
    asked = [f"Password for '{scheme}://{name}@{host}': " for name in dict.fromkeys((small, capital))]
    asked += [f'Password for "{scheme}://{name}@{host}"' for name in dict.fromkeys((of_go, capital))]
    return (
        "|".join(map(shlex.quote, (f"Username for '{origin}': ", f'Username for "{origin}"'))),
        "|".join(map(shlex.quote, asked)),
    )


def _ssh_path(path: Path) -> str:
    """A path as a value of an option of ssh: words are split, and % begins a token. Source: ssh_config(5)."""
    return '"' + str(path).replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"') + '"'


def _private(path: Path, text: str, mode: int = 0o600) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write(text)
