"""Files that a command reads."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

READ_LIMIT_BYTES = 16 * 1024 * 1024  # more than the API takes


def read_bounded(path: str) -> bytes:
    """Return a file's content, or that of standard input for `-`. A device or a pipe may have no end.

    Raises:
        ClickException: it can't be read, or is too large.
    """
    try:
        data = sys.stdin.buffer.read(READ_LIMIT_BYTES + 1) if path == "-" else _read(Path(path))
    except OSError as error:
        raise click.ClickException(f"{shown(path)} can't be read: {error.strerror}") from error
    except ValueError as error:  # a NUL in its name
        raise click.ClickException(f"{shown(path)} can't be read: {error}") from error
    if len(data) > READ_LIMIT_BYTES:
        raise click.ClickException(f"{shown(path)} has more than {READ_LIMIT_BYTES // 1024 // 1024} MiB")
    return data


def read_text(path: str, *, encoding: str = "utf-8-sig") -> str:
    """Return the text of a file or of standard input, by default without a byte order mark. Raises ClickException."""
    data = read_bounded(path)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{shown(path)} is not UTF-8 text: byte {error.start} is invalid") from error


def shown(path: str) -> str:
    """Return a path as it can be shown; bytes that are no UTF-8 are written out."""
    return "standard input" if path == "-" else os.fsencode(path).decode("utf-8", "backslashreplace")


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(READ_LIMIT_BYTES + 1)
