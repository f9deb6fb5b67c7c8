"""Tasks: the list, one task, its artifacts, and what people decide about it."""

from __future__ import annotations

import contextlib
import re

import flask
import msgspec

from admin.auth import number, paging, present_principal, principal, serves
from admin.ports import ports
from admin.site.stream_limits import counted
from admin.tasks import logs as log_answers
from admin.tasks.query import task_filter
from keruta.domain.continuation import ContinueRequest
from keruta.domain.messages import message
from keruta.domain.naming import attempt_id
from keruta.domain.provenance import ENVELOPE_TYPE, PublicKeys
from keruta.domain.task import BODY_LIMIT_BYTES, AttemptView, InputRequest, PushRequest, TaskView
from keruta.errors import NotFound
from keruta.http.answers import json_answer
from keruta.http.requests import read_body
from keruta.services import submit as submitting
from keruta.services import task_commands

blueprint = flask.Blueprint("tasks", __name__)


@serves(blueprint, "list_tasks")
def list_tasks() -> flask.Response:
    return json_answer(ports().reading.page(principal(), task_filter(), **paging()))


@serves(blueprint, "show_task")
def show_task(id: str) -> flask.Response:
    return json_answer(task_asked(id))


@serves(blueprint, "task_logs")
def task_logs(id: str) -> flask.Response:
    asked = number("attempt", None, 1_000_000)
    attempt, _, _ = ports().reading.log_attempt(principal(), id, asked)
    return log_answers.answer(ports(), present_principal("task_logs"), id, attempt, pinned=asked is not None)


@serves(blueprint, "cancel_task")
def cancel_task(id: str) -> flask.Response:
    task_commands.cancel(ports().commands, principal(), id)
    return json_answer(task_asked(id))


@serves(blueprint, "retry_task")
def retry_task(id: str) -> flask.Response:
    task_commands.retry(ports().commands, principal(), id)
    return json_answer(task_asked(id))


@serves(blueprint, "continue_task")
def continue_task(id: str) -> flask.Response:
    made = continue_asked(id, read_body(flask.request, ContinueRequest, BODY_LIMIT_BYTES))
    return json_answer(made, 201, {"Location": f"{ports().settings.public_url}/api/v1/tasks/{made.id}"})


def continue_asked(id: str, request: ContinueRequest) -> TaskView:
    """Queue the next task of a conversation. Raises NotFound, Forbidden, Conflict, InvalidRequest."""
    task = task_asked(id)
    standing = ports().commands.changes.tasks.standing(task.id, principal().readers)
    if standing is None:
        raise NotFound(message("task_missing"), reason="TaskNotFound")
    accepted = submitting.continue_task(
        task, request.prompt, principal(), standing.managers, lookup=ports().lookup, intake=ports().intake,
        tracing=ports().tracing, settings=ports().settings,
    )  # fmt: skip
    return accepted.task


@serves(blueprint, "accept_task")
def accept_task(id: str) -> flask.Response:
    task_commands.accept(ports().commands, principal(), id)
    return json_answer(task_asked(id))


@serves(blueprint, "push_task")
def push_task(id: str) -> flask.Response:
    task_commands.push(ports().commands, principal(), id, read_body(flask.request, PushRequest, BODY_LIMIT_BYTES))
    return json_answer(task_asked(id))


@serves(blueprint, "send_input")
def send_input(id: str) -> flask.Response:
    body = read_body(flask.request, InputRequest, BODY_LIMIT_BYTES)
    task_commands.send_input(ports().commands, principal(), id, body.text)
    return json_answer(task_asked(id))


@serves(blueprint, "list_artifacts")
def list_artifacts(id: str) -> flask.Response:
    """The task, with the files and outputs of the attempt that is asked for; by default of the last one."""
    task = task_asked(id)
    if "attempt" in flask.request.args:
        attempt = attempt_asked(task)
        task = msgspec.structs.replace(task, artifacts=attempt.artifacts, outputs=attempt.outputs)
    return json_answer(task)


def _is_one_range(header: str) -> bool:
    """Return whether a Range header is one range of bytes. Any other is answered with the whole file.

    Source: RFC 9110, section 14.2: a unit that is not known, and a range that is none, are ignored; several may be.
    """
    found = re.fullmatch(r"bytes=\s*(?:([0-9]{1,18})-([0-9]{0,18})|-[0-9]{1,18})\s*", header, re.IGNORECASE)
    return found is not None and not (found[2] and int(found[1]) > int(found[2]))


@serves(blueprint, "get_artifact")
def get_artifact(id: str, path: str) -> flask.Response:
    """The file as it was stored, never to be shown inside a page of ours: a script made it."""
    attempt = attempt_asked(task_asked(id))
    known = next((artifact for artifact in attempt.artifacts if artifact.path == path), None)
    with contextlib.ExitStack() as on_refusal:
        file = on_refusal.enter_context(ports().results.open(attempt_id(id, attempt.number), path))
        response = flask.send_file(
            file, mimetype="application/octet-stream", as_attachment=True, download_name=path.rsplit("/", 1)[-1]
        )
        if known is not None:
            response.set_etag(known.sha256)
        response.content_length = file.seek(0, 2)
        file.seek(0)
        ranged = _is_one_range(flask.request.headers.get("Range", ""))
        response.make_conditional(flask.request, accept_ranges=ranged, complete_length=response.content_length)
        response.headers["Accept-Ranges"] = "bytes"
        answer = counted(response, principal())
        on_refusal.pop_all()
    return answer


@serves(blueprint, "task_provenance")
def task_provenance(id: str) -> flask.Response:
    """The envelope, as a file to keep beside what it is about."""
    task = task_asked(id)
    attempt = attempt_asked(task)
    name = attempt_id(task.id, attempt.number)
    envelope = ports().provenance.envelope(name)
    if envelope is None:
        if task.provenance:
            raise NotFound(message("provenance_due", number=attempt.number))
        raise NotFound(message("provenance_not_asked", number=attempt.number))
    headers = {"Content-Disposition": f'attachment; filename="{name}.intoto.json"'}
    return flask.Response(msgspec.json.encode(envelope), headers=headers, content_type=ENVELOPE_TYPE)


@serves(blueprint, "provenance_keys")
def provenance_keys() -> flask.Response:
    return json_answer(PublicKeys(keys=ports().provenance.keys()))


def attempt_asked(task: TaskView) -> AttemptView:
    """The attempt that `?attempt=` names, or the last one. Raises NotFound."""
    asked = number("attempt", None, 1_000_000)
    attempt = task.attempt(asked)
    if attempt is None:
        raise NotFound(message("file_missing") if asked is None else message("attempt_no_number", number=asked))
    return attempt


def task_asked(task_id: str) -> TaskView:
    return ports().reading.task(principal(), task_id)
