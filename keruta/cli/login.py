"""`keruta login` and `logout`: a person's own sign-in at the identity provider, by a code that is typed into a browser.

What comes of it lies in a file of mode 0600 in the person's configuration directory, made new before it runs out.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec
import urllib3

from keruta import structs
from keruta.adapters.identity.provider import Provider
from keruta.cli.machine import find_state
from keruta.domain.sign_in import Tokens
from keruta.errors import KerutaError, ProviderRefusedError
from keruta.files import write_private
from keruta.network import Pools

REQUEST_SECONDS = 15.0
RENEW_WHEN_LEFT_SECONDS = 30.0


class SignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """A stored sign-in: the address and its tokens."""

    url: str
    issuer: str
    client: str
    access_token: str
    refresh_token: str
    expires_at: float


# ---------------------------------------------------------------- the file


def file() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "keruta" / "signed-in.json"


def signed_in(url: str | None = None) -> SignedIn | None:
    """The sign-in that is on file, its token good for a while; None when there is none, or it is for another address.

    Raises:
        KerutaError: it is over.
    """
    with _locked() as path:
        try:
            found = structs.from_json(path.read_bytes(), type=SignedIn)
        except (OSError, msgspec.DecodeError):
            return None
        if url is not None and found.url != url.rstrip("/"):
            return None
        if found.expires_at - time.time() > RENEW_WHEN_LEFT_SECONDS:
            return found
        try:
            renewed = Provider(found.issuer, found.client).renew(found.refresh_token)
        except ProviderRefusedError as error:
            raise KerutaError(f"{error}; run `keruta login` again") from error
        return _keep(path, found.url, found.issuer, found.client, renewed)


def _keep(path: Path, url: str, issuer: str, client: str, tokens: Tokens) -> SignedIn:
    made = SignedIn(
        url=url,
        issuer=issuer,
        client=client,
        access_token=tokens.access_token,
        refresh_token=tokens.refresh_token,
        expires_at=tokens.expires_at,
    )
    write_private(path, msgspec.json.encode(made))
    return made


@contextmanager
def _locked() -> Iterator[Path]:
    """One at a time: a refresh token is good once."""
    path = file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield path


# ---------------------------------------------------------------- commands


@click.command()
@click.argument("url")
def login(url: str) -> None:
    """Sign in to the keruta at URL, by a code that you type into a browser."""
    url = url.rstrip("/")
    pool = Pools(retries=False, timeout=REQUEST_SECONDS)
    try:
        said = json.loads(pool.request("GET", f"{url}/api/v1/sign-in").data)
        issuer, client = str(said["issuer"]), str(said["client"])
    except (urllib3.exceptions.HTTPError, ValueError, KeyError, TypeError) as error:
        raise KerutaError(f"there is no keruta at {url}") from error
    if not issuer.startswith(("https://", "http://")):
        raise KerutaError(f"the keruta at {url} runs on one machine: use `keruta env` or `keruta token` there")
    provider = Provider(issuer, client)
    begun = provider.begin()
    where = begun.get("verification_uri_complete") or begun["verification_uri"]
    click.echo(f"Open {where}\nand confirm the code {begun['user_code']}", err=True)
    tokens = provider.poll(begun)
    with _locked() as path:
        _keep(path, url, issuer, client, tokens)
    click.echo(f"Signed in to {url}.", err=True)


@click.command()
def logout() -> None:
    """Sign out: what `keruta login` left here is revoked and gone."""
    with _locked() as path:
        try:
            found = structs.from_json(path.read_bytes(), type=SignedIn)
        except (OSError, msgspec.DecodeError):
            click.echo("Nobody is signed in here.", err=True)
            return
        path.unlink()
    try:
        Provider(found.issuer, found.client).revoke(found.refresh_token)
    except KerutaError as error:
        raise KerutaError(f"signed out here; the identity provider was not told: {error}") from error
    click.echo(f"Signed out of {found.url}.", err=True)


@click.command()
@click.option(
    "--role", "roles", multiple=True, type=click.Choice(["viewer", "developer", "admin"]), default=["viewer"],
    show_default=True, help="A role of the token; can be given several times.",
)  # fmt: skip
@click.option("--name", default="someone", show_default=True, help="The name in the token.")
@click.option(
    "--hours", type=click.IntRange(1, 24 * 30), default=1, show_default=True, help="Hours for which the token is valid."
)
def token(roles: tuple[str, ...], name: str, hours: int) -> None:
    """Print a token of this machine's own issuer, for trying things out."""
    from datetime import timedelta

    click.echo(find_state().issuer().issue(name, list(roles), lifetime=timedelta(hours=hours)))


COMMANDS = (login, logout, token)
