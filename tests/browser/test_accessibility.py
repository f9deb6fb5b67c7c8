"""Every page, for everyone: no violation that axe-core finds, no word of the other language, room on a phone."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from tests.support.browser import Reader, reading
from tests.support.hostile import HOSTILE_PAGES, hostile_content
from tests.support.system import RunningSystem

pytestmark = pytest.mark.timeout(300)
PAGES = [
    "/", "/tasks", "/logs?text=a", "/tasks/new", "/needs-you", "/notices", "/repositories", "/repositories/new",
    "/credentials", "/credentials/new", "/documents", "/documents/new", "/profiles", "/profiles/default",
    "/profiles/new", "/queues", "/queues/default", "/queues/default/activity", "/workers",
    "/workers/this-machine", "/users", "/audit", "/dead-letters", "/webhooks", "/api-keys", "/settings", "/nowhere",
]  # fmt: skip


def violations(reader: Reader) -> list[str]:
    found = Axe().run(reader.page).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found]


@pytest.fixture(scope="session")
def contents(system: RunningSystem, another_repository: str) -> dict[str, str]:
    """Pages' content, all of it written by someone hostile."""
    return hostile_content(system, another_repository)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_violation(
    browser: Browser, system: RunningSystem, contents: dict[str, str], scheme: str
) -> None:
    pages = [*PAGES, *(path.format(**contents) for path in HOSTILE_PAGES)]
    found: dict[str, list[str]] = {}
    with reading(browser, system, color_scheme=scheme) as reader:
        for path in pages:
            reader.open(path)
            if wrong := violations(reader):
                found[path] = wrong
        for path in pages:
            reader.open(path).evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
            if wrong := violations(reader):
                found[f"{path} opened"] = wrong
    assert found == {}


def test_no_page_is_wider_than_a_phone(browser: Browser, system: RunningSystem, contents: dict[str, str]) -> None:
    wide = {}
    with reading(browser, system, viewport={"width": 360, "height": 720}) as reader:
        for path in [*PAGES, *(path.format(**contents) for path in HOSTILE_PAGES)]:
            width = reader.open(path).evaluate("document.documentElement.scrollWidth")
            if width > 360:
                wide[path] = width
    assert wide == {}


def test_japanese_pages_hold_no_english_sentence(browser: Browser, system: RunningSystem) -> None:
    """But for names, and for what is marked as English."""
    texts = """[...document.querySelectorAll('h1, h2, label, th, button, summary, .quiet, .places a, .alert, legend')]
        .filter((one) => !one.closest('[lang=en]') && !one.querySelector('[lang=en], code, time, bdi'))
        .map((one) => one.innerText.trim())"""
    found = {}
    with reading(browser, system, language="ja") as reader:
        for path in PAGES:
            english = [text for text in reader.open(path).evaluate(texts) if _is_english(text)]
            if english:
                found[path] = english
    assert found == {}


def _is_english(text: str) -> bool:
    words = [word for word in text.split() if word.isascii() and word.isalpha() and len(word) > 2]
    return len(words) >= 3 and not any(ord(letter) > 0x3000 for letter in text)


def test_nothing_hostile_runs_or_misleads(browser: Browser, system: RunningSystem, contents: dict[str, str]) -> None:
    """Task names, logs, escape sequences, file names, Markdown, branches, artifacts: shown as what they are."""
    with reading(browser, system) as reader:
        asked: list[str] = []
        reader.page.on("request", lambda request: asked.append(request.url))
        for path in ["/", "/tasks", "/documents", "/repositories", "/audit", *HOSTILE_PAGES]:
            page = reader.open(path.format(**contents))
            page.wait_for_timeout(300)
            assert page.evaluate("window.stolen === undefined"), path
            assert page.title().endswith("keruta"), path
            assert page.locator("main script, main iframe, main object, main embed, main [onerror]").count() == 0, path
            assert not page.locator("main a[href^='javascript:'], main a[href^='data:']").count(), path
            assert "\u202e" not in page.inner_text("main"), path
        assert not [url for url in asked if "evil" in url]
        page = reader.open(f"/tasks/{contents['task']}")
        page.wait_for_selector(".log-rows .l:has-text('after it all')")
        said = page.inner_text(".log-rows")
        assert "shown" in said
        assert "owned" not in said, "a title is no line of a log"
        assert "\x1b" not in said
        for name in ("x.html", "x.svg"):
            answer = page.request.get(f"{system.running.url}/api/v1/tasks/{contents['task']}/artifacts/{name}")
            assert answer.headers["content-disposition"].startswith("attachment")
            assert answer.headers["content-type"] == "application/octet-stream"
            assert answer.headers["x-content-type-options"] == "nosniff"
