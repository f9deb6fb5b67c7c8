"""The processes of this machine, read while they come and go."""

from __future__ import annotations

from collections.abc import Iterator

import psutil


def command_lines() -> Iterator[tuple[psutil.Process, list[str]]]:
    """Each running process with its command line; those that end meanwhile, and zombies, are left out."""
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                yield process, process.cmdline()
        except psutil.Error:
            continue


def command_line(process: psutil.Process) -> list[str]:
    """Its command line; empty if it has ended."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def environment(process: psutil.Process) -> dict[str, str]:
    """Its environment; empty if it has ended or is another user's."""
    try:
        return process.environ()
    except psutil.Error:
        return {}
