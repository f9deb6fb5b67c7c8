"""The audit record: in pages, or whole as NDJSON."""

from __future__ import annotations

from collections.abc import Iterator

import flask
import msgspec

from admin.auth import paging, present_principal, serves
from admin.ports import ports
from keruta.domain.audit import AuditEntry
from keruta.http.answers import json_answer, language_asked
from keruta.translations import in_language

blueprint = flask.Blueprint("audit", __name__)

NDJSON = "application/x-ndjson"
CHECK_EVERY = 1000  # entries between two looks at whether their reader may still read them


def wanted() -> dict[str, str | None]:
    """Return the audit record's filters from the query; None for an empty field, which does not filter."""
    query = flask.request.args
    return {name: query.get(name) or None for name in ("who", "kind", "of")}


def whole() -> flask.Response:
    """Every entry that is asked for, newest first, a line of JSON each, as it is read from the database."""
    return flask.Response(_lines(ports().catalogs.audit.everything(**wanted())), content_type=NDJSON)


def _lines(entries: Iterator[AuditEntry]) -> Iterator[bytes]:
    """Entries as lines, as long as who asks may read them."""
    reader = present_principal("list_audit")
    language = language_asked()

    def lines() -> Iterator[bytes]:
        for number, entry in enumerate(entries):
            if number % CHECK_EVERY == 0 and reader() is None:
                return
            yield msgspec.json.encode(in_language(entry, language)) + b"\n"

    return lines()


@serves(blueprint, "list_audit")
def list_audit() -> flask.Response:
    if flask.request.accept_mimetypes.best_match(["application/json", NDJSON]) == NDJSON:
        return whole()
    return json_answer(ports().catalogs.audit.page(**wanted(), **paging()))
