"""Metrics and traces of tasks, and events that could not be delivered."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client import REGISTRY

from keruta import metrics
from keruta.adapters.mongo.dead_letters import MongoDeadLetters
from keruta.adapters.mongo.metrics import Figures
from keruta.adapters.tracing import OpenTelemetry
from keruta.domain.events import Event
from keruta.domain.naming import as_number
from keruta.domain.reports import Running
from keruta.errors import InvalidRequest, NotFound, Unavailable
from tests.support.serving import Quiet, Serving
from tests.support.world import World


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def figures(world: World) -> dict[str, float]:
    text = metrics.render(Figures(world.database, 30)).decode()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line[0] != "#"}


# ---------------------------------------------------------------- metrics


def test_open_tasks_and_slots_are_counted_as_they_are(world: World) -> None:
    world.worker("w1", slots=3)
    ids = [world.submit() for _ in range(5)]
    world.assign()
    world.start(ids[0])

    found = figures(world)

    assert found['keruta_tasks{status="queued"}'] == 2
    assert found['keruta_tasks{status="assigned"}'] == 2
    assert found['keruta_tasks{status="running"}'] == 1
    assert found['keruta_worker_slots{state="busy"}'] == 3
    assert found['keruta_worker_slots{state="free"}'] == 0
    assert found["keruta_workers"] == 1


def test_an_attempt_is_counted_when_it_starts_and_ends(world: World) -> None:
    world.worker("w1")
    task_id = world.submit()
    world.assign()
    queued, ran = value("keruta_task_queue_seconds_count"), value("keruta_task_run_seconds_count")
    failed = value("keruta_attempts_ended_total", status="failed", reason="ScriptFailed")
    world.start(task_id)

    world.end(task_id, status="failed", reason="ScriptFailed", message="x")
    world.end(task_id, status="failed", reason="ScriptFailed", message="x")

    assert value("keruta_task_queue_seconds_count") == queued + 1
    assert value("keruta_task_run_seconds_count") == ran + 1
    assert value("keruta_attempts_ended_total", status="failed", reason="ScriptFailed") == failed + 1


def test_an_agents_words_make_no_labels() -> None:
    """Or a hostile one could make any number of them."""
    assert metrics.reason_label("Whatever-It-Says") == "other"
    assert metrics.reason_label("OutOfMemory") == "OutOfMemory"


def test_what_fencing_refuses_and_what_expires_is_counted(world: World) -> None:
    world.worker("w1")
    task_id = world.submit()
    world.assign()
    world.start(task_id)
    refused = value("keruta_reports_refused_total", reason="AlreadyStarted")
    lost = value("keruta_leases_expired_total", status="unknown")

    world.report("w1", Running(task=task_id, attempt=1, execution="another"))
    world.lease_runs_out(task_id)
    world.tick()

    assert value("keruta_reports_refused_total", reason="AlreadyStarted") == refused + 1
    assert value("keruta_leases_expired_total", status="unknown") == lost + 1


# ---------------------------------------------------------------- traces


class Collector(Serving):
    """An OpenTelemetry collector: keeps the spans that it is sent."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        collector = self

        class Handler(Quiet):
            def do_POST(self) -> None:
                sent = ExportTraceServiceRequest.FromString(self.body())
                collector.spans += [s for r in sent.resource_spans for scope in r.scope_spans for s in scope.spans]
                self.answer(200, b"")

        super().__init__(Handler)


def trace(world: World, tracing: OpenTelemetry) -> None:
    changes = msgspec.structs.replace(world.changes, tracing=tracing)
    world.reports = msgspec.structs.replace(world.reports, changes=changes)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as serving:
        yield serving


def test_a_task_is_one_trace_from_submit_to_result(world: World, collector: Collector) -> None:
    """Whichever process tells of it: the trace's identity is the task's."""
    create_task = OpenTelemetry(collector.url, "create_task")
    report_status = OpenTelemetry(collector.url, "report_status")
    trace(world, report_status)
    world.worker("w1")
    task_id = world.submit()
    now = datetime.now(UTC)
    create_task.submitted(task_id, now - timedelta(milliseconds=20), now)
    world.assign()
    world.start(task_id)
    world.end(task_id)

    create_task.flush()
    report_status.flush()

    spans = {span.name: span for span in collector.spans}
    assert set(spans) == {"submit", "task", "wait in the queue", "reach the worker", "run"}
    assert {span.trace_id for span in collector.spans} == {as_number(task_id).to_bytes(16, "big")}
    root = spans.pop("task")
    assert not root.parent_span_id
    assert {span.parent_span_id for span in spans.values()} == {root.span_id}
    assert root.start_time_unix_nano <= spans["run"].start_time_unix_nano < root.end_time_unix_nano
    said = {pair.key: pair.value.string_value for pair in root.attributes}
    assert (said["keruta.task"], said["keruta.status"], said["keruta.queue"]) == (task_id, "succeeded", "default")


def test_a_collector_that_is_away_holds_nothing_up(world: World) -> None:
    trace(world, OpenTelemetry("http://127.0.0.1:9", "r"))
    world.worker("w1")
    task_id = world.submit()
    world.assign()
    world.start(task_id)

    assert world.end(task_id).accepted


# ---------------------------------------------------------------- dead letters


def test_a_dead_letter_is_listed_and_sent_once_more(world: World) -> None:
    sent: list[Event] = []
    letters = MongoDeadLetters(world.database, lambda event: bool(sent.append(event)) or True)
    for number in range(3):
        event = Event(id=f"e{number}", type="dev.keruta.task.queued.v1", subject="x", data={"task": "x"})
        letters.keep(event, destination="dispatch", code="500")
        letters.keep(event, destination="dispatch", code="502")

    first = letters.page(limit=2, cursor=None)
    rest = letters.page(limit=2, cursor=first.next)
    again = letters.replay("ann", first.items[0].id)

    assert [one.event for one in (*first.items, *rest.items)] == ["e2", "e1", "e0"]
    assert (first.items[0].code, first.items[0].replayed_at) == ("502", None)
    assert [(event.id, event.type, event.data) for event in sent] == [
        ("e2", "dev.keruta.task.queued.v1", {"task": "x"})
    ]
    assert (again.replayed_by, again.replayed_at is not None) == ("ann", True)
    assert figures(world)["keruta_dead_letters"] == 2


def test_a_replay_that_the_broker_does_not_take_says_so_and_stays(world: World) -> None:
    letters = MongoDeadLetters(world.database, lambda _: False)
    letters.keep(Event(id="e", type="t"), destination=None, code=None)
    letter = letters.page(limit=1, cursor=None).items[0].id

    with pytest.raises(Unavailable):
        letters.replay("ann", letter)
    with pytest.raises(NotFound):
        letters.replay("ann", "x")
    with pytest.raises(InvalidRequest):
        letters.page(limit=1, cursor="x")

    assert letters.page(limit=1, cursor=None).items[0].replayed_at is None
