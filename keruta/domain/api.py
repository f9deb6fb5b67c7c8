"""Every route there is, as data: its method, its address, who may use it, and its types.

The functions and admin take their roles from here, the OpenAPI document is made from it, and a test fails when a
server has a route that is not in this table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from keruta.domain.reports import Registration, Report, ReportAnswer, Session
from keruta.domain.task import InputRequest, Specification, TaskPage, TaskRequest, TaskView

READ = frozenset({"viewer", "developer", "admin"})
RUN = frozenset({"developer", "admin"})
WORKER = frozenset({"worker"})
DISPATCHER = frozenset({"dispatcher"})
AGENT = frozenset({"agent"})  # holds a token that keruta signed: a worker's session or an attempt's
ANYONE: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A query parameter."""

    name: str
    description: str
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, kw_only=True)
class Route:
    """One operation. `answer` is a type, or a media type for what is not JSON."""

    name: str
    method: str
    path: str
    summary: str
    roles: frozenset[str]
    body: type | None = None
    answer: type | str | None = None
    status: int = 200
    problems: tuple[int, ...] = ()
    query: tuple[Parameter, ...] = ()


_STATUS = {
    "type": "string",
    "enum": ["queued", "assigned", "preparing", "running", "waiting", "unknown", "succeeded", "failed", "cancelled"],
}
_LIMIT = {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}

ROUTES: tuple[Route, ...] = (
    Route(
        name="create_task", method="POST", path="/api/v1/tasks", summary="Submit a task", roles=RUN,
        body=TaskRequest, answer=TaskView, status=201, problems=(400, 409, 413, 415, 422),
    ),
    Route(
        name="list_tasks", method="GET", path="/api/v1/tasks", summary="List tasks, newest first", roles=READ,
        answer=TaskPage, problems=(422,),
        query=(
            Parameter(name="status", description="only tasks in this status", schema=_STATUS),
            Parameter(name="queue", description="only tasks of this queue"),
            Parameter(name="repository", description="only tasks on this repository's address"),
            Parameter(name="owner", description="only tasks of this submitter"),
            Parameter(name="label", description="only tasks with this label, as key=value"),
            Parameter(name="limit", description="how many a page has", schema=_LIMIT),
            Parameter(name="cursor", description="`next` of the page before"),
        ),
    ),
    Route(
        name="show_task", method="GET", path="/api/v1/tasks/{id}", summary="Show a task, and why it waits",
        roles=READ, answer=TaskView, problems=(404,),
    ),
    Route(
        name="task_logs", method="GET", path="/api/v1/tasks/{id}/logs", roles=READ, answer="text/plain",
        summary="The log, as Accept asks: text/plain, application/x-ndjson, or text/event-stream to follow it",
        problems=(404, 422),
        query=(
            Parameter(
                name="attempt", description="which attempt; by default the last one",
                schema={"type": "integer", "minimum": 1},
            ),
        ),
    ),
    Route(
        name="cancel_task", method="POST", path="/api/v1/tasks/{id}/cancel", summary="Cancel a task", roles=RUN,
        answer=TaskView, problems=(404, 409),
    ),
    Route(
        name="retry_task", method="POST", path="/api/v1/tasks/{id}/retry", roles=RUN,
        summary="Make another attempt at a task that failed, was cancelled, or whose end is not known",
        answer=TaskView, problems=(404, 409),
    ),
    Route(
        name="accept_task", method="POST", path="/api/v1/tasks/{id}/accept", roles=RUN,
        summary="Say that a task whose end is not known is done", answer=TaskView, problems=(404, 409),
    ),
    Route(
        name="send_input", method="POST", path="/api/v1/tasks/{id}/input", summary="Send a line to a running script",
        roles=RUN, body=InputRequest, answer=TaskView, problems=(400, 404, 409, 413, 415, 422),
    ),
    Route(
        name="list_artifacts", method="GET", path="/api/v1/tasks/{id}/artifacts",
        summary="What the script left behind", roles=READ, answer=TaskView, problems=(404,),
    ),
    Route(
        name="get_artifact", method="GET", path="/api/v1/tasks/{id}/artifacts/{path}", roles=READ,
        summary="One file that the script left behind (ranges are honoured)", answer="application/octet-stream",
        problems=(404, 416),
    ),
    Route(
        name="openapi", method="GET", path="/api/v1/openapi.json", summary="This document", roles=ANYONE,
        answer="application/json",
    ),
    Route(
        name="healthz", method="GET", path="/healthz", summary="The process is alive", roles=ANYONE,
        answer="text/plain",
    ),
    Route(
        name="readyz", method="GET", path="/readyz", summary="The database answers", roles=ANYONE, answer="text/plain",
        problems=(503,),
    ),
    Route(
        name="agent_readyz", method="GET", path="/agent/v1/readyz", summary="Reports are taken", roles=ANYONE,
        answer="text/plain", problems=(503,),
    ),
    Route(
        name="register_worker", method="PUT", path="/agent/v1/workers/{id}", summary="Register a worker", roles=WORKER,
        body=Registration, answer=Session, problems=(400, 413, 415, 422),
    ),
    Route(
        name="report", method="POST", path="/agent/v1/reports", roles=AGENT, body=Report, answer=ReportAnswer,
        summary="Report an ordered batch; the answer has one outcome per entry and all that is assigned",
        problems=(400, 413, 415, 422),
    ),
    Route(
        name="specification", method="GET", path="/agent/v1/tasks/{id}/attempts/{n}", roles=AGENT, answer=Specification,
        summary="All that an attempt needs, with its token", problems=(404,),
    ),
    Route(
        name="put_artifact", method="PUT", path="/agent/v1/tasks/{id}/attempts/{n}/artifacts/{path}", roles=AGENT,
        summary="Store a file, for agents without the shared volume", status=204, problems=(404, 411, 413, 422),
    ),
    Route(
        name="dead_letters", method="POST", path="/events/dead-letters", roles=DISPATCHER, status=204,
        summary="An event that could not be delivered", problems=(422,),
    ),
    Route(
        name="dispatch", method="POST", path="/", summary="An event from the broker", roles=DISPATCHER, status=204,
        problems=(422,),
    ),
)  # fmt: skip

BY_NAME = {route.name: route for route in ROUTES}
