"""Files that a command reads."""

from __future__ import annotations

import sys

import click

READ_LIMIT_BYTES = 16 * 1024 * 1024  # more than the API takes


def read_bounded(path: str) -> bytes:
    """Return a file's content, or that of standard input for `-`. Raises OSError, and ClickException for one too large.

    A device or a pipe may have no end.
    """
    if path == "-":
        data = sys.stdin.buffer.read(READ_LIMIT_BYTES + 1)
    else:
        with open(path, "rb") as file:
            data = file.read(READ_LIMIT_BYTES + 1)
    if len(data) > READ_LIMIT_BYTES:
        raise click.ClickException(f"{path} has more than {READ_LIMIT_BYTES // 1024 // 1024} MiB")
    return data
