"""The page of the audit record, and all of it as a file."""

from __future__ import annotations

import flask

from admin.audit import words
from admin.audit.routes import wanted, whole
from admin.auth import paging
from admin.ports import ports
from admin.site.pages import page, shows

blueprint = flask.Blueprint("audit_pages", __name__)
blueprint.record(lambda state: state.app.jinja_env.globals.update(words.GLOBALS))


@shows(blueprint, "list_audit", "/audit")
def audit() -> flask.Response:
    return page("audit/list.html", found=ports().catalogs.audit.page(**wanted(), **paging()))


@shows(blueprint, "list_audit", "/audit/download")
def audit_download() -> flask.Response:
    answer = whole()
    answer.headers["Content-Disposition"] = "attachment; filename=keruta-audit.ndjson"
    answer.headers["Cache-Control"] = "no-store"
    return answer
