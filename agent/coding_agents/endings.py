"""Bad ends of a coding agent, and the reasons that they have."""

from __future__ import annotations

from typing import Literal

import msgspec

from keruta.domain.messages import Message, message

Failure = Literal[
    "ModelUnauthorized", "ModelRateLimited", "ModelOverloaded", "BudgetExceeded", "AgentGaveUp", "NothingChanged",
    "CommandNotFound",
]  # fmt: skip
STATUS_REASONS: dict[int, Failure] = {
    401: "ModelUnauthorized", 403: "ModelUnauthorized", 429: "ModelRateLimited", 529: "ModelOverloaded",
    503: "ModelOverloaded", 500: "ModelOverloaded", 502: "ModelOverloaded",
}  # fmt: skip
QUESTION_CHARACTERS = 600  # of an answer's end


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """The reason of a bad end.

    Args:
        wait_seconds: how long the model's server says to wait.
        question: the coding agent's last word, where that is one; its answer may come later.
    """

    reason: Failure
    message: Message
    wait_seconds: float | None = None
    question: str | None = None


def refused(reason: Failure, said: str) -> Ending:
    """Return the ending for a refusal by the model's server, or for any other fault, in its own words."""
    codes = {
        "ModelUnauthorized": "model_unauthorized", "ModelRateLimited": "model_rate_limited",
        "ModelOverloaded": "model_overloaded",
    }  # fmt: skip
    code = codes.get(reason, "agent_gave_up")
    return Ending(reason=reason, message=message(code, said=said))


def without_end(exit_code: int | None) -> Ending | None:
    """Return the ending of a coding agent that wrote no last record; None where its exit code says enough."""
    return Ending(reason="AgentGaveUp", message=message("agent_no_end")) if exit_code == 0 else None


def tools_refused(tools: str) -> Ending:
    return Ending(reason="AgentGaveUp", message=message("agent_tools_refused", tools=tools))


def asks(answer: str) -> Ending | None:
    """Return the ending for an answer whose last word is a question; None for any other answer."""
    if not answer.rstrip().rstrip("*_`\"')").endswith(("?", "\uff1f")):
        return None
    end = answer[-QUESTION_CHARACTERS:]
    said = message("agent_asks", question=in_one_line(end))
    return Ending(reason="AgentGaveUp", message=said, question=end.strip())


def in_one_line(text: str, most: int = 300) -> str:
    """Return a text as one line of at most so many characters."""
    line = " ⏎ ".join(part.strip() for part in text.strip().splitlines() if part.strip())
    return line if len(line) <= most else line[: most - 1] + "…"
