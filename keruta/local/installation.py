"""Commands to advise, by how this keruta was installed: from a checkout by `make`, or as a package by pip or uv."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
MANIFESTS = Path(__file__).parent / "manifests_base"  # `knative/base`: a link in a checkout, a copy in a package


def is_checkout() -> bool:
    return (PROJECT / "Makefile").is_file() and (PROJECT / "knative").is_dir()


def start_command() -> str:
    """The command that starts the system on this machine."""
    return "make run" if is_checkout() else "keruta up"


def install_command(extra: str = "") -> str:
    """The command that installs what is missing, as `extra` of the package."""
    return "make install" if is_checkout() else f"pip install 'keruta{f'[{extra}]' if extra else ''}'"


def program() -> str:
    """The `keruta` to type in a shell: by its name where the PATH leads to this one, else by its path."""
    found = shutil.which("keruta")
    own = Path(sys.executable).parent / "keruta"
    if (found is not None and Path(found).resolve() == own.resolve()) or not own.exists():
        return "keruta"
    here = Path.cwd()
    return str(own.relative_to(here)) if own.is_relative_to(here) else str(own)
