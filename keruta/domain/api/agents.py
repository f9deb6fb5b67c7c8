"""The routes that workers and attempts report to."""

from __future__ import annotations

from keruta.domain.api.route import Parameter, Route
from keruta.domain.catalog.caches import CacheEntries, CacheRecord
from keruta.domain.reports import Attempts, Registration, Report, ReportAnswer, Session
from keruta.domain.roles import AGENT, WORKER
from keruta.domain.specification import Specification

AGENTS: tuple[Route, ...] = (
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
        name="put_snapshot", method="PUT", path="/agent/v1/tasks/{id}/attempts/{n}/snapshot", roles=AGENT, status=204,
        summary="Store the sealed session of the attempt's coding agent", problems=(404, 411, 413, 422),
    ),
    Route(
        name="get_snapshot", method="GET", path="/agent/v1/tasks/{id}/attempts/{n}/snapshot", roles=AGENT,
        summary="The sealed session that the attempt resumes", answer="application/octet-stream", problems=(404,),
    ),
    Route(
        name="put_artifact", method="PUT", path="/agent/v1/tasks/{id}/attempts/{n}/artifacts/{path}", roles=AGENT,
        summary="Store a file, or with Content-Range a part of it, for agents without the shared volume", status=204,
        problems=(404, 409, 411, 413, 422, 507),
    ),
    Route(
        name="delete_artifacts", method="DELETE", path="/agent/v1/tasks/{id}/attempts/{n}/artifacts", roles=AGENT,
        summary="Forget the files that an interrupted try has stored", status=204, problems=(404,),
    ),
    Route(
        name="kept_work", method="GET", path="/agent/v1/tasks/{id}/attempts/{n}/work", roles=AGENT,
        answer="application/octet-stream", summary="The work that this attempt pushes, as a bundle", problems=(404,),
    ),
    Route(
        name="cache_entries", method="GET", path="/agent/v1/tasks/{id}/attempts/{n}/caches/{space}", roles=AGENT,
        answer=CacheEntries, summary="Dependency caches of the attempt's repository, without the shared volume",
        problems=(404,),
    ),
    Route(
        name="cache_archive", method="GET", path="/agent/v1/tasks/{id}/attempts/{n}/caches/{space}/{name}", roles=AGENT,
        answer="application/octet-stream", summary="The archive of a dependency cache", problems=(404,),
    ),
    Route(
        name="keep_cache", method="POST", path="/agent/v1/tasks/{id}/attempts/{n}/caches/{space}", roles=AGENT,
        body=CacheRecord, status=204, summary="Make a dependency cache of an archive that was uploaded as a file",
        problems=(404, 409, 413, 415, 422, 507),
    ),
)  # fmt: skip
