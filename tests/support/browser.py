"""A real browser for tests: Debian's Chromium, by Playwright. What a page complains of in its console is a fault."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from docs.texts import japanese
from keruta.domain.messages import CATALOGUE, message
from keruta.translations import render
from tests.support.system import RunningSystem

WAIT_SECONDS = 20


def chromium() -> str:
    """The program. Skips the test where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("SKIPPED LOUDLY: no Chromium is installed; `apt-get install chromium`, or run `make test` as root")
    return found


@contextmanager
def running_browser() -> Iterator[Browser]:
    program = chromium()
    with sync_playwright() as playwright:
        # As root, and in a container's small /dev/shm; it opens pages of this machine alone.
        options = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=program, args=options)
        try:
            yield browser
        finally:
            browser.close()


class Reader:
    """One person's browser: their cookies, their language, and what went wrong in their pages."""

    def __init__(self, browser: Browser, address: str, *, language: str = "en", **more: Any) -> None:
        self.address, self.language = address, language
        self.context: BrowserContext = browser.new_context(
            locale={"en": "en-US", "ja": "ja-JP"}[language], timezone_id="Asia/Tokyo", **more
        )
        self.context.set_default_timeout(WAIT_SECONDS * 1000)
        self.faults: list[str] = []
        self.page = self.new_page()

    def words(self, english: str, **values: Any) -> str:
        """A text of the web admin's, or a sentence of the core's, as this person reads it."""
        code = next((code for code, text in CATALOGUE.items() if text == english), None)
        if code is not None:
            return render(message(code, **values), self.language)
        found = japanese().get(english)
        assert found is not None, f"the web admin says no such thing: {english}"
        text = str(found.string) if self.language == "ja" else english
        return text % values if values else text

    def new_page(self) -> Page:
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.faults.append(f"{page.url}: {error}"))
        page.on("console", lambda message: self._said(page, message))
        return page

    def _said(self, page: Page, message: Any) -> None:
        # A page that says 4xx is told so by the browser, too.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.faults.append(f"{page.url}: {message.text}")

    def open(self, path: str) -> Page:
        """Open a page, once the forms that are being sent have been answered."""
        expect(self.page.locator("form[aria-busy]")).to_have_count(0, timeout=WAIT_SECONDS * 1000)
        self.page.goto(self.address + path)
        return self.page

    def sign_in(self, code: str, wanted: str = "/") -> Reader:
        """On one machine, by its code or by a token."""
        self.open(f"/auth/sign-in?next={wanted}")
        self.page.fill("#code", code)
        self.page.click("form[action='/auth/code'] button")
        self.page.wait_for_selector("nav.places")
        return self

    def close(self) -> None:
        self.context.close()


@contextmanager
def reading(browser: Browser, system: RunningSystem, *, role: str = "", **more: Any) -> Iterator[Reader]:
    """Somebody who is signed in: this machine's person, or with a role, somebody who has that one."""
    code = system.state.sign_in_code_file.read_text().strip()
    if role:
        code = system.state.issuer().issue(f"a-{role}", [role], lifetime=timedelta(hours=1))
    reader = Reader(browser, system.running.url, **more)
    try:
        yield reader.sign_in(code)
        assert reader.faults == []
    finally:
        reader.close()
