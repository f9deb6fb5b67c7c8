"""Completion of commands and options in shells, made by Click."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
from click.shell_completion import get_completion_class

from keruta.cli import output

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_KERUTA_COMPLETE"


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.option("--install", is_flag=True, help="Write it to where the shell looks for it, for your user.")
@click.pass_context
def completion(context: click.Context, /, shell: str, install: bool) -> None:
    """Print the completion script of a shell: eval "$(keruta completion bash)"."""
    kind: Any = get_completion_class(shell)
    text = kind(context.find_root().command, {}, "keruta", VARIABLE).source()
    if not install:
        click.echo(text)
        return
    path = _place(shell)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    output.note(f"completion is in {path}; it works in shells that you start from now on")
    if shell == "zsh":
        output.note(f"zsh needs this in ~/.zshrc before compinit: fpath=({path.parent} $fpath)")


def _place(shell: str) -> Path:
    """Return the file of the user's own completions, as the shell's manual names it."""
    home = Path.home()
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    return {
        "bash": data / "bash-completion/completions/keruta",
        "zsh": data / "zsh/site-functions/_keruta",
        "fish": config / "fish/completions/keruta.fish",
    }[shell]
