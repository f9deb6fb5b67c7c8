"""`keruta login`: a person types a code into a browser, and the command is signed in."""

from __future__ import annotations

import html
import os
import re
import stat
import subprocess
import time
from pathlib import Path

import pytest
import urllib3

from tests.support.keycloak import PASSWORD, Keycloak
from tests.support.system import KERUTA, RunningSystem

pytestmark = pytest.mark.timeout(180)


class Browser:
    """Follows links, keeps cookies, sends forms: enough for Keycloak's pages."""

    def __init__(self) -> None:
        self._pool = urllib3.PoolManager(retries=False, timeout=20.0)
        self._cookies: dict[str, str] = {}

    def get(self, url: str, method: str = "GET", fields: dict[str, str] | None = None) -> str:
        while True:
            cookies = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
            answer = self._pool.request(
                method, url, fields=fields, headers={"Cookie": cookies}, redirect=False,
                **({"encode_multipart": False} if fields else {}),
            )  # fmt: skip
            for line in answer.headers.getlist("Set-Cookie"):
                name, _, value = line.split(";", 1)[0].partition("=")
                self._cookies[name] = value
            if answer.status not in (302, 303):
                return answer.data.decode()
            url, method, fields = urllib3.util.parse_url(answer.headers["Location"]).url, "GET", None

    def send(self, page: str, **fields: str) -> str:
        """The page's form, with its hidden fields and these."""
        action = html.unescape(re.search(r'<form[^>]*action="([^"]+)"', page)[1])  # type: ignore[index]
        hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page))
        if action.startswith("/"):
            action = self._root + action
        return self.get(action, "POST", {**hidden, **fields})

    _root = ""


def confirm(keycloak: Keycloak, where: str, name: str) -> str:
    browser = Browser()
    browser._root = keycloak.url
    page = browser.get(where)
    page = browser.send(page, username=name, password=PASSWORD)
    return browser.send(page, accept="Yes")


def test_a_person_signs_in_with_a_code(system: RunningSystem, keycloak: Keycloak, tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("KERUTA_")}
    env |= {"XDG_CONFIG_HOME": str(tmp_path), "KERUTA_URL": system.running.url}
    command = [*KERUTA, "login", system.running.url]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as at_work:
        assert at_work.stderr is not None
        where = at_work.stderr.readline().removeprefix("Open ").strip()
        confirm(keycloak, where, "dev")
        said = at_work.stderr.read()
    assert at_work.returncode == 0, said

    kept = tmp_path / "keruta" / "signed-in.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    first = kept.read_text()
    listed = subprocess.run([*KERUTA, "list"], env=env, capture_output=True, text=True, check=False)
    assert listed.returncode == 0, listed.stderr
    time.sleep(1.1)
    again = subprocess.run([*KERUTA, "list"], env=env, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert kept.read_text() != first  # tokens live for seconds here: it was made new
    assert "eyJ" not in listed.stdout + listed.stderr + said

    out = subprocess.run([*KERUTA, "logout"], env=env, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    assert not kept.exists()
    over = subprocess.run([*KERUTA, "list"], env=env, capture_output=True, text=True, check=False)
    assert "keruta login" in over.stderr


def test_where_there_is_no_keruta_it_says_so(tmp_path: Path) -> None:
    env = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
    done = subprocess.run(
        [*KERUTA, "login", "http://127.0.0.1:9"], env=env, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "No answer from http://127.0.0.1:9" in done.stderr
