"""Answers of forges' APIs that are no success: what they mean, and when to ask again. Pure.

Sources: https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api,
https://docs.gitlab.com/security/rate_limits/
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

from keruta.domain.messages import Message, message
from keruta.errors import KerutaError

SAID_LETTERS = 200
SECONDARY_SECONDS = 60.0  # GitHub's own advice where a limit comes without a time
LONGEST_SECONDS = 3600.0
Kind = Literal["away", "limited", "unauthorized", "missing", "refused"]


class ForgeError(KerutaError):
    """A forge did not do what it was asked.

    Args:
        kind: `away` (no answer, or a fault of its own), `limited`, `unauthorized`, `missing` or `refused`.
        uncertain: it may have done it all the same.
        again_seconds: how long it asks to be left alone.
    """

    def __init__(
        self, said: Message, kind: Kind, *, uncertain: bool = False, again_seconds: float | None = None
    ) -> None:
        super().__init__(said)
        self.kind = kind
        self.uncertain = uncertain
        self.again_seconds = again_seconds

    @property
    def lasting(self) -> bool:
        """Return whether the same request would fail again."""
        return self.kind in ("missing", "refused")


def no_answer(why: str) -> ForgeError:
    return ForgeError(message("forge_away", why=why), "away", uncertain=True)


def error_of(status: int, headers: Mapping[str, str], body: bytes, now: datetime) -> ForgeError:
    """Return the error that an answer means.

    Args:
        headers: by any case of their names, as urllib3 gives them.
    """
    said = _said(body)
    told = {name.lower(): value for name, value in headers.items()}
    if status == 429 or (status == 403 and _is_limit(told, said)):
        wait = _wait_seconds(told, now)
        return ForgeError(message("forge_limited", seconds=round(wait)), "limited", again_seconds=wait)
    if status >= 500:
        wait_asked = _retry_after(told, now) if status == 503 else None
        found = message("forge_fault", status=status)
        return ForgeError(found, "away", uncertain=True, again_seconds=wait_asked)
    if status == 401:
        return ForgeError(message("forge_unauthorized"), "unauthorized")
    if status == 403:
        return ForgeError(message("forge_forbidden", said=said), "refused")
    if status in (404, 410):
        return ForgeError(message("forge_missing", said=said), "missing")
    if 300 <= status < 400:
        return ForgeError(message("forge_moved"), "refused")
    return ForgeError(message("forge_refused", status=status, said=said), "refused")


def _said(body: bytes) -> str:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return "–"
    text = found.get("message") or found.get("error") if isinstance(found, dict) else None
    errors = found.get("errors") if isinstance(found, dict) else None
    words = [text if isinstance(text, str) else json.dumps(text)] if text else []
    words += [json.dumps(errors)] if errors else []
    whole = " ".join(words)
    return "".join(one for one in whole if one.isprintable())[:SAID_LETTERS] or "–"


def _is_limit(headers: Mapping[str, str], said: str) -> bool:
    return "retry-after" in headers or headers.get("x-ratelimit-remaining") == "0" or "rate limit" in said.lower()


def _wait_seconds(headers: Mapping[str, str], now: datetime) -> float:
    """Return the seconds that a rate limit lasts by its headers, at most an hour."""
    asked = _retry_after(headers, now)
    if asked is None and headers.get("x-ratelimit-remaining", "0") == "0":
        reset = headers.get("x-ratelimit-reset") or headers.get("ratelimit-reset") or ""
        if reset.isascii() and reset.isdigit() and len(reset) < 12:
            asked = float(reset) - now.timestamp()
    return min(max(SECONDARY_SECONDS if asked is None else asked, 1.0), LONGEST_SECONDS)


def _retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit() and len(value) < 10:
        return min(float(value), LONGEST_SECONDS)
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError):
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return min(max((at - now).total_seconds(), 0.0), LONGEST_SECONDS)
