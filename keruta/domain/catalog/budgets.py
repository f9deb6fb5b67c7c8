"""A queue's budget: what the coding agents of its tasks may spend in a day, in tokens and in money."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from keruta.domain.catalog.coding_agents import CodingAgentOptions
from keruta.domain.catalog.common import Problems
from keruta.domain.messages import message

WARN_FROM = 0.8
WHOLE = ""  # in place of a submitter: all of the queue's
PLENTY = 1_000_000  # attempts: no limit
_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
Tokens = Annotated[int, Meta(ge=1, le=1_000_000_000_000)]
Dollars = Annotated[float, Meta(gt=0, le=100_000_000)]


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens and US dollars that were spent on a day, or are reserved for attempts that have not ended."""

    tokens: float = 0.0
    usd: float = 0.0

    def with_more(self, more: Spent) -> Spent:
        return Spent(tokens=self.tokens + more.tokens, usd=self.usd + more.usd)


class Budget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of a day, which begins at 00:00 UTC.

    Args:
        tokens_per_day, usd_per_day: of all the queue's tasks.
        submitter_tokens_per_day, submitter_usd_per_day: of each submitter's tasks in the queue.
        task_tokens, task_usd: the most that a task may use; so much is reserved for each attempt when it is assigned.
    """

    tokens_per_day: Tokens | None = None
    usd_per_day: Dollars | None = None
    submitter_tokens_per_day: Tokens | None = None
    submitter_usd_per_day: Dollars | None = None
    task_tokens: Tokens | None = None
    task_usd: Dollars | None = None

    def faults(self) -> Problems:
        for unit in ("tokens", "usd"):
            most = getattr(self, f"task_{unit}")
            for field in (f"{unit}_per_day", f"submitter_{unit}_per_day"):
                limit = getattr(self, field)
                if limit is not None and most is None:
                    yield f"/task_{unit}", message("budget_task_needed")
                elif limit is not None and most > limit:
                    yield f"/{field}", message("budget_too_small")

    @property
    def reserved(self) -> Spent:
        """The reservation of one attempt."""
        return Spent(tokens=float(self.task_tokens or 0), usd=self.task_usd or 0.0)

    def room(self, spent: Spent, *, of_submitter: bool) -> int:
        """Return how many more attempts what is left of a day covers."""
        tokens, usd = (
            (self.submitter_tokens_per_day, self.submitter_usd_per_day)
            if of_submitter
            else (self.tokens_per_day, self.usd_per_day)
        )
        rooms = [PLENTY]
        if tokens is not None and self.task_tokens:
            rooms.append(int((tokens - spent.tokens) // self.task_tokens))
        if usd is not None and self.task_usd:
            rooms.append(int((usd - spent.usd + 1e-9) // self.task_usd))  # sums of cents are not exact
        return max(min(rooms), 0)

    def used(self, spent: Spent) -> float:
        """Return the used share of the queue's limits, the larger of both; 0 where it has none."""
        shares = [0.0]
        if self.tokens_per_day is not None:
            shares.append(spent.tokens / self.tokens_per_day)
        if self.usd_per_day is not None:
            shares.append(spent.usd / self.usd_per_day)
        return max(shares)

    def limited(self, options: CodingAgentOptions) -> CodingAgentOptions:
        """Return a coding agent's options with this budget's limits of a task, where these are lower."""
        return msgspec.structs.replace(
            options, max_tokens=_lower(options.max_tokens, self.task_tokens),
            max_cost_usd=_lower(options.max_cost_usd, self.task_usd),
        )  # fmt: skip


class SpentToday(msgspec.Struct, frozen=True, kw_only=True):
    """Spending of a queue's budget today (UTC), with what is reserved for tasks that run.

    Args:
        used: the share of its limits, the larger of tokens and money.
        warns: most of it is used.
    """

    tokens: float
    usd: float
    used: float
    warns: bool


def day_of(at: datetime) -> str:
    return f"{at:%Y-%m-%d}"


def settled(reserved: Spent, usage: Mapping[str, float] | None, *, known: bool) -> Spent:
    """Return what an attempt that has ended has spent.

    What is not known counts as reserved: the cost where the model's price is not, everything where an attempt was lost
    after its start.

    Args:
        usage: as its agent has reported.
        known: whether its agent has reported its end, or it never started.
    """
    if not usage:
        return Spent() if known else reserved
    cost = usage.get("cost_usd")
    return Spent(tokens=sum(usage.get(name, 0.0) for name in _TOKENS), usd=reserved.usd if cost is None else cost)


def _lower(one: float | None, other: float | None) -> float | None:
    known = [value for value in (one, other) if value is not None]
    return min(known) if known else None
