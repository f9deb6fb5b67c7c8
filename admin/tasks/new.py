"""The page of a new task: what to run, on which repository; and again, like one that was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import flask
import msgspec
from werkzeug.datastructures import MultiDict

from admin.auth import principal
from admin.catalog.pages import names_of
from admin.ports import ports
from admin.repositories.routes import look_at
from admin.site import forms
from admin.site.pages import go, page, shows
from admin.tasks.routes import task_asked
from keruta.domain.decode import convert
from keruta.domain.naming import NAME, TASK_ID, new_id
from keruta.domain.task import IfExists, TaskRequest, TaskView
from keruta.errors import Fault, Forbidden, InvalidRequest, NotFound, fault
from keruta.http.answers import json_answer
from keruta.services.submit import submit

blueprint = flask.Blueprint("tasks_new", __name__)

OWN = ("repository", "ref", "result")
FIELDS = {field.path: field for field in forms.fields(TaskRequest) if field.path not in OWN}
REPOSITORY = forms.Field(path="repository", kind="text", required=True)
REF = forms.Field(path="ref", kind="text")
SUBMODULES = forms.Field(path="submodules", kind="yes")
DEPTH = forms.Field(path="depth", kind="number")
TAGS = forms.Field(path="tags", kind="maybe", choices=("", *forms.MAYBE))
PATHS = forms.Field(path="paths", kind="lines")
IF_EXISTS = forms.Field(path="if_exists", kind="choice", choices=get_args(IfExists), default="fail")
SHOWN = (REPOSITORY, REF, SUBMODULES, DEPTH, TAGS, PATHS, IF_EXISTS, *FIELDS.values())

# Where a fault of the document is in the form.
_PLACES = {
    **{f"/repository/{name}": f"/{name}" for name in ("ref", "depth", "tags", "paths")},
    "/result/branch": "/result_branch", "/result/if_exists": "/if_exists",
}  # fmt: skip


@shows(blueprint, "create_task", "/tasks/new")
def new() -> flask.Response:
    like = flask.request.args.get("like", "")
    values = _like(task_asked(like)) if TASK_ID.fullmatch(like) else {}
    given = {name: flask.request.args[name] for name in ("repository", "ref", "queue") if name in flask.request.args}
    return _form({"queue": "default", **values, **given}, fresh=not values and not given)


@shows(blueprint, "create_task", "/tasks/new", "POST")
def create() -> flask.Response:
    form = flask.request.form
    request, faults = convert(_document(form), TaskRequest)
    if request is not None:
        try:
            accepted = submit(
                request, principal(), lookup=ports().lookup, intake=ports().intake, tracing=ports().tracing,
                settings=ports().settings, key=form.get("key", "")[:64] or None,
            )  # fmt: skip
            return go(f"/tasks/{accepted.task.id}", "submitted")
        except InvalidRequest as error:
            faults = error.faults or [fault("", error.message)]
        except Forbidden as error:
            faults = [fault("", error.message)]
    typed = {field.path: form.get(field.path, "").replace("\r\n", "\n") for field in _all(SHOWN)}
    return _form(typed, faults)


@shows(blueprint, "validate_repository", "/tasks/new/refs")
def refs() -> flask.Response:
    """The branches and tags of a repository in the catalog, for the field to pick from."""
    name = flask.request.args.get("of", "").strip()
    if not NAME.fullmatch(name):
        return json_answer([])
    try:
        found = look_at(name)
    except NotFound:
        return json_answer([])
    return json_answer([*found.branches, *found.tags])


def _form(values: Mapping[str, str], faults: Sequence[Fault] = (), *, fresh: bool = False) -> flask.Response:
    known = {kind: names_of(kind) for kind in ("repository", "queue", "profile", "document")}
    moved = [{**fault, "at": _PLACES.get(fault["at"], fault["at"])} for fault in faults]
    return page(
        "tasks/new.html", 422 if faults else 200, values=values, fresh=fresh, key=new_id(), known=known,
        told=forms.told(SHOWN, moved), fields={field.path: field for field in SHOWN},
    )  # fmt: skip


def _document(form: MultiDict[str, str]) -> dict[str, Any]:
    """Build the API's body from the submitted form."""
    made = forms.document(tuple(FIELDS.values()), form)
    place = form.get("repository", "").strip()
    if place:
        asked: dict[str, Any] = {"name" if NAME.fullmatch(place) else "url": place}
        if ref := form.get("ref", "").strip():
            asked["ref"] = ref
        if form.get("submodules"):
            asked["submodules"] = True
        asked |= forms.document((DEPTH, TAGS, PATHS), form)
        made["repository"] = asked
    if (branch := made.get("result_branch")) and (if_exists := form.get("if_exists", "").strip()):
        made["result"] = {"branch": branch, "if_exists": if_exists}
    return made


def _like(task: TaskView) -> dict[str, str]:
    """The form that would have made it."""
    plain = msgspec.to_builtins(task, enc_hook=str)
    plain["documents"] = [one.name for one in task.documents]
    place = {
        "repository": task.repository.name or task.repository.url, "ref": task.repository.ref or "",
        "submodules": "1" if task.repository.submodules else "",
        **forms.filled((DEPTH, TAGS, PATHS), plain["repository"]),
        "if_exists": task.result.if_exists if task.result is not None else "",
    }  # fmt: skip
    return {**forms.filled(tuple(FIELDS.values()), plain), **place}


def _all(wanted: Sequence[forms.Field]) -> Sequence[forms.Field]:
    return [one for field in wanted for one in (field, *_all(field.fields))]
