"""Usage and refusals in the answers of a model's server.

Source: Anthropic's Messages API (Streaming Messages, Errors, Rate limits); OpenAI's Responses API and Chat Completions.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from agent.coding_agents.adapter import Usage
from agent.coding_agents.endings import STATUS_REASONS, Ending, in_one_line, refused
from agent.coding_agents.records import decoded, mapping, number, text
from keruta.domain.catalog.coding_agents import ANTHROPIC
from keruta.domain.messages import message

LINE_LIMIT_BYTES = 8 * 1024 * 1024
_RESETS = (
    "anthropic-ratelimit-unified-reset",
    "anthropic-ratelimit-requests-reset",
    "anthropic-ratelimit-tokens-reset",
)
_OUT_OF_CREDIT = ("insufficient_quota", "billing_error", "credit balance")


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """An answer: its model and what it used; `broken`: it ended before its end."""

    usage: Usage
    model: str = ""
    broken: bool = False


class Counter:
    """Reads the usage out of one answer while it passes, streamed or whole."""

    def __init__(self, api: str, headers: Mapping[str, str]) -> None:
        self._anthropic = api == ANTHROPIC
        self._streamed = "event-stream" in (headers.get("content-type") or "")
        self._rest = b""
        self._skips = False
        self._used: dict[str, Any] = {}
        self._model = ""
        self._whole = False

    def feed(self, block: bytes) -> None:
        if not self._streamed:
            self._rest = (self._rest + block)[:LINE_LIMIT_BYTES]
            return
        lines = (self._rest + block).split(b"\n")
        self._rest = lines.pop()[-LINE_LIMIT_BYTES:]
        for line in lines:
            if line.startswith(b"data:"):
                self._event(line[5:].strip())

    def end(self, *, broken: bool) -> Answered:
        if not self._streamed:
            self._document(decoded(self._rest) or {})
            self._whole = True
        usage = anthropic_usage(self._used) if self._anthropic else openai_usage(self._used)
        return Answered(usage=usage, model=self._model, broken=broken or not self._whole)

    def _event(self, data: bytes) -> None:
        if data == b"[DONE]":
            self._whole = True
            return
        event = decoded(data)
        if event is None:
            return
        kind = event.get("type")
        if kind == "message_start":
            self._document(mapping(event.get("message")))
        elif kind == "message_delta":
            self._used |= mapping(event.get("usage"))
        elif kind in ("message_stop", "error"):
            self._whole = True
        elif kind in ("response.completed", "response.incomplete", "response.failed"):
            self._whole = True
            self._document(mapping(event.get("response")))
        elif event.get("object") == "chat.completion.chunk":
            self._document(event)

    def _document(self, document: Mapping[str, Any]) -> None:
        self._model = text(document.get("model")) or self._model
        self._used |= mapping(document.get("usage"))


def anthropic_usage(used: Mapping[str, Any]) -> Usage:
    """Return the tokens of a `usage` in Anthropic's form."""
    return Usage(
        input_tokens=number(used.get("input_tokens")),
        output_tokens=number(used.get("output_tokens")),
        cache_read_tokens=number(used.get("cache_read_input_tokens")),
        cache_write_tokens=number(used.get("cache_creation_input_tokens")),
    )


def openai_usage(used: Mapping[str, Any]) -> Usage:
    """Return the tokens of a `usage` in OpenAI's form, whose input tokens include the cached ones."""
    details = mapping(used.get("input_tokens_details")) or mapping(used.get("prompt_tokens_details"))
    cached = number(details.get("cached_tokens"))
    whole = number(used.get("input_tokens")) or number(used.get("prompt_tokens"))
    return Usage(
        input_tokens=max(0, whole - cached),
        output_tokens=number(used.get("output_tokens")) or number(used.get("completion_tokens")),
        cache_read_tokens=cached,
    )


def refusal(
    status: int, headers: Mapping[str, str], body: bytes, now: datetime | None = None
) -> tuple[Ending, float | None] | None:
    """Return why a server refuses, and how many seconds it says to wait; None for a fault of the request itself."""
    document = decoded(body) or {}
    error = mapping(document.get("error"))
    said = in_one_line(text(error.get("message")) or body.decode("utf-8", "replace") or str(status))
    kinds = f"{text(error.get('type'))} {text(error.get('code'))} {said}"
    if status in (400, 402, 403, 429) and any(word in kinds for word in _OUT_OF_CREDIT):
        return Ending(reason="BudgetExceeded", message=message("model_no_credit", said=said)), float("inf")
    reason = STATUS_REASONS.get(status)
    if reason is None:
        return None
    wait = _wait_seconds(headers, now or datetime.now(UTC))
    if reason == "ModelRateLimited" and wait is not None:
        again = message("model_rate_limited_until", said=said, seconds=int(wait))
        return Ending(reason=reason, message=again, wait_seconds=wait), wait
    return refused(reason, said), wait


def _wait_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return how many seconds the server says to wait. Source: RFC 9110, 10.2.3, and Anthropic's Rate limits."""
    if (given := headers.get("retry-after")) is not None:
        if given.strip().replace(".", "", 1).isdigit():
            return float(given)
        try:
            return max(0.0, (parsedate_to_datetime(given) - now).total_seconds())
        except (TypeError, ValueError):
            return None
    for name in _RESETS:
        if (given := headers.get(name)) is not None:
            try:
                at = datetime.fromtimestamp(float(given), UTC) if given.isdigit() else datetime.fromisoformat(given)
                return max(0.0, (at - now).total_seconds())
            except (TypeError, ValueError, OverflowError):
                continue
    return None
