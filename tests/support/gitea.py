"""The lab's forge: a real Gitea with a repository `lab/app`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import urllib3
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from keruta.adapters.git.credentials import Credential
from tests.support.cluster import LAB, lab
from tests.support.repositories import git, make_repository

PASSWORD = "Keruta-test-1"


class Gitea:
    """A forge with a repository `lab/app`, and what an administrator does with it."""

    def __init__(self, url: str, token: str, ssh_port: str) -> None:
        self.url, self._token, self._ssh_port = url, token, ssh_port

    def call(self, method: str, path: str, body: Any = None, expected: int | None = None) -> Any:
        ask = self._read if method == "GET" else self._ask
        answer = ask(method, path, body)
        assert answer.status in ((expected,) if expected else (200, 201, 202, 204)), answer.data
        return answer.json() if answer.data else None

    def _ask(self, method: str, path: str, body: Any) -> urllib3.BaseHTTPResponse:
        headers = {"Authorization": f"token {self._token}"}
        return urllib3.request(
            method, f"{self.url}/api/v1{path}", json=body, headers=headers, redirect=False, timeout=30
        )

    @retry(
        retry=retry_if_result(lambda answer: answer.status >= 500),
        stop=stop_after_delay(10),
        wait=wait_fixed(0.3),
        retry_error_callback=lambda state: state.outcome and state.outcome.result(),
    )
    def _read(self, method: str, path: str, body: Any) -> urllib3.BaseHTTPResponse:
        """Ask again for up to 10 s on 5xx: right after a push Gitea's API may answer with a panic of its own."""
        return self._ask(method, path, body)

    @property
    def repository(self) -> str:
        return f"{self.url}/lab/app.git"

    @property
    def over_ssh(self) -> str:
        return f"ssh://git@127.0.0.1:{self._ssh_port}/lab/app.git"

    @property
    def owner(self) -> Credential:
        return Credential(name="owner", username="lab", token=self._token)

    def person(self, name: str, permission: str | None) -> Credential:
        """A new user, who may `read` or `write` the repository, or does not see it."""
        body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD, "must_change_password": False}
        self.call("POST", "/admin/users", body)
        if permission is not None:
            self.call("PUT", f"/repos/lab/app/collaborators/{name}", {"permission": permission})
        return Credential(name=name, username=name, token=PASSWORD)

    def account(self, name: str) -> str:
        """Make an account for keruta itself, which may administrate the repository; return its token."""
        self.person(name, "admin")
        headers = urllib3.make_headers(basic_auth=f"{name}:{PASSWORD}")
        body = {"name": "keruta", "scopes": ["write:repository", "write:issue", "read:user"]}
        answer = urllib3.request("POST", f"{self.url}/api/v1/users/{name}/tokens", json=body, headers=headers)
        assert answer.status == 201, answer.data
        return str(answer.json()["sha1"])

    def deploy_key(self, directory: Path, *, read_only: bool) -> Credential:
        key = directory / f"key-{read_only}"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        public = key.with_suffix(".pub").read_text()
        self.call("POST", "/repos/lab/app/keys", {"title": key.name, "key": public, "read_only": read_only})
        scanned = subprocess.run(
            ["ssh-keyscan", "-p", self._ssh_port, "127.0.0.1"], capture_output=True, text=True, check=True
        ).stdout
        return Credential(name=key.name, ssh_key=key.read_text(), known_hosts=scanned)


@contextmanager
def running_gitea(root: Path) -> Iterator[Gitea]:
    """Start the forge with its repository, whose clone stays at `root/seed.git.work`; skip where there is no lab."""
    if not LAB.exists():
        pytest.skip("SKIPPED LOUDLY: no lab beside this checkout; set KERUTA_LAB to its command to try a forge")
    lab("gitea", "up")
    try:
        folder = Path(os.environ.get("KERUTA_LAB_DIR", "/var/tmp/keruta-lab"))
        port = os.environ.get("KERUTA_LAB_GITEA_PORT", "13100")
        ssh_port = os.environ.get("KERUTA_LAB_GITEA_SSH_PORT", "13122")
        made = Gitea(f"http://127.0.0.1:{port}", (folder / "gitea" / "token").read_text().strip(), ssh_port)
        made.call("POST", "/user/repos", {"name": "app", "private": True, "default_branch": "main"})
        make_repository(root / "seed.git")
        token = made.owner.token
        host = urlsplit(made.url).netloc
        git(root / "seed.git.work", "push", "-q", f"http://lab:{token}@{host}/lab/app.git", "main")
        made.call("POST", "/repos/lab/app/branch_protections", {"rule_name": "release/*", "enable_push": False})
        yield made
    finally:
        lab("gitea", "down")
