"""Every way in which a command can fail, as a sentence on standard error and an exit code.

| Code | Meaning |
|---|---|
| 0 | done; with `--follow`: the task succeeded |
| the script's own | with `--follow`: the script or its check failed with it |
| 1 | keruta refused, did not answer, or something of this machine failed |
| 2 | the command line is wrong |
| 130 | interrupted by Ctrl-C |
| 141 | whoever read the output closed it |
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import IO, NoReturn

import click
import msgspec

from keruta.cli.printable import printable
from keruta.client import ApiError
from keruta.errors import KerutaError

INTERRUPTED, BROKEN_PIPE = 130, 141
DIRECTORY_GONE = "The current directory is gone; change to one that is there."


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The JSON that a failed command writes to standard error with `--json`: `reason` is stable, `message` a
    sentence.
    """

    reason: str
    message: str
    status: int = 0
    faults: list[dict[str, str]] = []


def run(command: Callable[[], object], arguments: Sequence[str]) -> NoReturn:
    """Run a command and end the process with its exit code. No exception becomes a traceback."""
    prepare_streams()
    as_json = "--json" in arguments[: arguments.index("--") if "--" in arguments else len(arguments)]
    try:
        code = _code_of(command)
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        code = end.exit_code
    except click.Abort:
        code = INTERRUPTED
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        code = BROKEN_PIPE
    except click.ClickException as error:
        if as_json:
            _tell(failure_of(error))
        else:
            error.show()
        code = error.exit_code
    except (KerutaError, OSError, UnicodeError, RecursionError) as error:
        tell_failure(failure_of(error), as_json=as_json)
        code = 1
    _end(code)


def _code_of(command: Callable[[], object]) -> int:
    output = sys.stdout
    try:
        command()
    except SystemExit as end:
        if sys.stdout is not output:  # Click puts another in its place when the pipe breaks, and ends with 1
            return BROKEN_PIPE
        return end.code if isinstance(end.code, int) else 0
    return 0


def failure_of(error: Exception) -> Failure:
    """Return what an error says: keruta's own sentence, or one made of what the system says."""
    if isinstance(error, click.ClickException):
        reason = "UsageError" if error.exit_code == 2 else "CommandFailed"
        return Failure(reason=reason, message=error.format_message())
    if isinstance(error, ApiError):
        return Failure(
            reason=error.reason or "ApiError", message=error.message.text, status=error.status, faults=error.faults
        )
    if isinstance(error, KerutaError):
        return Failure(reason="CommandFailed", message=str(error))
    if isinstance(error, UnicodeEncodeError):
        shown = error.object[:60].encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        return Failure(reason="NotUtf8", message=f"This is not UTF-8 text: {shown}")
    if isinstance(error, UnicodeError):
        return Failure(reason="NotUtf8", message="What was read is not UTF-8 text.")
    if isinstance(error, FileNotFoundError) and not error.filename and _is_gone():
        return Failure(reason="CommandFailed", message=DIRECTORY_GONE)
    if isinstance(error, OSError):
        where = os.fsencode(error.filename).decode("utf-8", "backslashreplace") if error.filename else "Input or output"
        return Failure(reason="SystemError", message=f"{where}: {error.strerror or error}")
    return Failure(reason="CommandFailed", message=f"{type(error).__name__}: {error}")


def _is_gone() -> bool:
    """Return whether the current directory was removed."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def prepare_streams() -> None:
    """Make the standard streams usable: a closed one becomes the null device; no letter fails for its encoding."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        stream: IO[str] | None = getattr(sys, name)
        if stream is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", errors="replace"))
        elif name != "stdin" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def colour() -> bool | None:
    """Return whether output may have colours: not with NO_COLOR set to anything; None leaves it to the terminal.

    Source: https://no-color.org
    """
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


def tell_failure(failure: Failure, *, as_json: bool) -> None:
    """Write a failure to standard error."""
    if as_json:
        _tell(failure)
        return
    try:
        click.secho("keruta: ", err=True, fg="red", nl=False, color=colour())
        click.echo(printable(failure.message), err=True)
        for fault in failure.faults[1:]:
            click.echo(printable(f"keruta: {fault.get('at') or 'the body'}: {fault.get('message', '')}"), err=True)
    except OSError:
        pass  # nobody can be told


def _tell(failure: Failure) -> None:
    try:
        click.echo(msgspec.json.encode(failure), err=True)
    except OSError:
        pass


def _end(code: int) -> NoReturn:
    """End the process; what is left in a stream that nobody takes is dropped."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 1
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
    sys.exit(code)
