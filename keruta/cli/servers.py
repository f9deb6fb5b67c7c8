"""The servers that a person works with: named in `config.toml`, and signed in to by `keruta login`.

`config.toml` in the person's configuration directory (`$XDG_CONFIG_HOME/keruta`, else `~/.config/keruta`):

    default = "team"

    [servers.team]
    url = "https://keruta.example.com"

    [servers.nightly]
    url = "https://keruta.example.com"
    token_file = "~/.config/keruta/nightly.token"
"""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path

import msgspec

from keruta import structs
from keruta.errors import KerutaError

TOKEN_LIMIT_BYTES = 64 * 1024


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A server by its address. Without a token file, the person's own sign-in is used there."""

    url: str
    token_file: str | None = None


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `config.toml`."""

    default: str | None = None
    servers: dict[str, Server] = {}


def directory() -> Path:
    """Return the person's configuration directory of keruta."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "keruta"


def config() -> Config:
    """Return what `config.toml` says; nothing where there is no such file.

    Raises:
        KerutaError: the file is not TOML, has unknown fields, or its default is not among its servers.
    """
    path = directory() / "config.toml"
    try:
        found = structs.from_plain(tomllib.loads(path.read_text()), Config)
    except FileNotFoundError:
        return Config()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise KerutaError(f"{path}: {error}") from error
    if found.default is not None and found.default not in found.servers:
        raise KerutaError(f"{path}: the default server {found.default} is missing; add [servers.{found.default}]")
    return found


def named(name: str) -> Server:
    """Return the server of this name, or at this address.

    Raises:
        KerutaError: there is no such server.
    """
    if "://" in name:
        return Server(url=name.rstrip("/"))
    known = config().servers
    if name not in known:
        there = ", ".join(sorted(known)) or "none"
        raise KerutaError(
            f"no server is named {name} in {directory() / 'config.toml'}; named there: {there}. "
            "An address begins with https://"
        )
    return msgspec.structs.replace(known[name], url=known[name].url.rstrip("/"))


def token_of(server: Server) -> str | None:
    """Return the token in the server's token file; None where it names none.

    Raises:
        KerutaError: the file is empty, or others may read it.
        OSError: it can't be read.
    """
    if server.token_file is None:
        return None
    path = Path(server.token_file).expanduser()
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if stat.S_ISREG(mode) and mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise KerutaError(f"others may read the token in {path}: run `chmod 600 {path}`")
        token = file.read(TOKEN_LIMIT_BYTES).decode("utf-8", "replace").strip()
    if not token:
        raise KerutaError(f"{path} holds no token")
    return token
