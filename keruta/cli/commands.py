"""The command `keruta`: its commands, and every error as a sentence."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click
import msgspec

from keruta import __version__
from keruta.cli import catalog, login, output, provenance, secrets
from keruta.cli.connection import connect
from keruta.cli.context import Context, json_option, pass_context
from keruta.cli.follow import follow_to_end
from keruta.cli.local_repository import repository_of
from keruta.cli.machine import find_running
from keruta.cli.option_types import NumberOrWord
from keruta.cli.reading import read_text
from keruta.client import Client
from keruta.domain.naming import NAME
from keruta.domain.task import AttemptView, IfExists, TaskView

TASK_LIMIT = 200
Action = Callable[[Client, str], TaskView]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="keruta")
@json_option
def cli() -> None:
    """Runs tasks on Git repositories."""


@cli.command()
@click.option("--repo", required=True, help="The repository: a name, an address, or a directory of this machine.")
@click.option("--ref", help="A branch, tag or commit; by default the repository's own default branch.")
@click.option("--script", help="A file with the script, or - for standard input.")
@click.option("--prompt", help="What a coding agent is to do; - for standard input.")
@click.option("--profile", help="How it runs; by default as its repository says.")
@click.option("--document", "-d", multiple=True, metavar="NAME", help="A document for it to read, or tag:NAME.")
@click.option("--check", help="A file with a second script that must end well too.")
@click.option("--name", help="What to call it.")
@click.option("--queue", help="The queue it waits in.")
@click.option("--priority", type=click.IntRange(-100, 100), help="From -100 to 100; higher goes first.")
@click.option("--env", "-e", multiple=True, metavar="NAME=VALUE", help="A variable for the script.")
@click.option("--label", "-l", multiple=True, metavar="KEY=VALUE", help="A label.")
@click.option("--timeout", type=click.IntRange(1), metavar="SECONDS", help="How long it may take.")
@click.option("--retry", type=click.Choice(["never", "if_not_started", "always"]), help="What may be run again.")
@click.option("--result-branch", help="The branch that what it changed is pushed to.")
@click.option("--if-exists", type=click.Choice(get_args(IfExists)), help="What becomes of that branch if it is there.")
@click.option("--submodules", is_flag=True, help="Fetch submodules, too.")
@click.option("--depth", type=NumberOrWord(), metavar="NUMBER|full", help="How much history is fetched; by default 1.")
@click.option("--tags/--no-tags", default=None, help="Fetch all tags, too.")
@click.option(
    "--path", "paths", multiple=True, metavar="DIRECTORY", help="Check out this directory only, and what lies above."
)
@click.option("--provenance/--no-provenance", default=None, help="Have a signed statement of what each attempt did.")
@click.option("--idempotency-key", help="Submitted twice under one key, it is one task.")
@click.option("--follow", "-f", is_flag=True, help="Show its log until it has ended, and end with its exit code.")
@click.argument("command", nargs=-1)
@json_option
@pass_context
def run(
    context: Context, /, command: tuple[str, ...], follow: bool, idempotency_key: str | None, **options: Any
) -> None:
    """Submits a task: keruta run --repo URL -- COMMAND..."""
    client = connect()
    task = client.submit(_task(command, options), idempotency_key=idempotency_key)
    if not follow:
        output.task(task, as_json=context.json) if context.json else click.echo(task.id)
        return
    if not context.json:
        output.note(f"task {task.id}")
    sys.exit(follow_to_end(client, task.id, as_json=context.json))


def _task(command: tuple[str, ...], options: dict[str, Any]) -> dict[str, Any]:
    """The document to submit, from the command's line."""
    repo = options["repo"]
    local = "://" not in repo and ("/" in repo or repo in (".", "..")) and Path(repo).is_dir()
    named = not local and NAME.fullmatch(repo)
    address = (repository_of(Path(repo)) or Path(repo).resolve()).as_uri() if local else repo
    task: dict[str, Any] = {"repository": {"name": repo} if named else {"url": address}}
    if options["ref"]:
        task["repository"]["ref"] = options["ref"]
    if options["submodules"]:
        task["repository"]["submodules"] = True
    task["repository"] |= {name: options[name] for name in ("depth", "tags") if options[name] is not None}
    if options.get("paths"):
        task["repository"]["paths"] = list(options["paths"])
    if command:
        task["command"] = list(command)
    for name in ("script", "check"):
        if options[name] is not None:
            task[name] = read_text(options[name])
    if options["prompt"] is not None:
        task["prompt"] = read_text("-") if options["prompt"] == "-" else options["prompt"]
    if options["document"]:
        task["documents"] = list(options["document"])
    for name in ("name", "queue", "profile", "result_branch"):
        if options[name] is not None:
            task[name] = options[name]
    if options["if_exists"] is not None:
        if options["result_branch"] is None:
            raise click.ClickException("--if-exists is about the branch that --result-branch names")
        task["result"] = {"branch": task.pop("result_branch"), "if_exists": options["if_exists"]}
    if options["priority"] is not None:
        task["priority"] = options["priority"]
    if options.get("provenance") is not None:
        task["provenance"] = options["provenance"]
    if options["timeout"] is not None:
        task["timeout_seconds"] = options["timeout"]
    if options["retry"] is not None:
        task["retry"] = {"policy": options["retry"]}
    task["env"] = _pairs(options["env"], "--env NAME=VALUE")
    task["labels"] = _pairs(options["label"], "--label KEY=VALUE")
    return task


def _pairs(given: tuple[str, ...], form: str) -> dict[str, str]:
    pairs = dict(pair.split("=", 1) for pair in given if "=" in pair)
    if len(pairs) != len(given):
        raise click.ClickException(f"say {form}, each name once")
    return pairs


@cli.command("list")
@click.option("--status", help="Only tasks in this status.")
@click.option("--queue", help="Only tasks of this queue.")
@click.option("--repo", "repository", help="Only tasks on this repository.")
@click.option("--label", help="Only tasks with this label, as KEY=VALUE.")
@click.option("--limit", type=click.IntRange(1, TASK_LIMIT), default=20, show_default=True)
@click.option("--cursor", help="The page after: what the page before ended with.")
@json_option
@pass_context
def list_(context: Context, /, **filters: Any) -> None:
    """Lists tasks, newest first."""
    output.page(connect().tasks(**filters), as_json=context.json)


def _for_task(name: str, help_: str) -> Callable[[Action], Action]:
    """A command on one task that shows it afterwards."""

    def add(action: Action) -> Action:
        @cli.command(name, help=help_)
        @click.argument("task_id", metavar="ID")
        @json_option
        @pass_context
        def command(context: Context, task_id: str) -> None:
            output.task(action(connect(), task_id), as_json=context.json)

        return action

    return add


@_for_task("show", "Shows a task: where it stands and why, its attempts, what it left.")
def show(client: Client, task_id: str) -> TaskView:
    return client.task(task_id)


@_for_task("cancel", "Cancels a task.")
def cancel(client: Client, task_id: str) -> TaskView:
    return client.cancel(task_id)


@_for_task("retry", "Makes another attempt at a task that failed, was cancelled, or whose end is not known.")
def retry(client: Client, task_id: str) -> TaskView:
    return client.retry(task_id)


@_for_task("accept", "Says that a task whose end is not known is done.")
def accept(client: Client, task_id: str) -> TaskView:
    return client.accept(task_id)


@cli.command("mcp")
def mcp() -> None:
    """Serves keruta's tools to a coding agent, by the Model Context Protocol on standard input and output."""
    from keruta.cli.mcp_server import serve

    serve()


@cli.command("continue")
@click.argument("task_id", metavar="ID")
@click.argument("prompt")
@click.option("--follow", "-f", is_flag=True, help="Show its log until it has ended, and end with its exit code.")
@json_option
@pass_context
def continue_(context: Context, task_id: str, prompt: str, follow: bool) -> None:
    """Goes on from a coding agent's task that has ended: a new task from its branch. PROMPT: what to do next."""
    client = connect()
    task = client.continue_task(task_id, sys.stdin.read() if prompt == "-" else prompt)
    if follow:
        sys.exit(follow_to_end(client, task.id, as_json=context.json))
    output.task(task, as_json=context.json)


@cli.command()
@click.argument("task_id", metavar="ID")
@click.argument("branch", required=False)
@click.option("--if-exists", type=click.Choice(get_args(IfExists)), help="What becomes of the branch if it is there.")
@click.option("--follow", "-f", is_flag=True, help="Show its log until it has ended, and end with its exit code.")
@json_option
@pass_context
def push(context: Context, task_id: str, branch: str | None, if_exists: str | None, follow: bool) -> None:
    """Pushes the work that was kept of a task, to BRANCH or to where the task asked for."""
    client = connect()
    task = client.push(task_id, branch=branch, if_exists=if_exists)
    if follow:
        sys.exit(follow_to_end(client, task.id, as_json=context.json))
    output.task(task, as_json=context.json)


@cli.command()
@click.argument("task_id", metavar="ID")
@click.option("--follow", "-f", is_flag=True, help="Go on until the task has ended, and end with its exit code.")
@click.option("--attempt", type=click.IntRange(1), help="Which attempt's; by default the last one's.")
@json_option
@pass_context
def logs(context: Context, task_id: str, follow: bool, attempt: int | None) -> None:
    """Shows a task's log."""
    client = connect()
    if follow:
        sys.exit(follow_to_end(client, task_id, as_json=context.json, attempt=attempt))
    kind = "application/x-ndjson" if context.json else "text/plain"
    for block in client.logs(task_id, kind=kind, attempt=attempt):
        sys.stdout.buffer.write(block)
    sys.stdout.flush()


@cli.command("input")
@click.argument("task_id", metavar="ID")
@click.argument("text")
@json_option
@pass_context
def input_(context: Context, task_id: str, text: str) -> None:
    """Sends a line to a script that waits for one."""
    task = connect().input(task_id, text)
    if context.json:
        output.task(task, as_json=True)


@cli.command()
@click.argument("task_id", metavar="ID")
@click.argument("path", required=False)
@click.option("--attempt", type=click.IntRange(1), help="Which attempt's; by default the last one's.")
@json_option
@pass_context
def artifacts(context: Context, task_id: str, path: str | None, attempt: int | None) -> None:
    """Lists what a script left behind, or writes one file of it to standard output."""
    client = connect()
    if path is not None:
        client.artifact(task_id, path, sys.stdout.buffer, attempt=attempt)
        sys.stdout.flush()
        return
    output.artifacts(_left_by(client.task(task_id), attempt).artifacts, as_json=context.json)


@cli.command()
@click.argument("task_id", metavar="ID")
@click.option("--attempt", type=click.IntRange(1), help="Which attempt's; by default the last one's.")
@json_option
@pass_context
def outputs(context: Context, task_id: str, attempt: int | None) -> None:
    """Lists the outputs that a script wrote."""
    output.outputs(_left_by(connect().task(task_id), attempt).outputs, as_json=context.json)


def _left_by(task: TaskView, attempt: int | None) -> TaskView | AttemptView:
    """Return the object that has a script's files and outputs: the task, for its last attempt, or one of its
    attempts.
    """
    if attempt is None:
        return task
    found = next((one for one in task.attempts if one.number == attempt), None)
    if found is None:
        raise click.ClickException(f"{task.id} has no attempt {attempt}; it has {len(task.attempts)}")
    return found


@cli.command()
def env() -> None:
    """Prints KERUTA_URL and KERUTA_TOKEN of the running system: eval "$(keruta env)"."""
    running = find_running()
    click.echo(f"export KERUTA_URL={shlex.quote(running.url)}")
    click.echo(f"export KERUTA_TOKEN={shlex.quote(running.token)}")


@cli.command()
@click.option("--once", is_flag=True, help="End after the first task; with 0 only if it succeeded.")
@click.option("--first-task/--no-first-task", default=False, help="Run a first task on the repository here.")
@click.option("--home", type=click.Path(path_type=Path), help="Where its state is; by default .keruta here.")
@click.option("--manifests", type=click.Path(path_type=Path, exists=True), help="Other manifests than knative/base.")
def up(once: bool, first_task: bool, home: Path | None, manifests: Path | None) -> None:
    """Brings up the whole system on this machine, until Ctrl-C."""
    from keruta.cli.up import bring_up

    sys.exit(bring_up(once=once, first_task=first_task or once, home=home, manifests=manifests))


@cli.command()
@click.option("--cluster", is_flag=True, help="Look at the cluster that kubectl speaks to.")
@json_option
@pass_context
def doctor(context: Context, cluster: bool) -> None:
    """Says what is missing or wrong on this machine, or in a cluster, and how to mend it."""
    from keruta.cli import cluster_doctor
    from keruta.cli import doctor as machine

    findings = cluster_doctor.examine() if cluster else machine.examine()
    if context.json:
        click.echo(msgspec.json.encode(findings))
    else:
        output.findings(findings)
    sys.exit(1 if any(finding.state == "wrong" for finding in findings) else 0)


catalog.add_to(cli)
for command in (secrets.command, *provenance.COMMANDS, *login.COMMANDS):
    cli.add_command(command)
