"""The command `keruta`: its commands, and every error as a sentence."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any, get_args

import click
import msgspec

from keruta import __version__
from keruta.cli import catalog, comparison, login, output, progress, provenance, secrets, tasks
from keruta.cli.completion import completion
from keruta.cli.connection import address, connect
from keruta.cli.context import Context, json_option, pass_context, server_option
from keruta.cli.follow import follow_to_end
from keruta.cli.local_repository import repository_of
from keruta.cli.machine import find_running
from keruta.cli.option_types import NumberOrWord
from keruta.cli.reading import read_text
from keruta.domain.naming import NAME
from keruta.domain.task import IfExists


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="keruta")
@json_option
@server_option
def cli() -> None:
    """Run tasks on Git repositories."""


@cli.command()
@click.option("--repo", help="The repository: a name, an address, or a directory on this machine.")
@click.option("--template", metavar="NAME", help="Run this template in place of --repo and what to run there.")
@click.option("--param", "-p", multiple=True, metavar="NAME=VALUE", help="A value for the template's parameter.")
@click.option("--ref", help="A branch, tag or commit; by default the repository's own default branch.")
@click.option("--script", help="A file with the script, or - for standard input.")
@click.option("--prompt", help="The prompt for a coding agent; - for standard input.")
@click.option("--profile", help="The profile; by default the repository's.")
@click.option(
    "--document", "-d", multiple=True, metavar="NAME", help="A document for the script or coding agent, or tag:NAME."
)
@click.option("--check", help="A file with a script that checks the result; it must end with 0 too.")
@click.option("--name", help="The task's name.")
@click.option("--queue", help="The queue that the task waits in.")
@click.option("--priority", type=click.IntRange(-100, 100), help="From -100 to 100; higher ones start first.")
@click.option("--env", "-e", multiple=True, metavar="NAME=VALUE", help="A variable for the script.")
@click.option("--label", "-l", multiple=True, metavar="KEY=VALUE", help="A label.")
@click.option("--timeout", type=click.IntRange(1), metavar="SECONDS", help="Time limit of the task.")
@click.option(
    "--retry",
    type=click.Choice(["never", "if_not_started", "always"]),
    help="Which lost or failed attempts are tried again.",
)
@click.option("--result-branch", help="The branch that changes are pushed to.")
@click.option("--if-exists", type=click.Choice(get_args(IfExists)), help="What to do if that branch exists.")
@click.option("--submodules", is_flag=True, help="Fetch submodules, too.")
@click.option("--depth", type=NumberOrWord(), metavar="NUMBER|full", help="Number of commits to fetch; by default 1.")
@click.option("--tags/--no-tags", default=None, help="Fetch all tags, too.")
@click.option(
    "--path",
    "paths",
    multiple=True,
    metavar="DIRECTORY",
    help="Check out only this directory, and the files beside and above it.",
)
@click.option("--provenance/--no-provenance", default=None, help="Make a signed provenance statement for each attempt.")
@click.option("--cache", metavar="JSON", help="The task's own dependency caches, as the API takes them; [] for none.")
@click.option(
    "--without-secrets", is_flag=True, help="For what nobody has looked at: no credentials, a closed network, no push."
)
@click.option("--idempotency-key", help="Two submits with the same key make one task.")
@click.option("--follow", "-f", is_flag=True, help="Show the log until the task ends, and exit with its exit code.")
@click.argument("command", nargs=-1)
@json_option
@pass_context
def run(
    context: Context, /, command: tuple[str, ...], follow: bool, idempotency_key: str | None, **options: Any
) -> None:
    """Submit a task: keruta run --repo URL -- COMMAND..., or keruta run --template NAME -p NAME=VALUE"""
    template, parameters = options.pop("template"), _pairs(options.pop("param"), "--param NAME=VALUE")
    _check_mode(template, command, parameters, options)
    client = connect()
    if template is not None:
        task = client.run_template(template, parameters, name=options["name"], idempotency_key=idempotency_key)
    else:
        task = client.submit(_task(command, options), idempotency_key=idempotency_key)
    if not follow:
        output.task(task, as_json=context.json) if context.json else click.echo(task.id)
        return
    if not context.json:
        output.note(f"task {task.id}")
    sys.exit(follow_to_end(client, task.id, as_json=context.json))


def _check_mode(
    template: str | None, command: tuple[str, ...], parameters: dict[str, str], options: dict[str, Any]
) -> None:
    """Refuse options of a task beside a template, and of a template beside a task. Raises click.UsageError."""
    if template is None:
        if parameters:
            raise click.UsageError("--param goes with --template")
        if options["repo"] is None:
            raise click.UsageError("name a repository with --repo, or a template with --template")
        return
    others = [name for name, value in options.items() if name != "name" and value not in (None, (), False)]
    if command or others:
        given = ", ".join(f"--{name.replace('_', '-')}" for name in others) or "a command"
        raise click.UsageError(f"a template says what runs and where; with --template leave out {given}")


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
            raise click.ClickException("--if-exists needs --result-branch")
        task["result"] = {"branch": task.pop("result_branch"), "if_exists": options["if_exists"]}
    if options["priority"] is not None:
        task["priority"] = options["priority"]
    if options.get("provenance") is not None:
        task["provenance"] = options["provenance"]
    if options.get("cache") is not None:
        try:
            task["cache"] = json.loads(options["cache"])
        except ValueError as error:
            raise click.ClickException(f"--cache takes JSON: {error}") from error
    if options.get("without_secrets"):
        task["without_secrets"] = True
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
        raise click.ClickException(f"the form is {form}, and each name once")
    return pairs


@cli.command("mcp")
@click.option("--http", "listen", metavar="HOST:PORT", help="Serve by HTTP at /mcp, to whoever sends a token.")
@click.option("--host", "hosts", multiple=True, metavar="NAME", help="With --http: another name that it is reached by.")
def mcp(listen: str | None, hosts: tuple[str, ...]) -> None:
    """Serve keruta's tools to coding agents, by the Model Context Protocol on standard input and output or HTTP."""
    from keruta.cli import mcp_http, mcp_server

    if listen is None:
        mcp_server.serve()
    else:
        click.echo(f"keruta's tools for coding agents: http://{listen}{mcp_http.PATH}", err=True)
        mcp_http.serve(address(), listen, hosts)


@cli.command()
@json_option
@pass_context
def env(context: Context) -> None:
    """Print KERUTA_URL and KERUTA_TOKEN of the running system: eval "$(keruta env)"."""
    running = find_running()
    if context.json:
        click.echo(msgspec.json.encode({"KERUTA_URL": running.url, "KERUTA_TOKEN": running.token}))
        return
    click.echo(f"export KERUTA_URL={shlex.quote(running.url)}")
    click.echo(f"export KERUTA_TOKEN={shlex.quote(running.token)}")


@cli.command()
@click.option("--once", is_flag=True, help="Stop after the first task; the exit code is 0 only if it succeeded.")
@click.option(
    "--first-task/--no-first-task", default=False, help="Run a first task on the repository in this directory."
)
@click.option(
    "--home",
    type=click.Path(path_type=Path),
    envvar="KERUTA_HOME",
    help="Directory of the state; by default $KERUTA_HOME, or .keruta in this directory.",
)
@click.option(
    "--manifests", type=click.Path(path_type=Path, exists=True), help="Directory of other manifests than knative/base."
)
def up(once: bool, first_task: bool, home: Path | None, manifests: Path | None) -> None:
    """Run the whole system on this machine, until Ctrl-C."""
    from keruta.cli.up import bring_up

    sys.exit(bring_up(once=once, first_task=first_task or once, home=home, manifests=manifests))


@cli.command()
@click.option("--cluster", is_flag=True, help="Check the cluster that kubectl uses.")
@json_option
@pass_context
def doctor(context: Context, cluster: bool) -> None:
    """Report what is missing or wrong on this machine, or in a cluster, and how to fix it."""
    from keruta.cli import cluster_doctor
    from keruta.cli import doctor as machine

    findings = cluster_doctor.examine() if cluster else machine.examine()
    if context.json:
        click.echo(msgspec.json.encode(findings))
    else:
        output.findings(findings)
    sys.exit(1 if any(finding.state == "wrong" for finding in findings) else 0)


tasks.add_to(cli)
catalog.add_to(cli)
for command in (
    secrets.command, completion, *comparison.COMMANDS, *progress.COMMANDS, *provenance.COMMANDS, *login.COMMANDS,
):  # fmt: skip
    cli.add_command(command)
