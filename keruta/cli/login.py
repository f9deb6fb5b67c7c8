"""`keruta login` and `logout`: a person's own sign-in at the identity provider, by a code that is typed into a browser.

The tokens lie in a file of mode 0600 in the person's configuration directory, one sign-in for each address, and are
renewed before they run out.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import click
import msgspec

from keruta import structs
from keruta.adapters.identity.provider import Provider
from keruta.cli import output, servers
from keruta.cli.context import Context, json_option, pass_context
from keruta.cli.machine import find_state
from keruta.client.transport import Transport
from keruta.domain.sign_in import Tokens
from keruta.errors import KerutaError, ProviderRefusedError
from keruta.files import write_private

RENEW_WHEN_LEFT_SECONDS = 30.0


class SignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """A stored sign-in: the address and its tokens."""

    url: str
    issuer: str
    client: str
    access_token: str
    refresh_token: str
    expires_at: float


class _Offered(msgspec.Struct, frozen=True, kw_only=True):
    """An answer of keruta: where people sign in, and as which client."""

    issuer: str
    client: str


class SignIns(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the file: one sign-in for each address, the newest first."""

    sign_ins: list[SignedIn]


# ---------------------------------------------------------------- the file


def file() -> Path:
    return servers.directory() / "signed-in.json"


def signed_in(url: str | None = None) -> SignedIn | None:
    """Return the sign-in at an address, or the newest one, renewed when it is about to run out.

    Returns:
        None where nobody is signed in.

    Raises:
        KerutaError: it has ended.
    """
    with _locked() as path:
        found = _of(_read(path), url)
        if found is None or found.expires_at - time.time() > RENEW_WHEN_LEFT_SECONDS:
            return found
        try:
            renewed = Provider(found.issuer, found.client).renew(found.refresh_token)
        except ProviderRefusedError as error:
            raise KerutaError(f"{error}; run `keruta login {found.url}` again") from error
        return _keep(path, found.url, found.issuer, found.client, renewed, newest=False)


def _read(path: Path) -> list[SignedIn]:
    """Return every sign-in on file, also from a file of an earlier version, which held one alone."""
    try:
        content = path.read_bytes()
    except OSError:
        return []
    try:
        return structs.from_json(content, type=SignIns).sign_ins
    except msgspec.MsgspecError:
        pass
    try:
        return [structs.from_json(content, type=SignedIn)]
    except msgspec.MsgspecError:
        return []


def _of(known: Sequence[SignedIn], url: str | None) -> SignedIn | None:
    if url is None:
        return known[0] if known else None
    return next((one for one in known if one.url == url.rstrip("/")), None)


def _keep(path: Path, url: str, issuer: str, client: str, tokens: Tokens, *, newest: bool = True) -> SignedIn:
    made = SignedIn(
        url=url,
        issuer=issuer,
        client=client,
        access_token=tokens.access_token,
        refresh_token=tokens.refresh_token,
        expires_at=tokens.expires_at,
    )
    known = _read(path)
    if newest or _of(known, url) is None:
        kept = [made, *(one for one in known if one.url != url)]
    else:
        kept = [made if one.url == url else one for one in known]
    write_private(path, msgspec.json.encode(SignIns(sign_ins=kept)))
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
@click.argument("server", metavar="URL|NAME")
@json_option
@pass_context
def login(context: Context, server: str) -> None:
    """Sign in to the keruta at an address, or to a server of config.toml, by a code that you type into a browser."""
    url = _address(server)
    offered = Transport(url, None).json("GET", "/api/v1/sign-in", _Offered)
    issuer, client = offered.issuer, offered.client
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
    if context.json:
        output.document({"url": url})


def _address(server: str) -> str:
    """Return the address of a server that a person names."""
    return servers.named(server).url


@click.command()
@click.argument("server", metavar="[SERVER]", required=False)
@json_option
@pass_context
def logout(context: Context, server: str | None) -> None:
    """Sign out of SERVER, or of the newest sign-in's: what `keruta login` left here is revoked and gone."""
    address = _address(server) if server is not None else None
    with _locked() as path:
        known = _read(path)
        found = _of(known, address)
        if found is None:
            click.echo(f"Nobody is signed in {'here' if address is None else f'to {address} here'}.", err=True)
            return
        if left := [one for one in known if one.url != found.url]:
            write_private(path, msgspec.json.encode(SignIns(sign_ins=left)))
        else:
            path.unlink()
    try:
        Provider(found.issuer, found.client).revoke(found.refresh_token)
    except KerutaError as error:
        raise KerutaError(f"signed out here; the identity provider was not told: {error}") from error
    click.echo(f"Signed out of {found.url}.", err=True)
    if context.json:
        output.document({"url": found.url})


@click.command()
@click.option(
    "--role", "roles", multiple=True, type=click.Choice(["viewer", "developer", "admin"]), default=["viewer"],
    show_default=True, help="A role of the token; can be given several times.",
)  # fmt: skip
@click.option("--name", default="someone", show_default=True, help="The name in the token.")
@click.option(
    "--hours", type=click.IntRange(1, 24 * 30), default=1, show_default=True, help="Hours for which the token is valid."
)
@json_option
@pass_context
def token(context: Context, roles: tuple[str, ...], name: str, hours: int) -> None:
    """Print a token of this machine's own issuer, for trying things out."""
    made = find_state().issuer().issue(name, list(roles), lifetime=timedelta(hours=hours))
    output.document({"token": made}) if context.json else click.echo(made)


COMMANDS = (login, logout, token)
