"""From exit codes to how an attempt ended: pure. A true end that came first wins over a wish to stop."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Literal

import msgspec

from keruta.domain.messages import Message
from keruta.domain.specification import Specification


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Status, reason, sentence and exit code."""

    status: Literal["succeeded", "failed", "cancelled"]
    reason: str | None = None
    message: Message | str | None = None
    exit_code: int | None = None

    @property
    def signal(self) -> int | None:
        """The signal that an exit code stands for, as shells say it."""
        code = self.exit_code
        return code - 128 if code is not None and 128 < code < 128 + signal.NSIG else None


def judge(
    codes: Mapping[str, int], *, finished: bool, died_by: int | None, stopped: bool, cause: str,
    cause_message: Message | str, specification: Specification,
) -> Verdict:  # fmt: skip
    """Says how it ended.

    Args:
        codes: exit codes by `setup`, `script`, `check`, as far as they are known; `oom`, `fence` and `not_run` too.
        finished: whether the last of them was written.
        died_by: the signal that ended the shell around the script.
        stopped: whether it was told to stop; for `cause`, or at a person's wish where there is none.
    """
    code, checked = codes.get("script"), codes.get("check")
    if code is None and died_by is not None and "setup" not in codes:
        code = 128 + died_by
    if code == 0 and finished and checked in (None, 0):
        return Verdict(status="succeeded", exit_code=0)
    if stopped:
        ended = checked or code
        if not cause:
            return Verdict(
                status="cancelled", reason="Cancelled", message="Cancelled while the script ran.", exit_code=ended
            )
        return Verdict(status="failed", reason=cause, message=cause_message, exit_code=ended)
    return _failure(codes, code, checked, specification)


def _failure(codes: Mapping[str, int], code: int | None, checked: int | None, specification: Specification) -> Verdict:
    def failed(reason: str, message: Message | str, exit_code: int | None) -> Verdict:
        return Verdict(status="failed", reason=reason, message=message, exit_code=exit_code)

    if "fence" in codes:
        message = "The script was not started: bubblewrap could not put up its fence; the log's last line says why."
        return failed("WorkspaceFailed", message, None)
    if "setup" in codes:
        return failed("SetupFailed", f"A set-up command {how(codes['setup'])}; the script was not run.", codes["setup"])
    if code == 0:
        ended = how(checked) if checked is not None else "was killed"
        return failed("CheckFailed", f"The script ended well; the check that follows it {ended}.", checked)
    if code is None:
        return failed("ScriptFailed", "The script was killed, and what ran it with it.", None)
    if codes.get("oom"):
        return failed("OutOfMemory", "The script used more memory than its limit; give it more, or use less.", code)
    if specification.command is not None and "not_run" in codes:
        return failed("CommandNotFound", f"The command {specification.command[0]!r} can't be run here.", code)
    return failed("ScriptFailed", f"The script {how(code)}.", code)


def how(code: int) -> str:
    """An exit code in words."""
    if 128 < code < 128 + signal.NSIG:
        try:
            return f"was ended by {signal.Signals(code - 128).name}, or ended with exit code {code}"
        except ValueError:
            pass
    return f"ended with exit code {code}"
