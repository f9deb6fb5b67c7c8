"""Each page's main job, done by a person in a real browser on a real system."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from keruta.domain.messages import CATALOGUE
from tests.support.browser import Reader, reading
from tests.support.repositories import make_repository
from tests.support.system import RunningSystem, eventually

pytestmark = pytest.mark.timeout(180)
CHANGED = (
    "%(who)s changed this entry while you were editing. The current values are beside the fields, and what you typed "
    "is kept. Send the form again to replace their change."
)


def new_task(reader: Reader, repository: str, script: str, **more: str) -> str:
    """By the form; returns the task's identity."""
    page = reader.open("/tasks/new")
    page.fill("[name=repository]", repository)
    page.fill("[name=script]", script)
    for name, value in more.items():
        field = page.locator(f"[name='{name}']")
        if not field.is_visible():
            field.evaluate(
                "one => { for (let at = one; at; at = at.parentElement) if (at.tagName == 'DETAILS') at.open = true }"
            )
        field.fill(value)
    page.click("form.sheet button.btn-primary")
    page.wait_for_url(re.compile(r"/tasks/[0-9a-z]{26}$"))
    return page.url.rpartition("/")[2]


@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_task_is_made_watched_live_to_its_end_and_its_file_is_fetched(
    browser: Browser, system: RunningSystem, repository: str, language: str
) -> None:
    with reading(browser, system, language=language) as reader:
        script = "\n".join(
            [
                "echo one; sleep 1",
                "printf '\\033[31mred\\033[0m\\n'",
                "echo kept > $KERUTA_ARTIFACTS/a.txt",
                "sleep 1; echo last",
            ]
        )
        new_task(reader, repository, script, name="watched", check="test -f $KERUTA_ARTIFACTS/a.txt")
        page = reader.page

        page.wait_for_selector(".log-rows .l:has-text('one')")
        page.wait_for_selector(".log-rows .f1:has-text('red')")
        page.wait_for_selector(".log-rows .l:has-text('last')")
        page.wait_for_selector("#now [data-status=succeeded]")
        page.reload()
        with page.expect_download() as fetched:
            page.click("a[href$='/artifacts/a.txt']")
        assert fetched.value.path().read_text() == "kept\n"
        page.click("a[href$='/files/a.txt']")
        assert page.inner_text("pre.asked").strip() == "kept"
        assert page.get_attribute("html", "lang") == language


def test_faults_stand_beside_their_fields_and_nothing_is_lost(reader: Reader, repository: str) -> None:
    page = reader.open("/tasks/new")
    page.fill("[name=repository]", repository)
    page.fill("[name=script]", "echo typed")
    page.locator("details:has([name=priority])").last.evaluate("(one) => { one.open = true; }")
    page.fill("[name=priority]", "many")
    page.fill("[name=env]", "KERUTA_X=1\nGOOD=2")
    page.click("form.sheet button.btn-primary")

    assert reader.words("This is not a number.") in page.inner_text(".field:has(#f-priority) .wrong")
    assert page.input_value("[name=script]") == "echo typed"
    assert page.input_value("[name=env]") == "KERUTA_X=1\nGOOD=2"
    page.fill("[name=priority]", "")
    page.click("form.sheet button.btn-primary")
    reserved = reader.words("Names that begin with KERUTA_ are reserved for keruta.")
    assert reserved in page.inner_text(".field:has(#f-env) .wrong")


def test_a_draft_is_kept_until_it_is_sent(reader: Reader, repository: str) -> None:
    reader.open("/tasks/new").fill("[name=script]", "echo draft")
    assert reader.open("/tasks/new").input_value("[name=script]") == "echo draft"
    reader.page.fill("[name=repository]", repository)
    reader.page.click("form.sheet button.btn-primary")
    reader.page.wait_for_selector("#now")
    assert reader.open("/tasks/new").input_value("[name=script]") == ""


def test_again_like_this_has_all_that_was_asked_for(reader: Reader, repository: str) -> None:
    asked = {"name": "first of all", "env": "A=1\nB=two words", "labels": "team=blue", "priority": "7"}
    new_task(reader, repository, "echo like\necho this", **asked)
    reader.page.click("a[href^='/tasks/new?like=']")

    for name, value in {**asked, "script": "echo like\necho this", "repository": repository}.items():
        assert reader.page.input_value(f"[name='{name}']") == value, name


def test_a_task_that_asks_is_answered_and_another_is_cancelled(
    reader: Reader, system: RunningSystem, repository: str
) -> None:
    asking = new_task(reader, repository, 'read answer; echo "got $answer"')
    reader.page.wait_for_selector("#now [data-status=running], #now [data-status=waiting]")
    reader.open(f"/tasks/{asking}").fill("#text", "forty-two")
    with reader.page.expect_navigation():
        reader.page.click("form.answer button")
    assert system.ended(asking).status == "succeeded"
    assert "got forty-two" in system.text(asking)
    long = new_task(reader, repository, "sleep 100")
    reader.page.wait_for_selector("#now [data-status=running]")
    reader.page.click("form[action$='/cancel'] button")
    assert system.ended(long).status == "cancelled"


def test_the_list_is_filtered_by_its_address_and_many_are_cancelled_at_once(
    reader: Reader, system: RunningSystem, repository: str
) -> None:
    queue = f"many-{reader.language}"
    system.client.create("queue", {"name": queue, "max_running": 0})
    ids = [system.submit(repository, "true", queue=queue, name=f"one of many {reader.language} {n}") for n in range(3)]
    page = reader.open(f"/tasks?queue={queue}&status=queued")
    assert page.locator("table.tasks tbody tr").count() == 3
    for box in page.locator("[name=task]").all():
        box.check()
    page.click(".many button[value=cancel]")
    page.wait_for_selector("main .alert-success")

    assert {system.ended(one).status for one in ids} == {"cancelled"}
    assert reader.open(f"/tasks?queue={queue}&status=queued").locator("table.tasks").count() == 0
    assert reader.open(f"/tasks?q=many+{reader.language}").locator("table.tasks tbody tr").count() == 3


def test_two_people_change_one_repository_and_the_second_is_told(
    browser: Browser, system: RunningSystem, reader: Reader, tmp_path: Path
) -> None:
    both = f"both-{reader.language}"
    make_repository(tmp_path / "own.git")  # an address is one entry's
    page = reader.open("/repositories/new")
    page.fill("[name=name]", both)
    page.fill("[name=url]", (tmp_path / "own.git").as_uri())
    page.click("form.sheet button.btn-primary")
    page.wait_for_url(f"**/repositories/{both}")
    with reading(browser, system, language=reader.language) as other:
        theirs = other.open(f"/repositories/{both}")
        page.fill("[name=description]", "mine")
        page.click("form.sheet button.btn-primary")
        page.wait_for_selector(".alert-success")
        theirs.fill("[name=description]", "theirs")
        theirs.click("form.sheet button.btn-primary")

        expect(theirs.locator("main .alert-danger").first).to_contain_text(other.words(CHANGED, who="me"))
        assert theirs.input_value("[name=description]") == "theirs"
        assert "mine" in theirs.inner_text(".field:has(#f-description) .wrong")
        assert system.client.entry("repository", both).description == "mine"
        theirs.click("form.sheet button.btn-primary")
        theirs.wait_for_selector(".alert-success")
        assert system.client.entry("repository", both).description == "theirs"
    page = reader.open(f"/repositories/{both}")
    page.click("form[action$='/validate'] button")
    told = reader.words("The server answers and accepts the credentials.")
    expect(page.locator("main .alert-success")).to_contain_text(told)
    reader.open("/tasks/new").fill("[name=repository]", both)
    reader.page.focus("[name=ref]")
    eventually(lambda: reader.page.locator("#f-ref-known option[value=main]").count(), 10, "the branches")


def test_every_kind_is_added_changed_and_deleted(reader: Reader, system: RunningSystem) -> None:
    typed = {
        "profiles": {"name": "p-one", "description": "a profile", "env": "A=1"},
        "queues": {"name": "q-one", "weight": "2.5", "max_running": "3"},
        "documents": {"name": "d-one", "title": "A title", "text": "# Head\n\n<script>x</script> **bold**"},
    }
    for kind, fields in typed.items():
        page = reader.open(f"/{kind}")
        page.click(f"a[href='/{kind}/new']")
        for name, value in fields.items():
            page.fill(f"[name={name}]", value)
        page.click("form.sheet button.btn-primary")
        page.wait_for_url(f"**/{kind}/{fields['name']}")
        for name, value in fields.items():
            assert page.input_value(f"[name={name}]") == value
    page = reader.open("/documents/d-one")
    assert page.inner_text(".markdown h1") == "Head"
    assert "<script>" in page.inner_text(".markdown")
    page.fill("[name=text]", "# Head\n\nother")
    with page.expect_navigation():  # to the same address, with the new version
        page.click("form.sheet button.btn-primary")
    page.click("a[href$='/versions']")
    assert page.locator(".dplus:has-text('other')").count() == 1
    page = reader.open("/queues/q-one")
    page.fill("#why", "for the night")
    page.click("form[action$='/pause'] button")
    expect(page.locator("main .alert-warning")).to_contain_text("for the night")
    page.click("form[action$='/resume'] button")
    for kind, fields in typed.items():
        page = reader.open(f"/{kind}/{fields['name']}")
        page.click("details:has(form[action$='/delete']) summary")
        page.click("form[action$='/delete'] button")
        page.wait_for_url(f"**/{kind}")
        assert page.locator(f"a[href='/{kind}/{fields['name']}']").count() == 0


def test_a_document_is_read_while_it_is_written(reader: Reader) -> None:
    page = reader.open("/documents/new")
    assert not page.is_visible("#reading")
    page.fill("[name=text]", "# First\n\n<script>x</script>")
    page.click("button[data-preview]")
    page.wait_for_selector("#reading h1:has-text('First')")
    assert "<script>x</script>" in page.inner_text("#reading")

    page.fill("[name=text]", "## Second")

    page.wait_for_selector("#reading h2:has-text('Second')")
    assert page.url.endswith("/documents/new")
    assert reader.words("Preview") in page.inner_text("#reading")


def test_a_credential_goes_in_and_never_comes_out(reader: Reader, system: RunningSystem) -> None:
    name = f"c-{reader.language}"
    page = reader.open("/credentials/new")
    page.fill("[name=name]", name)
    page.select_option("[name=type]", "secret")
    page.fill("[name=value]", "hush-hush-hush")
    page.click("form.sheet button.btn-primary")
    page.wait_for_url(f"**/credentials/{name}")
    assert "hush" not in page.content()
    page.fill("[name=description]", "changed")
    page.click("form.sheet button.btn-primary")
    page.wait_for_selector(".alert-success")
    assert system.client.entry("credential", name).fingerprint


def test_workers_keys_people_and_the_record(reader: Reader, system: RunningSystem) -> None:
    page = reader.open("/workers")
    page.click("form[action$='/drain'] button")
    expect(page.locator("main")).to_contain_text(reader.words("draining"))
    page.click("form[action$='/undrain'] button")
    page = reader.open("/webhooks")
    page.click("details.group summary")
    page.fill("[name=name]", "hook")
    page.fill("[name=url]", "https://10.0.0.1/hook")
    page.click("form.sheet button.btn-primary")
    assert page.inner_text("code.key").startswith("whsec_")
    page.click("form[action$='/delete'] button")
    page = reader.open("/api-keys")
    page.click("details.group summary")
    page.fill("[name=name]", "for a robot")
    page.check("[name=roles][value=viewer]")
    page.click("form.sheet button.btn-primary")
    key = page.inner_text("code.key")
    assert page.request.get(f"{system.running.url}/api/v1/me", headers={"Authorization": f"Bearer {key}"}).ok
    page.click("form[action$='/revoke'] button")
    page.wait_for_selector(".alert-success")
    answer = page.request.get(f"{system.running.url}/api/v1/me", headers={"Authorization": f"Bearer {key}"})
    assert answer.status == 401
    page = reader.open("/audit?kind=worker")
    assert reader.words("drained") in page.inner_text("main")
    with page.expect_download() as fetched:
        page.click("a[href^='/audit/download']")
    entries = [json.loads(line) for line in fetched.value.path().read_text().splitlines()]
    assert {entry["kind"] for entry in entries} == {"worker"}
    reader.open("/users").click("main table a")
    assert "viewer" in reader.page.inner_text("main")
    assert "KERUTA_MONGO_URL" in reader.open("/settings").inner_text("main")
    assert reader.words("None: every event was delivered.") in reader.open("/dead-letters").inner_text("main")


def test_the_api_is_tried_from_its_page(reader: Reader, system: RunningSystem, repository: str) -> None:
    """With one's own sign-in, also what changes something."""
    page = reader.open("/api/docs")
    task = system.submit(repository, "sleep 100")
    page.click("#operations-tag-me")
    page.click(".opblock-summary-path[data-path='/api/v1/me']")
    page.click(".opblock.is-open .try-out__btn")
    page.click(".opblock.is-open .execute")
    page.wait_for_selector(".opblock.is-open .live-responses-table .response-col_status:has-text('200')")
    page.click(".opblock.is-open .opblock-summary")
    page.click("#operations-tag-tasks")
    page.click(".opblock-summary-path[data-path='/api/v1/tasks/{id}/cancel']")
    page.click(".opblock.is-open .try-out__btn")
    page.fill(".opblock.is-open [placeholder=id]", task)
    page.click(".opblock.is-open .execute")
    page.wait_for_selector(".opblock.is-open .live-responses-table .response-col_status:has-text('200')")
    assert system.ended(task).status == "cancelled"


def test_the_overview_says_what_goes_on(reader: Reader, system: RunningSystem, repository: str) -> None:
    system.ended(system.submit(repository, "true"))
    page = reader.page

    def counted() -> bool:
        reader.open("/")
        return int(page.inner_text(".card-of[href='/tasks?status=succeeded'] strong")) >= 1

    eventually(counted, 20, "the count, which is ten seconds old at most", pause=1)
    assert page.locator("svg rect.good").count() >= 1
    assert "this-machine" in page.inner_text("main")
    assert "Asia/Tokyo" in page.inner_text("#zone-of-charts"), "the browser's zone"


def test_a_log_goes_on_after_admin_was_killed(reader: Reader, system: RunningSystem, repository: str) -> None:
    script = "for n in $(seq 1 100); do echo line $n; sleep 0.1; done"
    task = new_task(reader, repository, script)
    reader.page.wait_for_selector(".log-rows .l:has-text('line 5')")
    system.kill("admin")
    reader.page.wait_for_selector("#now [data-status=succeeded]", timeout=60_000)
    shown = "document.querySelector('.log-rows')?.textContent.includes('line 100')"
    eventually(lambda: reader.page.evaluate(shown), 30, "the last line")
    assert system.ended(task).status == "succeeded"


@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_log_that_its_reader_may_read_no_more_says_why(
    browser: Browser, system: RunningSystem, repository: str, language: str
) -> None:
    """Signed out elsewhere, the open page says so and asks no more; it does not look like the task's end."""
    with reading(browser, system, language=language) as reader:
        task = new_task(reader, repository, "for n in $(seq 1 600); do echo line $n; sleep 0.1; done")
        page = reader.page
        page.wait_for_selector(".log-rows .l:has-text('line 3')")
        page.wait_for_selector("#now [data-status=running]")
        form = page.evaluate(
            "Object.fromEntries(new FormData(document.querySelector('form[action=\"/auth/sign-out\"]')))"
        )
        page.request.post(f"{reader.address}/auth/sign-out", form=form, max_redirects=0)

        expect(page.locator("#log-said")).to_contain_text(reader.words(CATALOGUE["stream_sign_in_over"]))
        assert page.locator("#now [data-status=running]").count() == 1
    system.client.cancel(task)


def test_a_log_of_a_hundred_thousand_lines_is_read_without_a_freeze(
    reader: Reader, system: RunningSystem, repository: str
) -> None:
    """Only what is near the window is in the page; the end, a search and a line's own address are reached at once."""
    task = system.submit(repository, "seq -f 'line number %.0f of many' 100000", timeout_seconds=120)
    system.ended(task)
    page = reader.open(f"/tasks/{task}")
    page.wait_for_selector(".log-rows .l:has-text('line number 100000 of many')", timeout=60_000)
    assert page.locator("*").count() < 15_000
    began = time.monotonic()
    page.fill("#log-find", "number 54321 ")
    page.press("#log-find", "Enter")
    page.wait_for_selector(".log-rows .l.chosen:has-text('line number 54321 of many')")
    assert time.monotonic() - began < 10
    number = page.locator(".log-rows .l.chosen .n").get_attribute("href")
    page = reader.open(f"/tasks/{task}{number}")
    page.reload()
    page.wait_for_selector(".log-rows .l.chosen:has-text('line number 54321 of many')", timeout=60_000)


def test_a_notice_comes_when_a_watched_task_ends(browser: Browser, system: RunningSystem, repository: str) -> None:
    """For who asks for it, and not before."""
    with reading(browser, system, permissions=["notifications"]) as reader:
        reader.context.add_init_script(
            "window.notices = []; const Real = Notification; window.Notification = class {"
            " constructor(title, more) { window.notices.push([title, more.body]); }"
            " static requestPermission() { return Real.requestPermission(); } };"
        )
        new_task(reader, repository, "sleep 2", name="watched")
        reader.page.click("[data-notice]")
        eventually(lambda: reader.page.evaluate("window.notices.length"), 30, "the notice")
        assert reader.page.evaluate("window.notices") == [["watched", "succeeded"]]


def test_by_keyboard_alone(reader: Reader) -> None:
    page = reader.open("/tasks")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "find"
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("g")
    page.keyboard.press("q")
    page.wait_for_url("**/queues")
    page.keyboard.press("Control+k")
    page.keyboard.type("work")
    page.keyboard.press("Enter")
    page.wait_for_url("**/workers")


def test_without_scripts_all_but_what_is_live_works(browser: Browser, system: RunningSystem, repository: str) -> None:
    with reading(browser, system, java_script_enabled=False) as reader:
        task = new_task(reader, repository, "echo plain")
        system.ended(task)
        reader.open(f"/tasks/{task}")
        assert "plain" in reader.page.inner_text(".log-static")
        assert reader.open("/tasks").locator("table.tasks").count() == 1
        page = reader.open("/documents/new")
        page.fill("[name=text]", "# Unsaved")
        with page.expect_popup() as opened:
            page.click("button[data-preview]")
        assert opened.value.inner_text(".markdown h1") == "Unsaved"


def test_while_the_database_is_away_a_page_says_so(reader: Reader, system: RunningSystem) -> None:
    system.kill("mongod", signal.SIGSTOP)
    try:
        page = reader.open("/tasks")
        assert reader.words("keruta can't reach its database") in page.inner_text("main")
        assert re.search(r"[0-9a-z]{26}", page.inner_text("main .quiet code"))
    finally:
        system.kill("mongod", signal.SIGCONT)
    eventually(lambda: reader.open("/tasks").locator("nav.places").count(), 30, "its return")


def test_problems_are_pages_that_say_what_to_do(reader: Reader, browser: Browser, system: RunningSystem) -> None:
    for path in ("/tasks/" + "0" * 26, "/nowhere", "/queues/none"):
        assert reader.words("Not found") in reader.open(path).inner_text("main")
        assert re.search(r"[0-9a-z]{26}", reader.page.inner_text("main .quiet code"))
    with reading(browser, system, role="viewer", language=reader.language) as viewer:
        assert viewer.words("You may not do this") in viewer.open("/users").inner_text("main")
        assert viewer.page.locator("a[href='/tasks/new']").count() == 0
