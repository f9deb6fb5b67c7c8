"""Metrics of each process; every part serves them at `/metrics`, in Prometheus' format.

Source: https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.registry import Collector

from keruta.domain.retry import REASONS

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.1, 0.3, 1, 3, 10, 30, 60, 180, 600, 1800, 3600, 3 * 3600, 12 * 3600)

REQUESTS = Counter("keruta_http_requests", "Requests answered, by route and status.", ["route", "status"])
QUEUE_SECONDS = Histogram(
    "keruta_task_queue_seconds", "From when an attempt could be made to when its script began.", buckets=_SECONDS
)
RUN_SECONDS = Histogram("keruta_task_run_seconds", "How long scripts ran.", buckets=_SECONDS)
ATTEMPTS_ENDED = Counter("keruta_attempts_ended", "Attempts that ended, by how and why.", ["status", "reason"])
TOKENS_REFUSED = Counter("keruta_tokens_refused", "Tokens that were refused, by what was wrong.", ["why"])
LEASES_EXPIRED = Counter("keruta_leases_expired", "Leases that ran out, by what became of the task.", ["status"])
REPORTS_REFUSED = Counter("keruta_reports_refused", "Entries of reports that were refused.", ["reason"])
WORKER_JOBS = Gauge("keruta_worker_jobs", "Attempts that this worker has in hand.")
WORKER_SLOTS = Gauge("keruta_worker_own_slots", "Attempts that this worker makes at once.")
CLONE_CACHE = Counter(
    "keruta_clone_cache", "Uses of the clone cache, by outcome: hit, miss, bad (removed, fetched again), failed.",
    ["outcome"],
)  # fmt: skip
DEPENDENCY_CACHE = Counter(
    "keruta_dependency_cache",
    "Uses of dependency caches, by outcome: hit, partial (another key's entry), miss, saved, bad (removed), failed.",
    ["outcome"],
)
DEPENDENCY_CACHE_BYTES = Counter(
    "keruta_dependency_cache_bytes",
    "Bytes of dependency caches, by direction: restored, saved.",
    ["direction"],
)
DEPENDENCY_CACHE_SECONDS = Histogram(
    "keruta_dependency_cache_seconds", "How long dependency caches took, by direction: restored, saved.", ["direction"],
    buckets=_SECONDS,
)  # fmt: skip
DELIVERIES = Counter(
    "keruta_deliveries", "Deliveries of forges, by outcome: stored, repeated, or why they were refused.", ["outcome"]
)
MAILS = Counter("keruta_notice_mails", "E-mails with notices, by outcome: sent, refused, waits.", ["outcome"])
DEAD_LETTERS = Counter("keruta_events_dead_lettered", "Events that could not be delivered.")


def reason_label(reason: str | None) -> str:
    """A reason as a label: agents' words are not taken as they are, or there could be any number of them."""
    return "" if reason is None else reason if reason in REASONS else "other"


def render(more: Collector | None = None) -> bytes:
    """Everything that this process has counted, and what one more collector finds when it is asked."""
    text = generate_latest(REGISTRY)
    if more is not None:
        own = CollectorRegistry()
        own.register(more)
        text += generate_latest(own)
    return text
