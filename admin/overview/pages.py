"""The first page: what goes on, how it went, and what to do about what is wrong."""

from __future__ import annotations

import flask

from admin.auth import principal
from admin.overview.charts import bars, line
from admin.ports import ports
from admin.site.language import gettext, marked
from admin.site.pages import page, shows
from admin.site.time_zone import zone
from keruta.domain.lifecycle import OPEN, Status
from keruta.domain.overview import Trouble

blueprint = flask.Blueprint("overview_pages", __name__)

# What it is, what to do, and where.
_TROUBLES = {
    "circuit_open": (marked("%(of)s failed several times in a row; its tasks wait."),
                     marked("Correct the cause, then choose “It works again”."), ""),
    "dead_letters": (marked("%(count)s events could not be delivered."),
                     marked("Read the messages and send them again."), "/dead-letters"),
    "pool": (marked("The pool of workers can't be sized."), marked("Show this message to an operator."), "/workers"),
    "worker_lost": (marked("The worker %(of)s has not reported for too long."),
                    marked("Its tasks are retried by their retry policies; find out why the worker is gone."),
                    "/workers"),
    "no_worker": (marked("No worker accepts tasks."), marked("Start a worker, or resume one."), "/workers"),
    "provider_away": (marked("The identity provider can't be reached."),
                      marked("Signed-in users can continue; signing in works again when the provider is back."), ""),
}  # fmt: skip
_CIRCUIT_PAGES = {"repository": "/repositories/", "profile": "/profiles/", "queue": "/queues/"}


@shows(blueprint, "overview", "/")
def first() -> flask.Response:
    found = ports().overview.of(principal(), zone())
    troubles = list(found.troubles)
    if ports().verifier.issuer_away_since is not None:
        troubles.insert(0, Trouble(kind="provider_away"))
    part = flask.request.headers.get("X-Part") == "overview"
    return page(
        "overview/now.html" if part else "overview/first.html", found=found, troubles=troubles,
        statuses=[str(status) for status in Status if status in OPEN], bars=bars, line=line,
    )  # fmt: skip


def trouble_said(trouble: Trouble) -> str:
    return gettext(_TROUBLES[trouble.kind][0], of=trouble.of, count=trouble.count)


def trouble_advice(trouble: Trouble) -> str:
    return gettext(_TROUBLES[trouble.kind][1])


def trouble_address(trouble: Trouble) -> str:
    kind, _, name = trouble.of.partition(" ")
    if trouble.kind == "circuit_open" and "/" not in name:
        return _CIRCUIT_PAGES[kind] + name
    return _TROUBLES[trouble.kind][2]


blueprint.record(
    lambda state: state.app.jinja_env.globals.update(
        trouble_said=trouble_said, trouble_advice=trouble_advice, trouble_address=trouble_address
    )
)
