"""The page of the audit record."""

from __future__ import annotations

import flask

from admin.asking import paging
from admin.ports import ports
from admin.site.pages import page, shows

blueprint = flask.Blueprint("audit_pages", __name__)


@shows(blueprint, "list_audit", "/audit")
def audit() -> flask.Response:
    query = flask.request.args
    kind, of = query.get("kind") or None, query.get("of") or None
    found = ports().catalogs.audit.page(who=query.get("who") or None, kind=kind, of=of if kind else None, **paging())
    return page("audit/list.html", found=found)
