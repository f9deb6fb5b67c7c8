"""Forms of the web admin lose nothing that was typed and say when it was taken; lists, marks, the palette."""

from __future__ import annotations

import json
from typing import Any

import flask
import pytest

from tests.support.admin import Browser, signed_in
from tests.support.world import ANN, World

DRAFT = "0123456789abcdef0123"
FORM = {"repository": "https://example.com/a.git", "script": "echo typed", "queue": "default", "draft_id": DRAFT}
SAME = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def ann(app: flask.Flask, world: World) -> Browser:
    return signed_in(app, ANN)


def sent(browser: Browser, path: str, form: dict[str, Any], **headers: str) -> Any:
    return browser.client.post(path, data=form, headers={"X-Form-Token": browser.form_token, **headers})


def taken(answer: Any) -> list[str]:
    return [cookie for cookie in answer.headers.getlist("Set-Cookie") if cookie.startswith("keruta-taken=")]


def test_a_form_that_was_taken_names_its_draft(ann: Browser) -> None:
    answer = sent(ann, "/tasks/new", FORM)

    assert answer.status_code == 303
    assert taken(answer)[0].startswith(f"keruta-taken={DRAFT};")


def test_a_form_with_faults_keeps_its_draft(ann: Browser) -> None:
    """It comes back with the draft's identity, so that more of it goes to the same draft."""
    answer = sent(ann, "/tasks/new", {**FORM, "priority": "many"})

    assert answer.status_code == 422
    assert taken(answer) == []
    assert f'name="draft_id" value="{DRAFT}"' in answer.text


def test_a_drafts_identity_that_no_page_made_is_not_repeated(ann: Browser) -> None:
    answer = sent(ann, "/tasks/new", {**FORM, "draft_id": "x; Path=/evil"})

    assert answer.status_code == 303
    assert taken(answer) == []


def test_a_form_of_someone_signed_out_shows_what_was_typed(app: flask.Flask, world: World) -> None:
    """But for secrets; with the way back to the form's own page."""
    form = {"name": "a", "description": "long <b>text</b>", "token": "s3cret", "form_token": "00"}
    answer = app.test_client().post(
        "/credentials/new", data=form, headers={**SAME, "Referer": "http://localhost/credentials/new?x=1"}
    )

    assert answer.status_code == 401
    assert "long &lt;b&gt;text&lt;/b&gt;" in answer.text
    assert "s3cret" not in answer.text
    assert "/auth/sign-in?next=/credentials/new%3Fx%3D1" in answer.text
    assert taken(answer) == []


@pytest.mark.parametrize("site", ["cross-site", "same-site", None])
def test_a_form_of_another_site_is_not_repeated(app: flask.Flask, world: World, site: str | None) -> None:
    headers = {"Referer": "https://evil.example/x"} | ({"Sec-Fetch-Site": site} if site else {})
    answer = app.test_client().post("/tasks/new", data={"script": "call this number"}, headers=headers)

    assert answer.status_code == 401
    assert "call this number" not in answer.text
    assert "evil" not in answer.text


def test_a_page_learns_before_it_sends_a_form_who_is_signed_in(app: flask.Flask, ann: Browser) -> None:
    """With a form token that is good now: the page may be older than the sign-in."""
    told = ann.client.get("/auth/session", headers=SAME).get_json()

    assert (told["me"], told["name"]) == (ANN.subject, ANN.name)
    answer = ann.client.post("/tasks/new", data={**FORM, "form_token": told["token"]})
    assert answer.status_code == 303
    assert ann.client.get("/auth/session", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 401
    assert app.test_client().get("/auth/session").status_code == 401


def test_all_that_match_the_filter_are_cancelled_at_once(world: World, ann: Browser) -> None:
    """Also those that are on other pages; no others."""
    labelled = [world.submit(labels={"team": "blue"}) for _ in range(60)]
    other = world.submit(labels={"team": "red"})

    answer = sent(ann, "/tasks/many?label=team%3Dblue", {"do": "cancel", "all": "1", "task": labelled[0]})

    assert answer.status_code == 303
    assert {world.task(one).status for one in labelled} == {"cancelled"}
    assert world.task(other).status == "queued"


def test_the_palette_finds_tasks_by_words_of_their_names(world: World, app: flask.Flask) -> None:
    mine = world.submit(name="Nightly <b>build</b>")

    status, text = signed_in(app, ANN).ask("GET", "/find?q=nightly")
    assert status == 200
    assert [(one["href"], one["name"]) for one in json.loads(text)] == [(f"/tasks/{mine}", "Nightly <b>build</b>")]
    assert json.loads(signed_in(app, ANN).ask("GET", "/find?q=...")[1]) == []


def test_a_tasks_title_and_icon_show_its_state(world: World, ann: Browser) -> None:
    task = world.submit(name="build")
    queued = ann.ask("GET", f"/tasks/{task}")[1]
    world.worker()
    world.assign()
    world.start(task)
    world.end(task, status="failed", reason="ScriptFailed", exit_code=1)
    failed = ann.ask("GET", f"/tasks/{task}")[1]

    assert "<title>◌ build · keruta</title>" in queued
    assert "/state-quiet.svg" in queued
    assert "<title>✕ build · keruta</title>" in failed
    assert "/state-bad.svg" in failed


def test_help_beside_a_prompt_says_what_is_asked_of_it(app: flask.Flask, world: World) -> None:
    """Of a profile it is a command line, elsewhere the text for the coding agent."""
    ann = signed_in(app, ANN)
    command, text = "becomes the prompt", "What the coding agent is to do."

    profile = ann.ask("GET", "/profiles/new")[1]
    assert (command in profile, text in profile) == (True, False)
    for path in ("/templates/new", "/triggers/new", "/tasks/new"):
        page = ann.ask("GET", path)[1]
        assert (command in page, text in page) == (False, True), path
