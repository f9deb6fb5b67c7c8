"""The routes of tasks: submitted to create_task, all else to admin."""

from __future__ import annotations

from keruta.domain.api.route import IDEMPOTENCY_KEY, PAGED, Parameter, Route
from keruta.domain.continuation import ContinueRequest
from keruta.domain.lifecycle import Status
from keruta.domain.provenance import ENVELOPE_TYPE, PublicKeys
from keruta.domain.roles import ANYONE, READ, RUN
from keruta.domain.task import InputRequest, PushRequest, TaskPage, TaskRequest, TaskView

_STATUS = {"type": "string", "enum": [*(str(status) for status in Status), "open"]}
_OF_ATTEMPT = (
    Parameter(
        name="attempt", description="which attempt; by default the last one", schema={"type": "integer", "minimum": 1}
    ),
)
_MOMENT = {"type": "string", "format": "date-time"}

TASKS: tuple[Route, ...] = (
    Route(
        name="create_task", method="POST", path="/api/v1/tasks", summary="Submit a task", roles=RUN,
        body=TaskRequest, answer=TaskView, status=201, problems=(400, 409, 413, 415, 422),
        headers=(IDEMPOTENCY_KEY,),
    ),
    Route(
        name="list_tasks", method="GET", path="/api/v1/tasks", summary="List tasks, newest first", roles=READ,
        answer=TaskPage, problems=(422,),
        query=(
            Parameter(name="status", description="only in this status; open: that have not ended", schema=_STATUS),
            Parameter(name="queue", description="only tasks of this queue"),
            Parameter(name="repository", description="only tasks on this repository, by its name or its address"),
            Parameter(name="profile", description="only tasks with this profile"),
            Parameter(name="owner", description="only tasks of this submitter"),
            Parameter(name="label", description="only tasks with this label, as key=value"),
            Parameter(
                name="q",
                description="only tasks with all of these words or parts of words in the name, or parts of the id: its "
                "beginning, or seven letters from anywhere",
            ),
            Parameter(name="since", description="only tasks submitted from then on", schema=_MOMENT),
            Parameter(name="until", description="only tasks submitted before then", schema=_MOMENT),
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
        query=_OF_ATTEMPT,
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
        name="continue_task", method="POST", path="/api/v1/tasks/{id}/continue", roles=RUN, body=ContinueRequest,
        summary="Go on from a coding agent's task that has ended: a new task from its branch, with what was said",
        answer=TaskView, status=201, problems=(400, 404, 409, 413, 415, 422),
    ),
    Route(
        name="accept_task", method="POST", path="/api/v1/tasks/{id}/accept", roles=RUN,
        summary="Say that a task whose end is not known is done", answer=TaskView, problems=(404, 409),
    ),
    Route(
        name="push_task", method="POST", path="/api/v1/tasks/{id}/push", roles=RUN, body=PushRequest,
        summary="Push the work that was kept when it could not be pushed, or was not to be",
        answer=TaskView, problems=(400, 404, 409, 413, 415, 422),
    ),
    Route(
        name="send_input", method="POST", path="/api/v1/tasks/{id}/input", summary="Send a line to a running script",
        roles=RUN, body=InputRequest, answer=TaskView, problems=(400, 404, 409, 413, 415, 422),
    ),
    Route(
        name="list_artifacts", method="GET", path="/api/v1/tasks/{id}/artifacts",
        summary="What the script left behind in an attempt", roles=READ, answer=TaskView, problems=(404, 422),
        query=_OF_ATTEMPT,
    ),
    Route(
        name="get_artifact", method="GET", path="/api/v1/tasks/{id}/artifacts/{path}", roles=READ,
        summary="One file that the script left behind in an attempt (ranges are honoured)",
        answer="application/octet-stream", problems=(404, 416, 422), query=_OF_ATTEMPT,
    ),
    Route(
        name="task_provenance", method="GET", path="/api/v1/tasks/{id}/provenance", roles=READ,
        summary="What an attempt did, as a signed statement (in-toto and SLSA provenance in a DSSE envelope)",
        answer=ENVELOPE_TYPE, problems=(404, 422), query=_OF_ATTEMPT,
    ),
    Route(
        name="provenance_keys", method="GET", path="/api/v1/provenance/keys", roles=ANYONE, answer=PublicKeys,
        summary="The public keys that such statements are and were signed with",
    ),
)  # fmt: skip
