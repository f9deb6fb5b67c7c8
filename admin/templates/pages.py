"""The page that runs a template: a field for each parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import flask

from admin.auth import principal
from admin.ports import ports
from admin.site.pages import go, page, shows
from admin.templates.routes import run as run_template
from keruta.domain.catalog import access
from keruta.domain.catalog.common import Wanted
from keruta.domain.catalog.templates import Parameter, TemplateRun, TemplateView, Value
from keruta.domain.naming import new_id
from keruta.errors import Fault, Forbidden, InvalidRequest, fault

blueprint = flask.Blueprint("templates_pages", __name__)

NAMES_TO_PICK = 200
_AT = "/parameters/"


@shows(blueprint, "run_template", "/templates/<name>/run")
def form(name: str) -> flask.Response:
    template: TemplateView = ports().catalogs["template"].show(principal(), name)
    return _form(template, {one.name: _typed(one.default) for one in template.parameters})


@shows(blueprint, "run_template", "/templates/<name>/run", "POST")
def run(name: str) -> flask.Response:
    template: TemplateView = ports().catalogs["template"].show(principal(), name)
    sent = flask.request.form
    values = {one.name: sent.get(f"p.{one.name}", "").replace("\r\n", "\n") for one in template.parameters}
    wanted = TemplateRun(parameters=_given(template.parameters, values))
    try:
        accepted = run_template(name, wanted, sent.get("key", "")[:64] or None)
    except InvalidRequest as error:
        return _form(template, values, error.faults or [fault("", error.message)])
    except Forbidden as error:
        return _form(template, values, [fault("", error.message)])
    return go(f"/tasks/{accepted.task.id}", "submitted")


def _given(parameters: Sequence[Parameter], values: Mapping[str, str]) -> dict[str, Value]:
    """Return the values that the form holds. A box that is not ticked is false."""
    found: dict[str, Value] = {}
    for one in parameters:
        if one.type == "boolean":
            found[one.name] = values[one.name] == "true"
        elif values[one.name] or one.type == "text":
            found[one.name] = values[one.name]
    return found


def _typed(value: Value | None) -> str:
    """Return a default as it stands in a form."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _form(template: TemplateView, values: Mapping[str, str], faults: Sequence[Fault] = ()) -> flask.Response:
    known = {one.name for one in template.parameters}
    beside = {one["at"].removeprefix(_AT): one for one in faults if one["at"].removeprefix(_AT) in known}
    above = [one for one in faults if one["at"].removeprefix(_AT) not in known]
    return page(
        "templates/run.html", 422 if faults else 200, entry=template, values=values, beside=beside, above=above,
        key=new_id(), secrets=_secrets() if any(one.type == "secret" for one in template.parameters) else [],
    )  # fmt: skip


def _secrets() -> list[str]:
    """Return the names of secret values that this person may use, as suggestions."""
    found, _ = ports().catalogs["credential"].page(principal(), Wanted(limit=NAMES_TO_PICK))
    return [one.name for one in found if one.type == "secret" and access.may_use(one.access, principal().names)]
