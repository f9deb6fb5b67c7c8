"""The pages of every kind of the catalog: a list, and one entry with its form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flask
import msgspec
from werkzeug.datastructures import MultiDict

from admin.auth import paging, principal
from admin.catalog import words
from admin.catalog.beside import beside, state_colour, state_name
from admin.ports import ports
from admin.site import forms
from admin.site.language import gettext
from admin.site.pages import View, go, page, shows
from keruta.domain.catalog.common import Wanted
from keruta.domain.catalog.kinds import KINDS, Kind
from keruta.domain.messages import Message, message
from keruta.errors import Conflict, Fault, Forbidden, InvalidRequest, NotFound, PreconditionFailed, Problem, fault
from keruta.ports.catalog import Catalog
from keruta.services import catalog as service

blueprint = flask.Blueprint("catalog_pages", __name__)
blueprint.record(lambda state: state.app.jinja_env.globals.update(words.GLOBALS))

NAMES_TO_PICK = 200
NO_FAULTS = forms.Told(beside={}, above=())


def names_of(kind: str) -> list[str]:
    """Return the names of a kind's entries that this person may read, as suggestions for a form's field."""
    items, _ = ports().catalogs[kind].page(principal(), Wanted(limit=NAMES_TO_PICK))
    return [item.name for item in items]


def managed_by_me(entry: Mapping[str, Any] | Any, kind: Kind) -> bool:
    """Return whether this person may change an entry."""
    mine = set(principal().names)
    return bool(principal().roles & kind.changers) and not mine.isdisjoint(kind.managers(entry))


def _pages(kind: Kind) -> dict[tuple[str, str, str], View]:
    wanted = forms.fields(kind.spec)

    def catalog() -> Catalog:
        return ports().catalogs[kind.name]

    def listed() -> flask.Response:
        query = flask.request.args
        search = query.get("q") or None
        wrong: Message | None = None
        try:
            items, after = catalog().page(
                principal(), Wanted(search=search, sort=query.get("sort", "name"), **paging())
            )
        except InvalidRequest as error:
            items, after, wrong = [], None, error.message
        return page("catalog/list.html", 422 if wrong else 200, kind=kind, items=items, next=after, wrong=wrong)

    def _form(
        values: Mapping[str, str], faults: Sequence[Fault] = (), *, entry: Any = None, revision: int = 0,
        wrong: str = "", status: int = 200,
    ) -> flask.Response:  # fmt: skip
        known = {path.removesuffix(".*"): names_of(of) for path, of in kind.names.items() if not path.endswith(".*")}
        told = forms.told(wanted, faults) if faults else NO_FAULTS
        return page(
            "catalog/entry.html", status, kind=kind, fields=wanted, values=values, told=told, known=known,
            entry=entry, revision=revision, wrong=wrong,
            changeable=managed_by_me(entry, kind) if entry is not None else True,
            beside=beside(kind.name, entry) if entry is not None and kind.name == "trigger" else None,
            state_name=state_name, state_colour=state_colour,
        )  # fmt: skip

    def new() -> flask.Response:
        return _form({})

    def create() -> flask.Response:
        form = flask.request.form
        spec, faults = forms.read(kind.spec, form)
        if spec is not None:
            try:
                made = service.create(principal(), spec, catalog=catalog())
                return go(f"/{kind.path}/{made.name}", f"created_{kind.name}", made.name)
            except InvalidRequest as error:
                faults = error.faults
            except Conflict as error:
                faults = error.faults or [fault("/name", message("catalog_name_taken"))]
            except Forbidden as error:
                faults = [fault("", error.message)]
        return _form(_typed(wanted, form), faults, status=422)

    def show(name: str) -> flask.Response:
        entry = catalog().show(principal(), name)
        return _form(
            forms.filled(wanted, msgspec.to_builtins(entry, enc_hook=str)), entry=entry, revision=entry.meta.revision
        )

    def change(name: str) -> flask.Response:
        form = flask.request.form
        entry = catalog().show(principal(), name)
        given = form.get("revision", "")
        revision = int(given) if given.isascii() and given.isdigit() and len(given) < 10 else 0
        spec, faults = forms.read(kind.spec, form)
        status, wrong = 422, ""
        if spec is not None:
            try:
                service.replace(principal(), name, spec, revision, catalog=catalog())
                return go(f"/{kind.path}/{name}", f"changed_{kind.name}", name)
            except PreconditionFailed as error:
                faults, status, revision = error.faults, 412, entry.meta.revision
                wrong = gettext(
                    "%(who)s changed this entry while you were editing. The current values are beside the fields, "
                    "and what you typed is kept. Send the form again to replace their change.",
                    who=entry.meta.updated_by,
                )
            except InvalidRequest as error:
                faults = error.faults
            except (Conflict, Forbidden) as error:
                faults = error.faults or [fault("", error.message)]
        return _form(_typed(wanted, form), faults, entry=entry, revision=revision, wrong=wrong, status=status)

    def delete(name: str) -> flask.Response:
        try:
            service.delete(principal(), name, None, force=False, catalog=catalog(), commands=ports().commands)
        except NotFound:
            pass
        except Conflict as error:
            return show_with(name, error)
        return go(f"/{kind.path}", f"deleted_{kind.name}", name)

    def show_with(name: str, problem: Problem) -> flask.Response:
        entry = catalog().show(principal(), name)
        values = forms.filled(wanted, msgspec.to_builtins(entry, enc_hook=str))
        faults = [fault("", problem.message), *problem.faults]
        wrong = gettext("%(name)s was not deleted.", name=name)
        return _form(values, faults, entry=entry, revision=entry.meta.revision, wrong=wrong, status=problem.status)

    one, many, path = kind.name, kind.collection, kind.path
    return {
        (f"list_{many}", f"/{path}", "GET"): listed,
        (f"create_{one}", f"/{path}/new", "GET"): new,
        (f"create_{one}", f"/{path}/new", "POST"): create,
        (f"show_{one}", f"/{path}/<name>", "GET"): show,
        (f"replace_{one}", f"/{path}/<name>", "POST"): change,
        (f"delete_{one}", f"/{path}/<name>/delete", "POST"): delete,
    }


def _typed(wanted: Sequence[forms.Field], form: MultiDict[str, str]) -> dict[str, str]:
    """Return the form's values as they were typed, without secrets."""
    found: dict[str, str] = {}
    for field in wanted:
        if field.kind != "secret":
            found[field.path] = form.get(field.path, "").replace("\r\n", "\n")
        found |= _typed(field.fields, form)
    return found


for _kind in KINDS.values():
    for (_route, _path, _method), _view in _pages(_kind).items():
        _view.__name__ = f"{_view.__name__}_{_kind.name}"
        shows(blueprint, _route, _path, _method)(_view)
