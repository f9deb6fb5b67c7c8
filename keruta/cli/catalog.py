"""Commands for the catalog: the same ones for every kind, with options from its fields, and those of single kinds."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click
import msgspec

from keruta import structs
from keruta.cli import forges, output
from keruta.cli.catalog_options import fields_given, options, read
from keruta.cli.connection import connect
from keruta.cli.context import Context, json_option, pass_context
from keruta.cli.machine import find_state
from keruta.domain.catalog.kinds import KINDS, Kind

COLUMNS: dict[str, tuple[str, ...]] = {
    "repository": ("url", "default_ref", "default_profile"),
    "credential": ("type", "fingerprint", "used_by"),
    "document": ("title", "tags", "size_bytes"),
    "profile": ("image", "description"),
    "queue": ("weight", "max_running", "paused"),
    "forge": ("type", "url", "credential"),
    "template": ("repository", "queue", "description"),
    "service_account": ("groups", "used_by", "description"),
    "trigger": ("repository", "forge", "provider", "events", "schedule", "service_account", "paused"),
}


def add_to(cli: click.Group) -> None:
    """Add every command of the catalog."""
    for kind in KINDS.values():
        cli.add_command(_group(kind))
    for command in (_export, _import, _prune, _circuits, _audit):
        cli.add_command(command)


def _group(kind: Kind) -> click.Group:
    group = click.Group(kind.path, help=f"List, show and change {kind.many}.")
    for command in (_list(kind), _show(kind), _create(kind), _edit(kind), _delete(kind)):
        group.add_command(command)
    for command in _OWN.get(kind.name, ()):
        group.add_command(command)
    return group


# ---------------------------------------------------------------- the same for every kind


def _list(kind: Kind) -> click.Command:
    @click.command("list", help=f"List {kind.many}.")
    @click.option("--sort", type=click.Choice(["name", "-name", "updated", "-updated"]), default="name")
    @click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
    @click.option("--cursor", help="Show the next page: the cursor that the previous page printed.")
    @json_option
    @pass_context
    def command(context: Context, /, **filters: Any) -> None:
        page = connect().entries(kind.name, **filters)
        rows = [
            [item.name, *(_cell(getattr(item, column, None)) for column in COLUMNS[kind.name])] for item in page.items
        ]
        output.table(page, ["name", *COLUMNS[kind.name]], rows, as_json=context.json)

    for name in kind.filters:
        command.params.append(click.Option([f"--{name}"], help=f"Only entries with this {name}."))
    if kind.name == "document":
        command.params.append(click.Option(["-q", "--search", "q"], help="Words that the title or text must contain."))
    return command


def _show(kind: Kind) -> click.Command:
    @click.command("show", help=f"Show a {kind.words}.")
    @click.argument("name")
    @json_option
    @pass_context
    def command(context: Context, name: str) -> None:
        output.entry(connect().entry(kind.name, name), as_json=context.json)

    return command


def _create(kind: Kind) -> click.Command:
    @click.command("create", help=f"Add a {kind.words}.")
    @click.argument("name")
    @json_option
    @pass_context
    def command(context: Context, /, name: str, **given: Any) -> None:
        spec = {"name": name, **fields_given(kind, given)}
        if kind.name == "credential":
            spec |= _asked_for(spec)
        output.entry(connect().create(kind.name, spec), as_json=context.json)

    command.params += options(kind)
    return command


def _edit(kind: Kind) -> click.Command:
    @click.command("edit", help=f"Change a {kind.words}; fields that are not named keep their values.")
    @click.argument("name")
    @click.option("--unset", multiple=True, metavar="FIELD", help="Set this field to its default.")
    @json_option
    @pass_context
    def command(context: Context, /, name: str, unset: tuple[str, ...], **given: Any) -> None:
        client = connect()
        now = client.entry(kind.name, name)
        fields = {field.encode_name for field in msgspec.structs.fields(kind.spec)}
        if unknown := sorted(set(unset) - fields):
            raise click.ClickException(f"there is no field {', '.join(unknown)}; known are {', '.join(sorted(fields))}")
        plain: dict[str, Any] = msgspec.to_builtins(now)
        spec = {key: value for key, value in plain.items() if key in fields and key not in unset and value is not None}
        output.entry(
            client.replace(kind.name, {**spec, **fields_given(kind, given)}, revision=now.meta.revision),
            as_json=context.json,
        )

    command.params += options(kind)
    return command


def _delete(kind: Kind) -> click.Command:
    @click.command("delete", help=f"Delete a {kind.words}.")
    @click.argument("name")
    @click.option("--force", is_flag=True, help="Delete it even if queued tasks need it; these fail with a reason.")
    @json_option
    @pass_context
    def command(context: Context, name: str, force: bool) -> None:
        connect().delete(kind.name, name, force=force)
        if context.json:
            output.document({"deleted": name})

    return command


def _asked_for(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Prompt for a token or value that was not given, without echo, where standard input is a terminal."""
    fields = {"token": "token", "forge_token": "token", "secret": "value", "webhook_secret": "value"}
    field = fields.get(str(spec.get("type")))
    if field is None or field in spec or "kubernetes_secret" in spec or not sys.stdin.isatty():
        return {}
    return {field: click.prompt(field, hide_input=True)}


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, msgspec.Struct):
        return str(getattr(value, "reason", ""))
    return "" if value is None else str(value)


# ---------------------------------------------------------------- commands of single kinds


@click.command("validate", help="Check a repository on its Git server: default branch, commit, or what is wrong.")
@click.argument("name")
@json_option
@pass_context
def _validate(context: Context, name: str) -> None:
    found = connect().validate(name)
    output.entry(found, as_json=context.json)
    sys.exit(1 if found.reason else 0)


@click.command("validate", help="Ask the model's server whether it takes the key; print the models that it offers.")
@click.argument("name")
@json_option
@pass_context
def _validate_key(context: Context, name: str) -> None:
    found = connect().validate_key(name)
    output.entry(found, as_json=context.json)
    sys.exit(0 if found.accepted else 1)


@click.command("pause", help="Stop starting tasks of a queue until it is resumed.")
@click.argument("name")
@click.option("--reason", required=True, help="Shown with every task that waits.")
@json_option
@pass_context
def _pause(context: Context, name: str, reason: str) -> None:
    output.entry(connect().pause(name, reason), as_json=context.json)


@click.command("resume", help="Start tasks of a queue again.")
@click.argument("name")
@json_option
@pass_context
def _resume(context: Context, name: str) -> None:
    output.entry(connect().resume(name), as_json=context.json)


@click.command("versions", help="List a document's versions, or show one.")
@click.argument("name")
@click.argument("version", type=click.IntRange(1), required=False)
@json_option
@pass_context
def _versions(context: Context, name: str, version: int | None) -> None:
    client = connect()
    if version is not None:
        output.entry(client.version(name, version), as_json=context.json)
        return
    page = client.versions(name)
    rows = [[str(one.version), f"{one.at:%Y-%m-%d %H:%M} UTC", one.by, one.title] for one in page.items]
    output.table(page, ["version", "at", "by", "title"], rows, as_json=context.json)


@click.command(
    "deliveries", help="List a trigger's deliveries (events, scheduled times, manual runs) and the result of each."
)
@click.argument("name")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@click.option("--cursor", help="Show the next page: the cursor that the previous page printed.")
@json_option
@pass_context
def _deliveries(context: Context, name: str, limit: int, cursor: str | None) -> None:
    page = connect().deliveries(name, limit=limit, cursor=cursor)
    rows = [
        [one.id, f"{one.received_at:%Y-%m-%d %H:%M:%S}", one.event, one.ref or "", one.state, one.message or ""]
        for one in page.items
    ]
    output.table(page, ["id", "at", "event", "ref", "state", "message"], rows, as_json=context.json)


@click.command("run", help="Start a trigger's task now, even while the trigger is paused.")
@click.argument("name")
@json_option
@pass_context
def _run(context: Context, name: str) -> None:
    output.entry(connect().run_trigger(name), as_json=context.json)


@click.command("test", help="Print what a trigger would do with an event, and why. Nothing is started.")
@click.argument("name")
@click.option("--event", "file", required=True, metavar="FILE", help="The event's body, as JSON.")
@click.option("--name", "event", help="The forge's own word for the event, such as push.")
@json_option
@pass_context
def _test(context: Context, name: str, file: str, event: str | None) -> None:
    try:
        payload = structs.from_json(read(file).encode(), type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise click.ClickException(f"{file} is no JSON object ({error})") from error
    found = connect().try_trigger(name, payload, event)
    if context.json:
        output.entry(found, as_json=True)
    else:
        click.echo(f"{found.event or 'event'}: {found.state}: {found.message}")
        if found.task is not None:
            output.entry(found.task, as_json=False)


@click.command("replay", help="Process a delivery again; it starts a new task.")
@click.argument("name")
@click.argument("delivery")
@json_option
@pass_context
def _replay(context: Context, name: str, delivery: str) -> None:
    output.entry(connect().replay(name, delivery), as_json=context.json)


@click.command("approve", help="Let a fork's pull request start its task, for this commit only.")
@click.argument("name")
@click.argument("delivery")
@json_option
@pass_context
def _approve(context: Context, name: str, delivery: str) -> None:
    output.entry(connect().approve(name, delivery), as_json=context.json)


@click.command("rotate-key", help="Make a new key on this machine and encrypt every credential with it.")
@json_option
@pass_context
def _rotate_key(context: Context) -> None:
    from keruta.local.key_rotation import rotate

    state = find_state()
    count = rotate(state)
    output.note(f"{count} credentials are encrypted with a new key in {state.sealing_key}; the old key is deleted")
    if context.json:
        output.document({"credentials": count})


_OWN: dict[str, tuple[click.Command, ...]] = {
    "repository": (_validate,),
    "queue": (_pause, _resume),
    "forge": forges.COMMANDS,
    "trigger": (_run, _test, _deliveries, _replay, _approve),
    "document": (_versions,),
    "credential": (_validate_key, _rotate_key),
}


@click.command("export", help="Print the whole catalog as YAML, without secrets.")
@json_option
@pass_context
def _export(context: Context) -> None:
    text = connect().export()
    if context.json:
        output.document({"yaml": text})
    else:
        click.echo(text, nl=False)


@click.command("import", help="Add and change entries from a YAML file: all of them, or none.")
@click.argument("path")
@click.option("--dry-run", is_flag=True, help="Print the changes without making them.")
@json_option
@pass_context
def _import(context: Context, path: str, dry_run: bool) -> None:
    result = connect().bring_in(read(path), dry_run=dry_run)
    rows = [[one.action, one.kind, one.name, ", ".join(one.changes)] for one in result.entries]
    output.table(result, ["", "kind", "name", "changes"], rows, as_json=context.json)
    if not context.json:
        said = "would be " if dry_run else ""
        output.note(f"{result.created} {said}added, {result.changed} {said}changed, {result.unchanged} unchanged")


@click.command("prune", help="Remove data that is older than the settings allow.")
@click.option("--dry-run", is_flag=True, help="Print what would be removed, and remove nothing.")
@json_option
@pass_context
def _prune(context: Context, dry_run: bool) -> None:
    output.entry(connect().prune(dry_run=dry_run), as_json=context.json)


@click.command(
    "circuits",
    help="List circuits (repositories and others whose tasks fail repeatedly), or close one with --close ID.",
)
@click.option("--close", metavar="ID", help="Let its tasks run again.")
@json_option
@pass_context
def _circuits(context: Context, close: str | None) -> None:
    client = connect()
    if close is not None:
        client.close_circuit(close)
        return
    page = client.circuits()
    rows = [
        [one.id, "open" if one.open else "counting", one.kind, one.name, f"{one.failures} × {one.reason}"]
        for one in page.items
    ]
    output.table(page, ["id", "state", "kind", "name", "failures"], rows, as_json=context.json)


@click.command("audit", help="List changes and who made them, newest first.")
@click.option("--who", help="Only changes by this person.")
@click.option("--kind", help="Only changes to this kind of entry.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@click.option("--cursor", help="Show the next page: the cursor that the previous page printed.")
@json_option
@pass_context
def _audit(context: Context, /, **filters: Any) -> None:
    page = connect().audit(**filters)
    rows = [
        [f"{one.at:%Y-%m-%d %H:%M:%S}", one.who, one.action, one.kind, one.of, ", ".join(one.changes)]
        for one in page.items
    ]
    output.table(page, ["at", "who", "action", "kind", "of", "changes"], rows, as_json=context.json)
