"""Badges: pictures for everyone who knows their random address, which tell a label and a state and nothing else."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import flask
import pytest

from keruta.adapters.mongo.badges import MongoBadges
from keruta.domain.badges import BADGE_ID, BADGES_OF_ONE, BadgeRequest
from keruta.domain.catalog.access import Access
from keruta.domain.catalog.repositories import RepositorySpec
from tests.support.admin import Browser, signed_in
from tests.support.world import ANN, World, person

URL = "https://example.com/app.git"
MANAGED = Access(read=["name:eve"], run=["name:ann"], manage=["name:ann"])


@pytest.fixture
def ann(app: flask.Flask, world: World) -> Browser:
    world.catalogs["repository"].create(ANN, RepositorySpec(name="app", url=URL, access=MANAGED))
    return signed_in(app, ANN)


def make(reader: Browser, **fields: str) -> str:
    """Make a badge; return its id."""
    status, _ = reader.ask("POST", "/repositories/app/badges", fields)
    assert status == 303
    return re.findall(r"/badges/([A-Za-z0-9_-]+)\.svg", reader.ask("GET", "/repositories/app/activity")[1])[-1]


def ran(world: World, status: str, **fields: str) -> None:
    world.worker(slots=9)
    task = world.submit(**{"url": URL, "name": "tests", **fields})
    world.assign()
    world.start(task)
    world.end(task, status=status, **({"reason": "ScriptFailed", "exit_code": 1} if status == "failed" else {}))


def shown(app: flask.Flask, identity: str) -> tuple[int, str]:
    """What somebody who is not signed in sees; each time by a process of its own."""
    badges = app.extensions["keruta"]().badges
    badges._remembered.clear()
    answer = app.test_client().get(f"/badges/{identity}.svg")
    return answer.status_code, answer.text


def test_a_badge_shows_how_the_last_task_ended_to_whoever_has_its_address(
    world: World, app: flask.Flask, ann: Browser
) -> None:
    badge = make(ann, label="build")
    assert "build: unknown" in shown(app, badge)[1]
    ran(world, "succeeded")
    assert "build: succeeded" in shown(app, badge)[1]
    ran(world, "failed")
    world.submit(url=URL, name="one that has not ended")
    status, picture = shown(app, badge)

    assert (status, "build: failed" in picture) == (200, True)
    for word in ("app", "ann", "tests", "example.com"):
        assert word not in picture


def test_a_badge_of_some_tasks_shows_those_of_that_name(world: World, app: flask.Flask, ann: Browser) -> None:
    badge = make(ann, task="nightly")
    ran(world, "succeeded", name="nightly")
    ran(world, "failed", name="other")

    assert "app: succeeded" in shown(app, badge)[1]


def test_an_id_is_random(ann: Browser) -> None:
    for _ in range(5):
        make(ann)
    page = ann.ask("GET", "/repositories/app/activity")[1]
    found = set(re.findall(r"/badges/([A-Za-z0-9_-]+)\.svg", page))

    assert len(found) == 5
    assert all(BADGE_ID.fullmatch(one) for one in found)


def test_what_shows_nothing_is_answered_alike(world: World, app: flask.Flask, ann: Browser) -> None:
    """Never made, revoked, of a deleted repository, of one made anew with its name, and no id at all."""
    make(ann)
    make(ann, label="two")
    ids = re.findall(r"/badges/([A-Za-z0-9_-]+)\.svg\"", ann.ask("GET", "/repositories/app/activity")[1])
    revoked, kept = ids[0], ids[1]
    assert ann.ask("POST", f"/repositories/app/badges/{revoked}/revoke")[0] == 303

    def answer(identity: str) -> tuple[int, bytes, list[tuple[str, str]]]:
        app.extensions["keruta"]().badges._remembered.clear()
        said = app.test_client().get(f"/badges/{identity}.svg")
        return said.status_code, said.data, [one for one in said.headers if one[0] not in ("X-Request-Id", "Date")]

    nothing = answer("A" * 32)
    assert nothing[0] == 404
    assert answer(revoked) == nothing
    assert answer("x") == nothing
    assert answer("$where") == nothing
    assert answer(kept)[0] == 200
    world.catalogs["repository"].delete(ANN, "app", None, force=True)
    assert answer(kept) == nothing
    world.catalogs["repository"].create(ANN, RepositorySpec(name="app", url=URL))
    assert answer(kept) == nothing


def test_only_who_may_change_a_repository_makes_lists_and_revokes_its_badges(
    world: World, app: flask.Flask, ann: Browser
) -> None:
    badge = make(ann)
    reader, stranger = signed_in(app, person("eve", "developer")), signed_in(app, person("mallory", "developer"))

    assert reader.ask("POST", "/repositories/app/badges", {})[0] == 403
    assert reader.ask("POST", f"/repositories/app/badges/{badge}/revoke")[0] == 403
    assert badge not in reader.ask("GET", "/repositories/app/activity")[1]
    assert stranger.ask("POST", "/repositories/app/badges", {})[0] == 404
    assert shown(app, badge)[0] == 200


def test_a_badge_of_another_repository_is_not_revoked(world: World, app: flask.Flask, ann: Browser) -> None:
    world.catalogs["repository"].create(ANN, RepositorySpec(name="mine", url="https://example.com/mine.git"))
    badge = make(ann)

    assert ann.ask("POST", f"/repositories/mine/badges/{badge}/revoke")[0] == 404
    assert shown(app, badge)[0] == 200


@pytest.mark.parametrize(
    "label", ["<script>alert(1)</script>", '"><svg onload=x>', "日本語のビルド", "\u202egnp", "&amp;"]
)
def test_a_label_is_text(app: flask.Flask, ann: Browser, label: str) -> None:
    _, picture = shown(app, make(ann, label=label))

    root = ElementTree.fromstring(picture)
    assert {one.tag.rpartition("}")[2] for one in root.iter()} == {"svg", "title", "rect", "g", "text"}
    assert "\u202e" not in picture
    assert not [name for one in root.iter() for name in one.attrib if name.startswith("on")]


def test_a_badge_runs_nothing_and_is_kept_for_a_minute(app: flask.Flask, ann: Browser) -> None:
    answer = app.test_client().get(f"/badges/{make(ann)}.svg")

    assert answer.headers["Content-Type"].startswith("image/svg+xml")
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert answer.headers["Cache-Control"] == "public, max-age=60"
    assert "Set-Cookie" not in answer.headers


def test_badges_of_a_repository_are_bounded(world: World, ann: Browser) -> None:
    for number in range(BADGES_OF_ONE):
        assert ann.ask("POST", "/repositories/app/badges", {"label": f"b{number}"})[0] == 303

    assert ann.ask("POST", "/repositories/app/badges", {"label": "one more"})[0] == 409
    assert ann.ask("POST", "/repositories/app/badges", {"label": "x" * 41})[0] == 422


def test_a_badge_is_read_again_after_ten_seconds(world: World, ann: Browser) -> None:
    """Also an id that shows nothing, so that asking costs the database little."""
    now = [0.0]
    badges = MongoBadges(world.database, clock=lambda: now[0])
    badge = badges.make(ANN, "app", BadgeRequest(label="x")).id
    assert badges.shown(badge).state == "unknown"
    ran(world, "failed")
    assert badges.shown(badge).state == "unknown"
    now[0] = 11.0
    assert badges.shown(badge).state == "failed"
