"""What a person has typed, marked or looks at stays, whatever happens to their session and to what is shown."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser

from tests.support.browser import Reader, reading
from tests.support.system import RunningSystem

pytestmark = pytest.mark.timeout(180)
LOOK = """() => { const one = document.activeElement, style = getComputedStyle(one);
    return [one.tagName + '.' + one.className, style.outlineStyle, style.outlineWidth]; }"""
NAME = "a-file-with-a-name-" + "x" * 150
SCREENS = (1280, 1024, 768, 390)


def test_what_was_typed_outlives_the_session(browser: Browser, system: RunningSystem, repository: str) -> None:
    """The page says that it was not sent, and after signing in the form has it again; then it is sent once."""
    with reading(browser, system) as reader:
        page = reader.open("/tasks/new")
        page.fill("[name=repository]", repository)
        page.fill("[name=script]", "echo kept through it all")
        reader.context.clear_cookies()
        page.click("form.sheet button.btn-primary")
        page.click(".not-sent a")
        page.fill("#code", system.state.sign_in_code_file.read_text().strip())
        page.click("form[action='/auth/code'] button")
        page.wait_for_selector(".restored")
        assert page.input_value("[name=script]") == "echo kept through it all"
        page.click("form.sheet button.btn-primary")
        page.wait_for_url(re.compile(r"/tasks/[0-9a-z]{26}$"))
        assert reader.open("/tasks/new").input_value("[name=script]") == ""
        task = system.submit(repository, "seq 30")
        system.ended(task)
        reader.context.clear_cookies()
        page = reader.open(f"/tasks/{task}#L7")
        page.fill("#code", system.state.sign_in_code_file.read_text().strip())
        page.click("form[action='/auth/code'] button")
        page.wait_for_selector(".log-rows .l.chosen")
        assert page.url.endswith("#L7")


def test_a_form_that_is_clicked_twice_is_sent_once(browser: Browser, system: RunningSystem, repository: str) -> None:
    """As impatient people do."""
    with reading(browser, system) as reader:
        page = reader.open("/tasks/new")
        page.fill("[name=repository]", repository)
        page.fill("[name=script]", "echo clicked twice")
        page.dblclick("form.sheet button.btn-primary")
        page.wait_for_url(re.compile(r"/tasks/[0-9a-z]{26}$"))
    made = [one for one in system.client.tasks(limit=20).items if system.task(one.id).script == "echo clicked twice"]
    assert len(made) == 1


def test_a_tasks_page_follows_its_task_and_keeps_what_its_reader_does(
    browser: Browser, system: RunningSystem, repository: str
) -> None:
    script = f"""sleep 2; printf 'Which?' > "$KERUTA_ASK"; read answer; echo "got $answer"
        echo one=1 >> "$KERUTA_OUTPUTS"; echo x > "$KERUTA_ARTIFACTS/{NAME}\""""
    with reading(browser, system) as reader:
        page = reader.open(f"/tasks/{system.submit(repository, script, name='follow me')}")
        page.wait_for_selector("#text")
        page.fill("#text", "fort")
        page.evaluate("document.activeElement.typed = true")
        page.wait_for_selector("#now [data-status=waiting]")
        assert "Which?" in page.inner_text("#now")
        assert page.title().endswith("… follow me · keruta")
        assert page.evaluate("document.activeElement.typed")
        page.keyboard.type("y")
        page.keyboard.press("Enter")
        page.wait_for_selector("#now [data-status=succeeded]")
        page.wait_for_selector("#artifacts")
        assert page.locator("#outputs").count() == 1
        assert page.locator("form[action$='/cancel'], #text").count() == 0
        assert page.title().endswith("✓ follow me · keruta")
        page.wait_for_selector(".log-rows .l:has-text('got forty')")
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        for width in SCREENS:
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, width


def test_whatever_has_the_keyboards_focus_shows_it(reader: Reader) -> None:
    """axe does not see it: the outline is asked for by its computed style."""
    for path in ("/tasks", "/tasks/new", "/queues/default"):
        page = reader.open(path)
        for _ in range(45):
            page.keyboard.press("Tab")
            what, kind, width = page.evaluate(LOOK)
            assert what.startswith("BODY") or (kind, width) == ("solid", "3px"), (path, what)


def test_the_palette_goes_by_arrow_keys_and_menus_close(reader: Reader, system: RunningSystem, repository: str) -> None:
    task = system.submit(repository, "true", name=f"palette finds {reader.language}")
    page = reader.open("/tasks")
    page.click(".who summary")
    page.keyboard.press("Escape")
    assert page.locator(".who[open]").count() == 0
    page.click(".who summary")
    page.click("h1")
    assert page.locator(".who[open]").count() == 0
    page.keyboard.press("Control+k")
    page.keyboard.press("Control+k")
    assert page.locator("dialog").count() == 1
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.locator("#palette-list [aria-selected=true]").get_attribute("id") == "palette-2"
    page.keyboard.type(f"palette finds {reader.language}")
    page.wait_for_selector(f"#palette-list a[href='/tasks/{task}']")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/tasks/{task}")


def test_a_logs_groups_fold_and_its_errors_lead_to_their_lines(
    reader: Reader, system: RunningSystem, repository: str
) -> None:
    script = """echo '::group::Install'; seq 300; echo '::endgroup::'; echo '--- Tests'; seq 5
        echo 'src/a.c:12:5: error: no <b>such</b> file'; echo '+++ Upload'; echo 'see https://example.com/x'; exit 1"""
    task = system.submit(repository, script)
    system.ended(task)
    page = reader.open(f"/tasks/{task}")
    page.wait_for_selector(".log-rows .opens:has-text('Upload')")
    install = page.locator(".log-rows .opens button").first
    assert install.get_attribute("aria-expanded") == "false"
    assert page.locator(".log-rows .l:has-text('300')").count() == 0
    install.click()
    page.wait_for_selector(".log-rows .l:has-text('1')")
    assert page.inner_text("#annotations a") == "src/a.c:12 no <b>such</b> file"
    page.click("#annotations a")
    page.wait_for_selector(".log-rows .l.chosen.is-error:has-text('no <b>such</b> file')")
    assert (
        page.locator(".log-rows a[href='https://example.com/x']").get_attribute("rel") == "noopener noreferrer nofollow"
    )
    page.fill("#log-find", "30")
    page.click("#log-previous")
    assert page.inner_text("#log-found").split(" / ")[0] == page.inner_text("#log-found").split(" / ")[1]
    page.wait_for_selector(".log-rows .l.chosen")
