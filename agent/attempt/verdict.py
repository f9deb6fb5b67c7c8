"""Verdicts on attempts, from their exit codes: pure. A true end that came first wins over a wish to stop."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Literal

import msgspec

from keruta.domain.messages import Message, message
from keruta.domain.specification import Specification


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Status, reason, sentence and exit code; `retry_after_seconds`: how long a model's server says to wait."""

    status: Literal["succeeded", "failed", "cancelled"]
    reason: str | None = None
    message: Message | None = None
    exit_code: int | None = None
    retry_after_seconds: float | None = None

    @property
    def signal(self) -> int | None:
        """The signal that an exit code stands for, as shells say it."""
        code = self.exit_code
        return code - 128 if code is not None and 128 < code < 128 + signal.NSIG else None


def judge(
    codes: Mapping[str, int], *, finished: bool, died_by: int | None, stopped: bool, cause: str,
    cause_message: Message, specification: Specification, interpreter: str = "",
) -> Verdict:  # fmt: skip
    """Says how it ended.

    Args:
        codes: exit codes by `setup`, `script`, `check`, as far as they are known; `oom`, `fence` and `not_run` too.
        finished: whether the last of them was written.
        died_by: the signal that ended the shell around the script.
        stopped: whether it was told to stop; for `cause`, or at a person's wish where there is none.
        interpreter: what the first line of the program that could not be executed names, if that is known.
    """
    code, checked = codes.get("script"), codes.get("check")
    if code is None and died_by is not None and "setup" not in codes:
        code = 128 + died_by
    if code == 0 and finished and (checked == 0 or (checked is None and specification.check is None)):
        return Verdict(status="succeeded", exit_code=0)
    if stopped:
        ended = checked or code
        if not cause:
            return Verdict(status="cancelled", reason="Cancelled", message=message("script_cancelled"), exit_code=ended)
        return Verdict(status="failed", reason=cause, message=cause_message, exit_code=ended)
    return _failure(codes, code, checked, specification, interpreter)


def _failure(
    codes: Mapping[str, int], code: int | None, checked: int | None, specification: Specification, interpreter: str
) -> Verdict:
    def failed(reason: str, said: Message, exit_code: int | None) -> Verdict:
        return Verdict(status="failed", reason=reason, message=said, exit_code=exit_code)

    if "fence" in codes:
        return failed("WorkspaceFailed", message("script_fence_failed"), None)
    if "setup" in codes:
        return failed("SetupFailed", message("script_setup_failed", ending=how(codes["setup"])), codes["setup"])
    if "check-setup" in codes:
        ended = how(codes["check-setup"])
        return failed("SetupFailed", message("script_setup_failed_again", ending=ended), codes["check-setup"])
    if "not_run" in codes and interpreter and (code or checked):
        return failed("CommandNotFound" if code else "CheckFailed", _not_run(interpreter), code or checked)
    if code == 0 and codes.get("oom"):
        return failed("OutOfMemory", message("cluster_check_out_of_memory"), checked)
    if code == 0:
        ended = how(checked) if checked is not None else message("script_was_killed")
        return failed("CheckFailed", message("script_check_failed", ending=ended), checked)
    if code is None:
        return failed("ScriptFailed", message("script_killed"), None)
    if codes.get("oom"):
        return failed("OutOfMemory", message("script_out_of_memory"), code)
    if specification.command is not None and "not_run" in codes:
        return failed("CommandNotFound", message("script_command_missing", command=specification.command[0]), code)
    return failed("ScriptFailed", message("script_failed", ending=how(code)), code)


def _not_run(interpreter: str) -> Message:
    if interpreter.endswith("\r"):
        return message("script_interpreter_line_end", interpreter=interpreter.rstrip())
    return message("script_interpreter_missing", interpreter=interpreter)


def how(code: int) -> Message:
    """An exit code in words."""
    if 128 < code < 128 + signal.NSIG:
        try:
            return message("script_ended_by_signal", signal=signal.Signals(code - 128).name, code=code)
        except ValueError:
            pass
    return message("script_ended_with_code", code=code)
