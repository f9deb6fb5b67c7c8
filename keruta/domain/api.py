"""Every route there is, as data: its method, its address, who may use it, and its types.

The functions and admin take their roles from here, the OpenAPI document is made from it, and a test fails when a
server has a route that is not in this table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from keruta.domain.audit import AuditPage
from keruta.domain.catalog.circuits import CircuitView
from keruta.domain.catalog.common import ImportResult, Page
from keruta.domain.catalog.documents import DocumentView, VersionSummary
from keruta.domain.catalog.kinds import KINDS, Kind
from keruta.domain.catalog.queues import PauseRequest, QueueView
from keruta.domain.catalog.repositories import Validation
from keruta.domain.reports import Attempts, Registration, Report, ReportAnswer, Session
from keruta.domain.retention import Pruned
from keruta.domain.roles import AGENT, ANYONE, DISPATCHER, MANAGE, READ, RUN, WORKER
from keruta.domain.specification import Specification
from keruta.domain.task import InputRequest, TaskPage, TaskRequest, TaskView


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
    body: Any = None
    answer: Any = None
    status: int = 200
    problems: tuple[int, ...] = ()
    query: tuple[Parameter, ...] = ()
    headers: tuple[Parameter, ...] = ()


_STATUS = {
    "type": "string",
    "enum": ["queued", "assigned", "preparing", "running", "waiting", "unknown", "succeeded", "failed", "cancelled"],
}
_LIMIT = {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}
PAGED = (
    Parameter(name="limit", description="how many a page has", schema=_LIMIT),
    Parameter(name="cursor", description="`next` of the page before"),
)

TASKS: tuple[Route, ...] = (
    Route(
        name="create_task", method="POST", path="/api/v1/tasks", summary="Submit a task", roles=RUN,
        body=TaskRequest, answer=TaskView, status=201, problems=(400, 409, 413, 415, 422),
        headers=(
            Parameter(
                name="Idempotency-Key", description="for 24 hours, the same key is the same request",
                schema={"type": "string", "pattern": "^[!-~]{1,255}$"},
            ),
        ),
    ),
    Route(
        name="list_tasks", method="GET", path="/api/v1/tasks", summary="List tasks, newest first", roles=READ,
        answer=TaskPage, problems=(422,),
        query=(
            Parameter(name="status", description="only tasks in this status", schema=_STATUS),
            Parameter(name="queue", description="only tasks of this queue"),
            Parameter(name="repository", description="only tasks on this repository, by its name or its address"),
            Parameter(name="profile", description="only tasks with this profile"),
            Parameter(name="owner", description="only tasks of this submitter"),
            Parameter(name="label", description="only tasks with this label, as key=value"),
            Parameter(
                name="sort", description="by when it was submitted: -created (newest first) or created",
                schema={"type": "string", "enum": ["created", "-created"]},
            ),
            *PAGED,
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
)  # fmt: skip

PLATFORM: tuple[Route, ...] = (
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
        name="leave_worker", method="DELETE", path="/agent/v1/workers/{id}", roles=AGENT, status=204,
        summary="A worker is gone for good: others take over what it had", problems=(404,),
    ),
    Route(
        name="check_attempts", method="POST", path="/agent/v1/attempts", roles=AGENT, body=Attempts, answer=Attempts,
        summary="Which of these attempts are over, or no task's at all", problems=(400, 413, 415, 422),
    ),
    Route(
        name="report", method="POST", path="/agent/v1/reports", roles=AGENT, body=Report, answer=ReportAnswer,
        summary="Report an ordered batch; the answer has one outcome per entry and all that is assigned",
        problems=(400, 413, 415, 422),
    ),
    Route(
        name="specification", method="GET", path="/agent/v1/tasks/{id}/attempts/{n}", roles=AGENT, answer=Specification,
        summary="All that an attempt needs, with its token", problems=(404,),
        query=(
            Parameter(
                name="minted", description="whether short-lived credentials are to be made",
                schema={"type": "boolean", "default": True},
            ),
        ),
    ),
    Route(
        name="attempt_document", method="GET", path="/agent/v1/tasks/{id}/attempts/{n}/documents/{name}", roles=AGENT,
        summary="A document at the version that the task has", answer="text/plain", problems=(404,),
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
        name="sweep", method="POST", path="/events/sweep", roles=DISPATCHER, status=204,
        summary="Time to remove what is older than the settings say", problems=(422,),
    ),
    Route(
        name="dispatch", method="POST", path="/", summary="An event from the broker", roles=DISPATCHER, status=204,
        problems=(422,),
    ),
)  # fmt: skip

ETAG = "the entry's ETag, so that a change that came between is not lost; * for whatever is there"
IF_MATCH = (Parameter(name="If-Match", description=ETAG, schema={"type": "string"}),)


def _catalog(kind: Kind) -> Iterator[Route]:
    """The five operations that every kind of the catalog has."""
    words, one = f"/api/v1/{kind.collection}", f"/api/v1/{kind.collection}/{{name}}"
    sort = {"type": "string", "enum": ["name", "-name", "updated", "-updated"], "default": "name"}
    filters = tuple(Parameter(name=name, description=f"only those with this {name}") for name in kind.filters)
    search = (Parameter(name="q", description="words that must be in the title or text"),)
    yield Route(
        name=f"list_{kind.collection}", method="GET", path=words, summary=f"List {kind.collection}", roles=READ,
        answer=Page[kind.item], problems=(422,),  # type: ignore[name-defined]
        query=(
            *filters, *(search if kind.name == "document" else ()),
            Parameter(name="sort", description="by name, or by when it was changed", schema=sort), *PAGED,
        ),
    )  # fmt: skip
    yield Route(
        name=f"create_{kind.name}", method="POST", path=words, summary=f"Add a {kind.name}", roles=kind.writers,
        body=kind.spec, answer=kind.view, status=201, problems=(400, 409, 413, 415, 422),
    )  # fmt: skip
    yield Route(
        name=f"show_{kind.name}", method="GET", path=one, summary=f"Show a {kind.name}", roles=READ,
        answer=kind.view, problems=(404,),
    )  # fmt: skip
    yield Route(
        name=f"replace_{kind.name}", method="PUT", path=one, summary=f"Change a {kind.name}", roles=kind.writers,
        body=kind.spec, answer=kind.view, problems=(400, 404, 412, 413, 415, 422, 428), headers=IF_MATCH,
    )  # fmt: skip
    yield Route(
        name=f"delete_{kind.name}", method="DELETE", path=one, roles=kind.writers, status=204,
        summary=f"Delete a {kind.name}; refused while something needs it", problems=(404, 409, 412, 422),
        headers=IF_MATCH,
        query=(
            Parameter(
                name="force", description="queued tasks that need it fail with a reason",
                schema={"type": "boolean", "default": False},
            ),
        ),
    )  # fmt: skip


CATALOG: tuple[Route, ...] = (
    *(route for kind in KINDS.values() for route in _catalog(kind)),
    Route(
        name="validate_repository", method="POST", path="/api/v1/repositories/{name}/validate", roles=RUN,
        summary="Look at the real server, within 10 s, and say what is there or what is wrong", answer=Validation,
        problems=(404,),
    ),
    Route(
        name="pause_queue", method="POST", path="/api/v1/queues/{name}/pause", summary="Start nothing of a queue",
        roles=MANAGE, body=PauseRequest, answer=QueueView, problems=(400, 404, 413, 415, 422),
    ),
    Route(
        name="resume_queue", method="POST", path="/api/v1/queues/{name}/resume", summary="Start a queue's tasks again",
        roles=MANAGE, answer=QueueView, problems=(404,),
    ),
    Route(
        name="list_versions", method="GET", path="/api/v1/documents/{name}/versions", roles=READ,
        summary="A document's versions, newest first", answer=Page[VersionSummary], query=PAGED, problems=(404, 422),
    ),
    Route(
        name="show_version", method="GET", path="/api/v1/documents/{name}/versions/{version}", roles=READ,
        summary="A document as it was", answer=DocumentView, problems=(404,),
    ),
    Route(
        name="list_circuits", method="GET", path="/api/v1/circuits", roles=READ,
        summary="Repositories, profiles and queues that fail for reasons that are not the script's",
        answer=Page[CircuitView],
    ),
    Route(
        name="close_circuit", method="POST", path="/api/v1/circuits/{id}/close", roles=RUN, status=204,
        summary="Let its tasks run again", problems=(404,),
    ),
    Route(
        name="export_catalog", method="GET", path="/api/v1/export", roles=MANAGE, answer="application/yaml",
        summary="All of the catalog as YAML, without any secret",
    ),
    Route(
        name="import_catalog", method="POST", path="/api/v1/import", roles=MANAGE, answer=ImportResult,
        summary="Add and change entries as a YAML document says: all of it, or nothing", body="application/yaml",
        problems=(400, 409, 413, 415, 422),
        query=(
            Parameter(
                name="dry_run", description="say what would be done, and do nothing",
                schema={"type": "boolean", "default": False},
            ),
        ),
    ),
    Route(
        name="prune", method="POST", path="/api/v1/prune", roles=MANAGE, answer=Pruned,
        summary="Remove what is older than the settings say", problems=(422,),
        query=(
            Parameter(
                name="dry_run", description="say what would go, and remove nothing",
                schema={"type": "boolean", "default": False},
            ),
        ),
    ),
    Route(
        name="list_audit", method="GET", path="/api/v1/audit", summary="Who changed what, newest first", roles=MANAGE,
        answer=AuditPage, problems=(422,),
        query=(
            Parameter(name="who", description="only what this one did"),
            Parameter(name="kind", description="only what was done to this kind of thing"),
            Parameter(name="of", description="only what was done to this one; needs kind"),
            *PAGED,
        ),
    ),
)  # fmt: skip

ROUTES: tuple[Route, ...] = (*TASKS, *CATALOG, *PLATFORM)
BY_NAME = {route.name: route for route in ROUTES}
