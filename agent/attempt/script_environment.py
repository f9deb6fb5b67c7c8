"""A script's files and environment: its text, its variables, its documents."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import msgspec

from agent.attempt.context import World
from agent.attempt.directory import JobDir
from agent.attempt.fetch_proxy import REPOSITORY, Place
from keruta.domain.catalog.documents import DocumentRef
from keruta.domain.messages import Message, message
from keruta.domain.specification import Specification
from keruta.errors import PhaseError
from keruta.network import network

PATH_DEFAULT = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
EXTENSIONS = {"text/markdown": "md", "text/plain": "txt"}


def write_scripts(world: World, directory: JobDir, specification: Specification, prompted: str | None = None) -> None:
    """Set-up, script and check lie where `start.sh` takes them. Raises PhaseError for a prompt without its agent.

    Args:
        prompted: the shell text that starts the coding agent, where an adapter made it.
    """
    seen = directory.seen_at(world.script_root)
    if specification.setup:
        _write(directory, seen, "setup", "set -e\n" + "\n".join(map(shell_text, specification.setup)) + "\n")
    if specification.command is not None:
        text = _become(seen, shlex.join(specification.command))
    elif specification.prompt is not None:
        (directory.given / "prompt").write_text(specification.prompt)
        if prompted is not None:
            text = prompted
        elif specification.prompt_command is not None:
            text = specification.prompt_command.script(specification.prompt, str(seen.given / "prompt"))
        else:
            raise PhaseError("ProfileMissing", message("attempt_no_prompt", profile=specification.profile))
    else:
        text = specification.script or ""
    _write(directory, seen, "script", text)
    if specification.check is not None:
        _write(directory, seen, "check", specification.check)


def _write(directory: JobDir, seen: JobDir, name: str, text: str) -> None:
    """Write a script's file. A text with an interpreter line is run by that interpreter, any other by the shell."""
    text = shell_text(text)
    if text.startswith("#!"):
        program = directory.given / f"{name}.program"
        program.write_text(text)
        program.chmod(0o750)
        text = _become(seen, shlex.quote(str(seen.given / program.name)))
    (directory.given / name).write_text(text)


def _become(seen: JobDir, command: str) -> str:
    """Return a shell's text that becomes a program, and says by a file if it can't.

    A shell runs this trap only if it can't become the command; a program that the command misses is another case.
    """
    not_run = shlex.quote(f"echo >{shlex.quote(str(seen.interface / 'not-run'))}")
    return f"trap {not_run} EXIT\nexec {command}\n"


def missing_interpreter(directory: JobDir, specification: Specification) -> str:
    """Return what the first line names of the program that could not be executed, with a carriage return at its end.

    That program is the script, the check, or the file that the command names; "" where it is not known.
    """
    codes = directory.exit_codes()
    if "not_run" not in codes:
        return ""
    if codes.get("script") == 0 or specification.command is None:
        text = shell_text((specification.check if codes.get("script") == 0 else specification.script) or "")
    else:
        text = directory.workspace_begins(specification.command[0]).decode("utf-8", "replace")
    first = text[:4096].partition("\n")[0]
    return first[2:].strip(" \t") if first.startswith("#!") else ""


def shell_text(text: str) -> str:
    """Return a script as Unix programs read it: without a byte order mark, its lines ended by a line feed alone.

    Editors and browsers on other systems write both, and a shell takes them for parts of a command.
    """
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


def furnish_home(directory: JobDir, specification: Specification) -> None:
    """Put into the homes of script and check what is found there: who commits, as Git's configuration."""
    who = specification.identity
    text = f"[user]\n\tname = {_quoted(who.name)}\n\temail = {_quoted(who.email)}\n"
    for home in (directory.home, directory.check_home):
        (home / ".gitconfig").write_text(text)


def point_to_proxy(world: World, directory: JobDir, specification: Specification, proxy: Place) -> None:
    """Have the workspace's `origin` be fetched from the agent; in this repository alone, and nothing else of it.

    The first address of a remote is fetched from, and what is included here comes before the workspace's own
    configuration, which stays as a clone has it. Source: git-config(1), Conditional includes.
    """
    seen = directory.seen_at(world.script_root)
    pattern = re.sub(r"([*?\[\\])", r"\\\1", str(seen.workspace / ".git"))
    included = (
        f'[remote "origin"]\n\turl = {_quoted(proxy.address + REPOSITORY[1:])}\n'
        f"\tpushurl = {_quoted(specification.repository.url)}\n"
        f'[http "{proxy.address}"]\n\textraHeader = "Authorization: Bearer {proxy.token}"\n\tproxy = ""\n'
    )
    for home in (directory.home, directory.check_home):
        private_file(home / ".gitconfig-origin", included)
        with (home / ".gitconfig").open("a") as file:
            file.write(f"[includeIf {_quoted(f'gitdir:{pattern}')}]\n\tpath = .gitconfig-origin\n")


def private_file(path: Path, text: str) -> None:
    """Write a file that only the script's user reads. Raises OSError where there is one."""
    with new_file(path) as file:
        file.write(text.encode())


def new_file(path: Path) -> BinaryIO:
    """Open a new file that only this user reads. Raises OSError where there is one."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb")


def _quoted(value: str) -> str:
    """A value of Git's configuration. Source: git-config(1), SYNTAX."""
    plain = "".join(c for c in value if c.isprintable()).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{plain}"'


def environment(
    world: World, directory: JobDir, specification: Specification, *, commit: str, execution: str,
    secrets: Mapping[str, str], coding_agent: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {}),
) -> dict[str, str]:  # fmt: skip
    """The script's environment: what it inherits, the profile's and the task's own, its secrets, and keruta's names.

    Args:
        coding_agent: the variables of the coding agent that may be set otherwise, and those that may not.
    """
    seen = directory.seen_at(world.script_root)
    env = dict(world.inherited)
    if not world.in_pod:
        env.setdefault("PATH", PATH_DEFAULT)
    env |= {"HOME": str(seen.home), **_reach(directory, seen), **coding_agent[0], **specification.env, **secrets}
    env |= coding_agent[1]
    if specification.prompt is not None:
        env["KERUTA_PROMPT_FILE"] = str(seen.given / "prompt")
    return env | {
        "CI": "true",
        "KERUTA_TASK": specification.task,
        "KERUTA_ATTEMPT": str(specification.attempt),
        "KERUTA_COMMIT": commit,
        "KERUTA_WORKSPACE": str(seen.workspace),
        "KERUTA_ARTIFACTS": str(seen.artifacts),
        "KERUTA_OUTPUTS": str(seen.outputs),
        "KERUTA_SUMMARY": str(seen.summary),
        "KERUTA_DOCUMENTS": str(seen.documents),
        "KERUTA_ASK": str(seen.ask),
        "KERUTA_EXECUTION": execution,
    }


def _reach(directory: JobDir, seen: JobDir) -> dict[str, str]:
    """The company's authority and proxy, in the variables that common tools read; what the task says goes before."""
    text = network().bundle()
    if text is None:
        return network().variables(None)
    bundle = directory.given / "ca.pem"
    if not bundle.exists():
        bundle.write_text(text)
        bundle.chmod(0o640)
    return network().variables(seen.given / bundle.name)


def write_documents(world: World, directory: JobDir, specification: Specification) -> None:
    """The task's documents lie read-only in their directory, with an index for people and one for programs."""
    if not specification.documents:
        return
    target = directory.documents
    index = []
    for document in specification.documents:
        name = file_name(document)
        content = world.asking.document(specification.task, specification.attempt, document.name)
        _read_only(target / name, content)
        told = {"name": document.name, "title": document.title, "version": document.version, "file": name}
        index.append(told)
    lines = [f"- [{one['title']}]({one['file']}), version {one['version']}\n" for one in index]
    _read_only(target / "INDEX.md", f"# Documents\n\n{''.join(lines)}".encode())
    _read_only(target / "index.json", msgspec.json.encode(index))
    target.chmod(0o550)


def file_name(document: DocumentRef) -> str:
    """A document's file: its name is safe, and cannot be one of the indexes'."""
    return f"{document.name}.{EXTENSIONS[document.media_type]}"


def _read_only(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o440), "wb") as file:
        file.write(content)


def notes(world: World, specification: Specification) -> list[Message]:
    """Return a note for each part of the profile, and of the isolation, that this worker cannot honour."""
    found = []
    if world.isolation == "none":
        found.append(message("attempt_no_fence"))
        if specification.check is not None:
            found.append(message("attempt_check_unfenced"))
    if not world.in_pod and specification.unhonoured:
        what = " and ".join(specification.unhonoured).replace("_", " ")
        found.append(message("attempt_unhonoured", what=what, profile=specification.profile))
    return found
