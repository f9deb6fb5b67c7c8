"""Signing in to the web admin at the real Keycloak, in a real browser; and all that must not work."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3
from playwright.sync_api import Browser

from tests.support.browser import Reader, running_browser
from tests.support.keycloak import PASSWORD, Keycloak
from tests.support.system import RunningSystem, eventually

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def known_to_keycloak(keycloak: Keycloak, system: RunningSystem) -> None:
    """The client's addresses are those of this run."""
    client = keycloak.admin("GET", "/clients?clientId=keruta-admin")[0]
    text = json.dumps(client).replace("http://127.0.0.1:1", system.running.url)
    keycloak.admin("PUT", f"/clients/{client['id']}", json.loads(text))


@pytest.fixture
def reader(browser: Browser, system: RunningSystem) -> Iterator[Reader]:
    made = Reader(browser, system.running.url)
    yield made
    assert made.faults == []
    made.close()


def sign_in(reader: Reader, name: str, wanted: str = "/tasks") -> None:
    reader.open(f"/auth/sign-in?next={wanted}")
    reader.page.click("a[href^='/auth/start']")
    type_password(reader, name)
    reader.page.wait_for_selector("nav.places")


def type_password(reader: Reader, name: str) -> None:
    reader.page.fill("#username", name)
    reader.page.fill("#password", PASSWORD)
    reader.page.click("#kc-login")


def session_cookie(reader: Reader) -> Any:
    return next(one for one in reader.context.cookies() if one["name"].endswith("keruta-session"))


def test_someone_signs_in_works_on_past_their_tokens_end_and_signs_out_everywhere(
    reader: Reader, system: RunningSystem, keycloak: Keycloak
) -> None:
    """Tokens live for six seconds here: a page after eight is one that was renewed for."""
    sign_in(reader, "dev", "/tasks?queue=default")
    assert reader.page.url == f"{system.running.url}/tasks?queue=default"
    assert "dev@example.com" in (reader.page.text_content(".who .panel") or "")
    cookie = session_cookie(reader)
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")

    for _ in range(3):
        time.sleep(4)
        reader.open("/tasks")
        assert reader.page.locator("nav.places").count() == 1

    reader.page.click("details.who summary")
    reader.page.click("form[action='/auth/sign-out'] button")
    reader.page.wait_for_url("**/auth/sign-in")
    person = keycloak.admin("GET", "/users?username=dev&exact=true")[0]["id"]
    left = keycloak.admin("GET", f"/users/{person}/sessions")
    assert not [one for one in left if "keruta-admin" in one["clients"].values()]
    reader.context.add_cookies([cookie])
    reader.open("/tasks")
    assert "/auth/sign-in" in reader.page.url, "the old cookie opens nothing"
    reader.page.click("a[href^='/auth/start']")
    reader.page.wait_for_selector("#password")  # Keycloak has forgotten them, too


def test_a_sign_out_at_keycloak_is_one_here(reader: Reader, keycloak: Keycloak) -> None:
    """By back-channel logout, when an administrator ends the sign-in, or the person does so in another program."""
    sign_in(reader, "dana")
    person = keycloak.admin("GET", "/users?username=dana&exact=true")[0]["id"]

    keycloak.admin("POST", f"/users/{person}/logout")

    def out() -> bool:
        reader.open("/tasks")
        return "/auth/sign-in" in reader.page.url

    eventually(out, 5, "the sign-out")


def test_roles_count_on_pages(reader: Reader, browser: Browser, system: RunningSystem, repository: str) -> None:
    sign_in(reader, "vera")
    assert reader.page.locator("a[href='/tasks/new']").count() == 0
    form = reader.page.get_attribute("form[action='/auth/sign-out'] input[name=form_token]", "value")
    answer = reader.page.request.post(
        f"{system.running.url}/tasks/many", form={"form_token": form or "", "do": "cancel"}, max_redirects=0
    )
    assert answer.status == 403
    other = Reader(browser, system.running.url)
    sign_in(other, "dev")
    assert other.page.request.get(f"{system.running.url}/api/v1/users").status == 403
    assert other.page.request.get(f"{system.running.url}/api/v1/me").json()["name"] == "dev"
    other.close()


def test_someone_who_is_disabled_sees_no_page_any_more(
    reader: Reader, browser: Browser, system: RunningSystem, keycloak: Keycloak
) -> None:
    sign_in(reader, "dana")
    subject = reader.page.request.get(f"{system.running.url}/api/v1/me").json()["subject"]
    pool = urllib3.PoolManager()
    headers = {"Authorization": f"Bearer {keycloak.token('ada')}"}

    pool.request("POST", f"{system.running.url}/api/v1/users/{subject}/disable", headers=headers)
    try:
        reader.open("/tasks")
        said = reader.page.inner_text("main")
    finally:
        headers = {"Authorization": f"Bearer {keycloak.token('ada')}"}
        pool.request("POST", f"{system.running.url}/api/v1/users/{subject}/enable", headers=headers)

    assert "disabled" in said


@pytest.mark.parametrize("wanted", ["//evil.example", "https://evil.example", "/\\evil.example", "/%0d%0aX: y"])
def test_nobody_is_sent_elsewhere_after_signing_in(reader: Reader, system: RunningSystem, wanted: str) -> None:
    sign_in(reader, "dev", wanted)

    assert reader.page.url.startswith(f"{system.running.url}/")


def test_a_session_that_was_planted_is_not_the_one_that_is_signed_in(reader: Reader, system: RunningSystem) -> None:
    planted = "A" * 43
    reader.context.add_cookies([{"name": "keruta-session", "value": planted, "url": system.running.url}])

    sign_in(reader, "dev")

    assert session_cookie(reader)["value"] != planted


def test_a_code_counts_in_the_browser_that_asked_for_it_alone_and_once(
    reader: Reader, browser: Browser, system: RunningSystem
) -> None:
    """So that nobody is signed in as somebody else by a link (login CSRF)."""
    reader.open("/auth/start")
    action = reader.page.get_attribute("#kc-form-login", "action") or ""
    form = {"username": "dev", "password": PASSWORD}
    way_back = reader.page.request.post(action, form=form, max_redirects=0).headers["location"]
    victim = Reader(browser, system.running.url)

    victim.page.goto(way_back)
    assert "not begun in this browser" in victim.page.inner_text("main")
    reader.page.goto(way_back)
    assert reader.page.locator("nav.places").count() == 1
    reader.page.goto(way_back)
    assert "not begun in this browser" in reader.page.inner_text("main")
    victim.close()


def test_a_form_from_elsewhere_changes_nothing(
    reader: Reader, browser: Browser, system: RunningSystem, repository: str, keycloak: Keycloak
) -> None:
    """Neither from another site, nor with another person's form token."""
    sign_in(reader, "dev")
    other = Reader(browser, system.running.url)
    sign_in(other, "ada")
    theirs = other.page.get_attribute("form[action='/auth/sign-out'] input[name=form_token]", "value") or ""
    other.close()
    for token in ("", "00" * 48, theirs):
        answer = reader.page.request.post(f"{system.running.url}/auth/sign-out", form={"form_token": token})
        assert answer.status == 403
    reader.page.route(
        "http://evil.localhost/**",
        lambda route: route.fulfill(
            content_type="text/html",
            body=f"<form method=post action='{system.running.url}/auth/sign-out'><button>Win</button></form>",
        ),
    )
    reader.page.goto("http://evil.localhost/")
    reader.page.click("button")
    reader.page.wait_for_load_state()
    reader.open("/tasks")
    assert reader.page.locator("nav.places").count() == 1


def test_every_page_is_guarded(reader: Reader, system: RunningSystem) -> None:
    sign_in(reader, "ada")
    paths = ["/auth/sign-in", "/tasks", "/nowhere"] + [
        str(link.get_attribute("href")) for link in reader.page.locator("nav.places a").all()
    ]
    for path in paths:
        answer = reader.page.request.get(system.running.url + path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy, path
        assert "unsafe" not in policy, path
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert answer.headers["x-frame-options"] == "DENY", path
        assert answer.headers["cache-control"] == "no-store" or path == "/", path
        assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>|\son[a-z]+=|style=", answer.text()), path


def test_no_token_lies_in_the_database_or_the_logs_after_signing_in(reader: Reader, system: RunningSystem) -> None:
    sign_in(reader, "dev")
    cookie = session_cookie(reader)["value"]
    places = {path.name: path.read_text(errors="replace") for path in (system.state.root / "log").iterdir()}
    with system.database_client() as client:
        for name in client["keruta"].list_collection_names():
            places[f"collection {name}"] = json.dumps(list(client["keruta"][name].find()), default=str)

    assert "collection sessions" in places
    assert not [name for name, text in places.items() if re.search(r"eyJ[A-Za-z0-9_-]{10,}\.eyJ", text)]
    assert not [name for name, text in places.items() if cookie in text or "adm1n-s3cret" in text]


def test_while_keycloak_is_away_the_sign_in_page_says_so_and_those_who_are_in_read_on(
    reader: Reader, browser: Browser, system: RunningSystem, keycloak: Keycloak
) -> None:
    sign_in(reader, "dev")
    reader.open("/tasks")
    keycloak.freeze()
    try:
        time.sleep(8)  # the token has run out
        until = time.monotonic() + 60
        while time.monotonic() < until:
            reader.open("/tasks")
            if reader.page.locator("main .alert-warning:visible").count():
                break
            time.sleep(1)
        assert "can't be reached" in reader.page.inner_text("main .alert-warning:visible")
        other = Reader(browser, system.running.url)
        other.open("/auth/sign-in")
        assert "can't be reached since" in other.page.inner_text("main")
        other.close()
    finally:
        keycloak.thaw()

    def back() -> bool:
        reader.open("/tasks")
        warned = reader.page.locator(".alert-warning:visible").count()
        return reader.page.locator("nav.places").count() == 1 and not warned

    eventually(back, 60, "its return", pause=1.0)  # as people reload: not faster
