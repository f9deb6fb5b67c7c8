"""Badges: the picture for everyone who knows its address, and making and revoking one on a repository's page.

An id that is unknown, was revoked, or whose repository is gone is answered alike in every byte.
"""

from __future__ import annotations

import unicodedata

import flask
from markupsafe import Markup

from admin.auth import principal
from admin.catalog.pages import managed_by_me
from admin.ports import ports
from admin.site import forms
from admin.site.pages import go, shows, taken
from admin.site.safe_text import visible
from keruta.domain.badges import UNKNOWN, Badge, BadgeRequest, BadgeState
from keruta.domain.catalog.kinds import KINDS
from keruta.domain.messages import message
from keruta.errors import Forbidden, InvalidRequest

blueprint = flask.Blueprint("badges_pages", __name__)

CACHED_SECONDS = 60
_COLOURS = {"succeeded": "#116329", "failed": "#a40e26", "unknown": "#57606a"}
_LETTER, _ROOM, _HEIGHT = 6.6, 6, 20


@blueprint.get("/badges/<id>.svg", provide_automatic_options=False)
def badge(id: str) -> flask.Response:
    """Draw a badge, for anybody who has its address."""
    shown = ports().badges.shown(id)
    response = flask.Response(picture(shown), 404 if shown is UNKNOWN else 200, content_type="image/svg+xml")
    response.headers["Cache-Control"] = f"public, max-age={CACHED_SECONDS}"
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response


@shows(blueprint, "replace_repository", "/repositories/<name>/badges", "POST")
def make_badge(name: str) -> flask.Response:
    repository = _mine(name)
    wanted, faults = forms.read(BadgeRequest, flask.request.form)
    if wanted is None:
        raise InvalidRequest.of(faults)
    ports().badges.make(principal(), repository, wanted)
    return taken(go(f"/repositories/{repository}/activity#badges", "badge_made"))


@shows(blueprint, "replace_repository", "/repositories/<name>/badges/<id>/revoke", "POST")
def revoke_badge(name: str, id: str) -> flask.Response:
    repository = _mine(name)
    ports().badges.revoke(principal(), repository, id)
    return go(f"/repositories/{repository}/activity#badges", "badge_revoked")


def badges_of(repository: str) -> list[Badge]:
    return ports().badges.of(repository)


def _mine(name: str) -> str:
    """Return the name of a repository that this person may change. Raises NotFound, Forbidden."""
    entry = ports().catalogs["repository"].show(principal(), name)
    if not managed_by_me(entry, KINDS["repository"]):
        raise Forbidden(message("badge_not_yours"), reason="GrantMissing")
    return str(entry.name)


def picture(shown: BadgeState) -> Markup:
    """Draw a badge; its words are English, as those of other badges are."""
    label, state = visible(shown.label), shown.state
    left, right = _width(label), _width(state)
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" width="{whole:.0f}" height="{height}" role="img"'
        ' aria-label="{label}: {state}"><title>{label}: {state}</title>'
        '<rect width="{left:.0f}" height="{height}" fill="#24292f"/>'
        '<rect x="{left:.0f}" width="{right:.0f}" height="{height}" fill="{colour}"/>'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">'
        '<text x="{left_middle:.1f}" y="14">{label}</text><text x="{right_middle:.1f}" y="14">{state}</text></g></svg>'
    ).format(
        whole=left + right, height=_HEIGHT, label=label, state=state, left=left, right=right,
        colour=_COLOURS[state], left_middle=left / 2, right_middle=left + right / 2,
    )  # fmt: skip


def _width(text: str) -> float:
    letters = sum(2.0 if unicodedata.east_asian_width(letter) in "WF" else 1.0 for letter in text)
    return letters * _LETTER + 2 * _ROOM
