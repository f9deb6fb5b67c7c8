"""Search of the palette: tasks by their names and ids, and repositories, of those that a person may read."""

from __future__ import annotations

import flask

from admin.auth import principal
from admin.ports import ports
from admin.site.language import gettext
from admin.site.pages import shows
from admin.site.safe_text import visible
from admin.site.template_filters import STATUS_NAMES
from admin.tasks.query import TERM_LETTERS, TERMS
from admin.tasks.words import short_repository
from keruta.domain.catalog.common import Wanted
from keruta.domain.task_list import TaskFilter
from keruta.domain.words import terms
from keruta.http.answers import json_answer

blueprint = flask.Blueprint("tasks_palette", __name__)

TASKS_SHOWN, REPOSITORIES_SHOWN, REPOSITORIES_READ = 8, 5, 200


@shows(blueprint, "list_tasks", "/find")
def find() -> flask.Response:
    """Tasks are found by the indexes of the list's search; of the repositories, the first 200 are looked through."""
    words = flask.request.args.get("q", "").strip()[:200]
    wanted = [term[:TERM_LETTERS] for term in terms(words)[:TERMS]]
    if not wanted:
        return json_answer([])
    entries, _ = ports().catalogs["repository"].page(principal(), Wanted(limit=REPOSITORIES_READ))
    named = [entry.name for entry in entries if words.lower() in entry.name.lower()]
    found = ports().reading.page(principal(), TaskFilter(terms=wanted), limit=TASKS_SHOWN, cursor=None)
    return json_answer([
        *({"name": name, "href": f"/repositories/{name}/activity", "kind": gettext("Repository")}
          for name in named[:REPOSITORIES_SHOWN]),
        *({"name": visible(task.name or task.id), "href": f"/tasks/{task.id}",
           "kind": f"{gettext(STATUS_NAMES[task.status])} · {short_repository(task.repository)}"}
          for task in found.items),
    ])  # fmt: skip
