"""`keruta login` and `logout`: a person's own sign-in at the identity provider, by a code that is typed into a browser.

What comes of it lies in a file of mode 0600 in the person's configuration directory, made new before it runs out.
Source: https://www.rfc-editor.org/rfc/rfc8628 (device code), https://www.rfc-editor.org/rfc/rfc7009 (revocation)
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click
import msgspec
import urllib3

from keruta.errors import KerutaError
from keruta.onemachine.state import write_private

REQUEST_SECONDS = 15.0
RENEW_WHEN_LEFT_SECONDS = 30.0
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


class SignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """Where someone has signed in, and their tokens."""

    url: str
    issuer: str
    client: str
    access_token: str
    refresh_token: str
    expires_at: float


class Provider:
    """The identity provider that a keruta names."""

    def __init__(self, issuer: str, client: str) -> None:
        self.issuer, self.client = issuer, client
        self._pool = urllib3.PoolManager(retries=False, timeout=REQUEST_SECONDS)
        self._endpoints = self._answered("GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration", None)[1]

    def begin(self) -> dict[str, Any]:
        """A code for a person to type. Raises KerutaError."""
        status, said = self._post("device_authorization_endpoint", {"scope": "openid"})
        if status != 200:
            raise KerutaError(f"the identity provider lets no one sign in by a code: {_why(said)}")
        return said

    def poll(self, begun: dict[str, Any], sleep: Callable[[float], None] = time.sleep) -> dict[str, Any]:
        """The tokens, once the person has typed the code. Raises KerutaError when they did not, or would not."""
        pause = float(begun.get("interval", 5))
        until = time.monotonic() + float(begun["expires_in"])
        while time.monotonic() < until:
            sleep(pause)
            form = {"grant_type": DEVICE_GRANT, "device_code": begun["device_code"]}
            status, said = self._post("token_endpoint", form)
            if status == 200:
                return said
            if said.get("error") == "slow_down":
                pause += 5
            elif said.get("error") != "authorization_pending":
                raise KerutaError(f"not signed in: {_why(said)}")
        raise KerutaError("not signed in: the code was not typed in time; try again")

    def renew(self, refresh_token: str) -> dict[str, Any]:
        """Raises KerutaError when the sign-in is over."""
        status, said = self._post("token_endpoint", {"grant_type": "refresh_token", "refresh_token": refresh_token})
        if status != 200:
            raise KerutaError(f"your sign-in is over ({_why(said)}); run `keruta login` again")
        return said

    def revoke(self, refresh_token: str) -> None:
        self._post("revocation_endpoint", {"token": refresh_token, "token_type_hint": "refresh_token"})

    def _post(self, endpoint: str, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if endpoint not in self._endpoints:
            raise KerutaError(f"the identity provider has no {endpoint.replace('_', ' ')}")
        return self._answered("POST", self._endpoints[endpoint], {"client_id": self.client, **form})

    def _answered(self, method: str, url: str, form: dict[str, str] | None) -> tuple[int, dict[str, Any]]:
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
        try:
            answer = self._pool.request(method, url, body=urlencode(form) if form else None, headers=headers)
            said = json.loads(answer.data) if answer.data else {}
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise KerutaError(f"the identity provider at {self.issuer} does not answer as one") from error
        return answer.status, said if isinstance(said, dict) else {}


def _why(said: dict[str, Any]) -> str:
    return str(said.get("error_description") or said.get("error") or "it did not say why")[:200]


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
            found = msgspec.json.decode(path.read_bytes(), type=SignedIn)
        except (OSError, msgspec.DecodeError):
            return None
        if url is not None and found.url != url.rstrip("/"):
            return None
        if found.expires_at - time.time() > RENEW_WHEN_LEFT_SECONDS:
            return found
        renewed = Provider(found.issuer, found.client).renew(found.refresh_token)
        return _keep(path, found.url, found.issuer, found.client, renewed)


def _keep(path: Path, url: str, issuer: str, client: str, tokens: dict[str, Any]) -> SignedIn:
    made = SignedIn(
        url=url,
        issuer=issuer,
        client=client,
        access_token=str(tokens["access_token"]),
        refresh_token=str(tokens.get("refresh_token", "")),
        expires_at=time.time() + float(tokens.get("expires_in", 60)),
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
    pool = urllib3.PoolManager(retries=False, timeout=REQUEST_SECONDS)
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
            found = msgspec.json.decode(path.read_bytes(), type=SignedIn)
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
    show_default=True, help="What it may do; may be given several times.",
)  # fmt: skip
@click.option("--name", default="someone", show_default=True, help="Whom it speaks for.")
@click.option("--hours", type=click.IntRange(1, 24 * 30), default=1, show_default=True, help="How long it is good.")
def token(roles: tuple[str, ...], name: str, hours: int) -> None:
    """Print a token of this machine's own issuer, for trying things out."""
    from datetime import timedelta

    from keruta.cli.connecting import find_state

    click.echo(find_state().issuer().issue(name, list(roles), lifetime=timedelta(hours=hours)))


COMMANDS = (login, logout, token)
