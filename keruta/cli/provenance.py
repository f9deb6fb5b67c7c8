"""`keruta provenance` and `keruta verify`: signed statements of what attempts did."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from keruta.adapters.signatures import read_keys, verify
from keruta.cli import output, task_ids
from keruta.cli.connection import connect
from keruta.cli.context import Context, json_option, pass_context
from keruta.cli.machine import find_state, here
from keruta.cli.reading import read_bounded, shown
from keruta.domain.provenance import PublicKey
from keruta.local.state import find

GROUP = click.Group("provenance", help="Signed statements of what attempts did.")


@GROUP.command("show")
@click.argument("task_id", metavar="ID")
@click.option("--attempt", type=click.IntRange(1), help="The attempt's number; by default the last one.")
@json_option
def show(task_id: str, attempt: int | None) -> None:
    """Print an attempt's provenance statement: a DSSE envelope, to keep beside the attempt's files."""
    client = connect()
    sys.stdout.buffer.write(client.provenance(task_ids.find(client, task_id), attempt=attempt) + b"\n")
    sys.stdout.flush()


@GROUP.command("keys")
@json_option
@pass_context
def keys(context: Context) -> None:
    """Print the public keys of all signatures, as PEM: keep them for `keruta verify --key`."""
    found = connect().provenance_keys()
    click.echo(msgspec.json.encode(found) if context.json else "".join(key.public_key for key in found.keys), nl=False)


@GROUP.command("rotate-key")
@json_option
@pass_context
def rotate_key(context: Context) -> None:
    """Make a new signing key on this machine; older statements stay verifiable."""
    key = find_state().rotate_provenance_key()
    output.note(f"statements are signed with the key {key.keyid} from now on; the old ones stay published")
    if context.json:
        output.document({"keyid": key.keyid})


@click.command("verify")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--key",
    "key_file",
    type=click.Path(path_type=Path),
    help="File with the trusted public keys: PEM, or the output of `keruta provenance keys`. No connection is made.",
)
@click.option(
    "--artifact",
    "artifacts",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A file whose SHA-256 the statement must contain.",
)
@json_option
@pass_context
def verify_(context: Context, file: Path, key_file: Path | None, artifacts: tuple[Path, ...]) -> None:
    """Verify a statement's signature by these keys and print its content: keruta verify FILE --key KEYS."""
    statement, key = verify(read_bounded(str(file)), _trusted(key_file))
    for path in artifacts:
        _must_be_about(statement, path)
    if context.json:
        click.echo(msgspec.json.encode(statement))
        return
    for name, value in _told(statement):
        click.echo(f"{name:<12}{value}")
    output.note(f"{file} is signed by the key {key.keyid}")


def _trusted(key_file: Path | None) -> list[PublicKey]:
    """The keys of the file, else of the keruta on this machine, else of the one that a person is signed in to."""
    if key_file is not None:
        return read_keys(read_bounded(str(key_file)))
    state = find(here())
    if state is not None and state.provenance_key.exists():
        return state.provenance_keys()
    return connect().provenance_keys().keys


def _must_be_about(statement: dict[str, Any], path: Path) -> None:
    found = _sha256(path)
    subjects = _list(statement.get("subject"))
    if not any(_dict(one.get("digest")).get("sha256") == found for one in subjects):
        raise click.ClickException(f"{path} is not in the statement: no subject has its SHA-256, {found}")


def _sha256(path: Path) -> str:
    """Return the hash of a file of any size. Raises ClickException."""
    try:
        if not path.is_file():  # a device or a pipe may have no end
            return hashlib.sha256(read_bounded(str(path))).hexdigest()
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise click.ClickException(f"{shown(str(path))} can't be read: {error.strerror}") from error


def _told(statement: dict[str, Any]) -> list[tuple[str, object]]:
    """The lines of a statement; whatever has another form than ours is left out."""
    predicate = _dict(statement.get("predicate"))
    run = _dict(predicate.get("runDetails"))
    metadata = _dict(run.get("metadata"))
    definition = _dict(predicate.get("buildDefinition"))
    outcome = _dict(metadata.get("keruta_outcome"))
    lines: list[tuple[str, object]] = [
        ("attempt", metadata.get("invocationId")),
        ("run by", _dict(run.get("builder")).get("id")),
        ("outcome", " ".join(str(outcome[name]) for name in ("outcome", "reason") if outcome.get(name))),
        ("finished", metadata.get("finishedOn")),
    ]
    for one in _list(definition.get("resolvedDependencies")):
        lines.append(("made from", f"{one.get('uri')} {_digest(one)}"))
    for one in _list(statement.get("subject")):
        lines.append(("made", f"{one.get('name')} {_digest(one)}"))
    return [(name, _printable(str(value))) for name, value in lines if value]


def _printable(text: str) -> str:
    """Return a text without characters that control a terminal."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _digest(one: dict[str, Any]) -> str:
    return " ".join(f"{name}:{value}" for name, value in _dict(one.get("digest")).items())


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


COMMANDS = (GROUP, verify_)
