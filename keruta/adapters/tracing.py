"""One trace for each task, by OpenTelemetry, where an endpoint is set.

A task's identity is the trace's (both have 128 bits), and each span's identity is made from what it is of: so every
part adds to the same trace, and nothing has to be carried along. What came after the submit is told once, from the
task's record, when it has ended: its times are the database's, and no job needs a way to the collector.
Source: https://opentelemetry.io/docs/specs/otel/trace/api/
"""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

from keruta.domain.decisions.values import Standing
from keruta.domain.lifecycle import ENDED, Status
from keruta.domain.naming import as_number
from keruta.settings import Settings

Attributes = Mapping[str, str | int]
WORDS = {"queued": "wait in the queue", "assigned": "reach the worker", "preparing": "check out", "running": "run"}


class Tracing(Protocol):
    """Receiver of events in a task's life, for traces."""

    def submitted(self, task: str, began: datetime, ended: datetime) -> None: ...

    def ended(self, task: Standing) -> None: ...


class Silent:
    """Tracing that sends nothing, for when no endpoint is set."""

    def submitted(self, task: str, began: datetime, ended: datetime) -> None: ...

    def ended(self, task: Standing) -> None: ...


SILENT = Silent()


class OpenTelemetry:
    """Sends spans in the background; a collector that is away costs nothing but its spans.

    Args:
        endpoint: an OTLP/HTTP collector, without `/v1/traces`.
        part: this program's name.
    """

    def __init__(self, endpoint: str, part: str) -> None:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self._trace = trace
        self._next = threading.local()
        provider = TracerProvider(
            resource=Resource.create({"service.namespace": "keruta", "service.name": part}),
            id_generator=_given(self._next),
        )
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1000))
        self._provider = provider
        self._tracer = provider.get_tracer("keruta")

    def submitted(self, task: str, began: datetime, ended: datetime) -> None:
        self._span("submit", task, "submit", "root", began, ended, {})

    def ended(self, task: Standing) -> None:
        """The task's whole life, attempt by attempt. Nothing for one that has not ended."""
        history = task.history
        if task.status not in ENDED or not history:
            return
        said: dict[str, str | int] = {"keruta.task": task.id, "keruta.status": task.status.value}
        said |= {f"keruta.{name}": task.lane[name] for name in ("queue", "repository", "profile") if name in task.lane}
        if task.attempt is not None and task.attempt.reason:
            said["keruta.reason"] = task.attempt.reason
        failed = task.status is Status.FAILED
        self._span("task", task.id, "root", None, history[0].at, history[-1].at, said, failed=failed)
        for number, (entry, following) in enumerate(itertools.pairwise(history)):
            name = WORDS.get(entry.status, entry.status)
            about = {"keruta.attempt": entry.attempt}
            self._span(name, task.id, f"state{number}", "root", entry.at, following.at, about)

    def flush(self) -> None:
        """Send the spans so far, or give up after five seconds."""
        self._provider.force_flush(5000)

    def _span(
        self, name: str, task: str, of: str, parent: str | None, began: datetime, ended: datetime,
        attributes: Attributes, *, failed: bool = False,
    ) -> None:  # fmt: skip
        trace = self._trace
        trace_id = as_number(task)
        context = None
        if parent is not None:
            above = trace.SpanContext(
                trace_id, _span_id(task, parent), is_remote=True, trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED)
            )
            context = trace.set_span_in_context(trace.NonRecordingSpan(above))
        self._next.trace_id, self._next.span_id = trace_id, _span_id(task, of)
        span = self._tracer.start_span(name, context=context, start_time=_nanoseconds(began), attributes=attributes)
        if failed:
            span.set_status(trace.StatusCode.ERROR)
        span.end(_nanoseconds(max(ended, began + timedelta(milliseconds=1))))


def _given(following: threading.local) -> Any:
    """Gives each span the identity that was set for this thread's next one."""
    from opentelemetry.sdk.trace.id_generator import IdGenerator

    class Given(IdGenerator):
        def generate_trace_id(self) -> int:
            return int(following.trace_id)

        def generate_span_id(self) -> int:
            return int(following.span_id)

    return Given()


def _span_id(task: str, of: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{task} {of}".encode()).digest()[:8], "big") or 1


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1000


def tracing(settings: Settings, part: str) -> Tracing:
    """Make the tracing to the endpoint that is set, if one is."""
    return OpenTelemetry(settings.otlp_endpoint, part) if settings.otlp_endpoint else SILENT
