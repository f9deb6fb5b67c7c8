"""The console script. Everything is imported within it, so that Ctrl-C ends it quietly from its first moment."""

from __future__ import annotations

import sys


def main() -> None:
    """Run a command and end with its exit code: see `keruta.cli.errors`."""
    try:
        from keruta.cli import errors
        from keruta.cli.commands import cli
    except KeyboardInterrupt:
        sys.exit(130)
    errors.run(lambda: cli(standalone_mode=False, color=errors.colour()), sys.argv[1:])
