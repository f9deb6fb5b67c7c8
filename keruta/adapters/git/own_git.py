"""Settings about servers in the user's own Git configuration.

Where there are any, Git itself must ask: by another address, a proxy, certificates, headers of the user's own.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

# Sections, and single settings, by which Git would ask otherwise; what is included elsewhere may change unnoticed.
_SAYS = (
    "http.",
    "url.",
    "include",
    "protocol.",
    "remote.",
    "core.gitproxy",
    "transfer.",
    "gitproxy",
)
_LOGIN = re.compile(r"credential\.|http\.(.*\.)?(extraheader|cookiefile|sslcert)$")
# Variables that are passed on to Git, and are for https alone.
_VARIABLES = ("HTTPS_PROXY", "https_proxy", "SSL_CERT_FILE")
SECONDS = 10
KNOWN_SECONDS = 300  # Git may have been built with another place for the system's file

_lock = threading.Lock()
_known: dict[tuple[object, ...], Sequence[str] | None] = {}


def is_plain(scheme: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether Git would ask a server as any program does. Git is asked again when a file changes.

    Args:
        scheme: http or https.
    """
    home = environ.get("HOME")
    if home is None or os.path.lexists(Path(home, ".netrc")):
        return False
    if scheme == "https" and any(environ.get(name) for name in _VARIABLES):
        return False
    names = _names(home, environ.get("PATH", os.defpath))
    return names is not None and not any(name.startswith(_SAYS) for name in names)


def has_login(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether the user's own Git may log in at a server: by a helper, a header, or ~/.netrc."""
    home = environ.get("HOME")
    if home is None:
        return False
    names = _names(home, environ.get("PATH", os.defpath)) or ()
    return os.path.lexists(Path(home, ".netrc")) or any(_LOGIN.match(name) for name in names)


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _names(home: str, path: str) -> Sequence[str] | None:
    """Return the names of the system's settings and the user's, in small letters; None where they can't be read.

    They are known until a file changes, but where one includes others: those may change unnoticed.
    """
    files = (Path("/etc/gitconfig"), Path(home, ".gitconfig"), Path(home, ".config/git/config"))
    key = (home, time.monotonic() // KNOWN_SECONDS, *map(_state, files))
    with _lock:
        if key not in _known:
            _known.clear()
            names = _read_names(home, path)
            if any(name.startswith("include") for name in names or ()):
                return names
            _known[key] = names
        return _known[key]


def _read_names(home: str, path: str) -> Sequence[str] | None:
    """Ask Git for the names of all settings."""
    found: list[str] = []
    env = {"HOME": home, "PATH": path, "LC_ALL": "C"}
    for scope in ("--system", "--global"):
        try:
            done = subprocess.run(
                ["git", "config", scope, "--includes", "--list", "--name-only", "-z"],
                env=env, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return None
        if done.returncode != 0 and not _has_no_file(scope, home):
            return None
        found += done.stdout.decode("utf-8", "replace").lower().split("\0")
    return found


def _has_no_file(scope: str, home: str) -> bool:
    places = [Path("/etc/gitconfig")]
    if scope == "--global":
        places = [Path(home, ".gitconfig"), Path(home, ".config/git/config")]
    return not any(os.path.lexists(place) for place in places)
