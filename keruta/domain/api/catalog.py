"""The routes of what tasks draw on: the catalog, its circuits, what is kept of it and for how long."""

from __future__ import annotations

from collections.abc import Iterator

from keruta.domain.api.route import IDEMPOTENCY_KEY, PAGED, Parameter, Route
from keruta.domain.catalog.circuits import CircuitView
from keruta.domain.catalog.common import ImportResult, Page
from keruta.domain.catalog.documents import DocumentView, VersionSummary
from keruta.domain.catalog.kinds import KINDS, Kind
from keruta.domain.catalog.queues import PauseRequest, QueueView
from keruta.domain.catalog.repositories import Validation
from keruta.domain.catalog.templates import TemplateRun
from keruta.domain.dead_letters import DeadLetter
from keruta.domain.model_keys import KeyCheck
from keruta.domain.retention import Pruned
from keruta.domain.roles import MANAGE, READ, RUN
from keruta.domain.task import TaskView

ETAG = "the entry's ETag, so that a change that came between is not lost; * for whatever is there"
IF_MATCH = (Parameter(name="If-Match", description=ETAG, schema={"type": "string"}),)


def _catalog(kind: Kind) -> Iterator[Route]:
    """The five operations that every kind of the catalog has."""
    words, one = f"/api/v1/{kind.path}", f"/api/v1/{kind.path}/{{name}}"
    sort = {"type": "string", "enum": ["name", "-name", "updated", "-updated"], "default": "name"}
    filters = tuple(Parameter(name=name, description=f"only those with this {name}") for name in kind.filters)
    search = (Parameter(name="q", description="words that must be in the title or text"),)
    yield Route(
        name=f"list_{kind.collection}", method="GET", path=words, summary=f"List {kind.many}", roles=READ,
        answer=Page[kind.item], problems=(422,),  # type: ignore[name-defined]
        query=(
            *filters, *(search if kind.name == "document" else ()),
            Parameter(name="sort", description="by name, or by when it was changed", schema=sort), *PAGED,
        ),
    )  # fmt: skip
    yield Route(
        name=f"create_{kind.name}", method="POST", path=words, summary=f"Add a {kind.words}", roles=kind.writers,
        body=kind.spec, answer=kind.view, status=201, problems=(400, 409, 413, 415, 422),
    )  # fmt: skip
    yield Route(
        name=f"show_{kind.name}", method="GET", path=one, summary=f"Show a {kind.words}", roles=READ,
        answer=kind.view, problems=(404,),
    )  # fmt: skip
    yield Route(
        name=f"replace_{kind.name}", method="PUT", path=one, summary=f"Change a {kind.words}", roles=kind.changers,
        body=kind.spec, answer=kind.view, problems=(400, 404, 412, 413, 415, 422, 428), headers=IF_MATCH,
    )  # fmt: skip
    yield Route(
        name=f"delete_{kind.name}", method="DELETE", path=one, roles=kind.changers, status=204,
        summary=f"Delete a {kind.words}; refused while something needs it", problems=(404, 409, 412, 422),
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
        name="validate_credential", method="POST", path="/api/v1/credentials/{name}/validate", roles=RUN,
        summary="Ask the model's server, within 10 s, whether it takes the key, and which models it offers",
        answer=KeyCheck, problems=(404,),
    ),
    Route(
        name="pause_queue", method="POST", path="/api/v1/queues/{name}/pause", summary="Start nothing of a queue",
        roles=RUN, body=PauseRequest, answer=QueueView, problems=(400, 404, 413, 415, 422),
    ),
    Route(
        name="resume_queue", method="POST", path="/api/v1/queues/{name}/resume", summary="Start a queue's tasks again",
        roles=RUN, answer=QueueView, problems=(404,),
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
        name="run_template", method="POST", path="/api/v1/templates/{name}/run", roles=RUN, body=TemplateRun,
        summary="Submit the task of a template, with values for its parameters", answer=TaskView, status=201,
        problems=(400, 404, 409, 413, 415, 422), headers=(IDEMPOTENCY_KEY,),
    ),
    Route(
        name="list_circuits", method="GET", path="/api/v1/circuits", roles=READ,
        summary="Repositories, profiles, credentials and queues that fail for reasons that are not the script's",
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
        name="list_dead_letters", method="GET", path="/api/v1/dead-letters", roles=MANAGE, answer=Page[DeadLetter],
        summary="Events that could not be delivered, newest first", query=PAGED, problems=(422,),
    ),
    Route(
        name="replay_dead_letter", method="POST", path="/api/v1/dead-letters/{id}/replay", roles=MANAGE,
        summary="Give an event to the broker once more", answer=DeadLetter, problems=(404, 503),
    ),
)  # fmt: skip
