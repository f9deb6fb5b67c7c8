"""The pool on a real Coder: workspaces that are real processes, each running our worker."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.support.cluster import LAB, ROOT, lab
from tests.support.repositories import make_repository
from tests.support.system import RunningSystem, eventually

PREFIX = "pool-worker-"
PAUSE = 0.5  # Coder takes 512 requests a minute of one person, and keruta asks as the same one


class Coder:
    """Coder's API, as an operator uses it."""

    def __init__(self, url: str, token_file: Path) -> None:
        self.url, self.token_file = url, token_file
        self._pool = urllib3.PoolManager(retries=False, timeout=60.0)

    def call(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body)
        headers = {"Coder-Session-Token": self.token_file.read_text().strip(), "Content-Type": kind}
        answer = self._pool.request(method, f"{self.url}/api/v2{path}", body=data, headers=headers)
        assert answer.status < 400, answer.data
        return json.loads(answer.data)

    def make_template(self, name: str, command: str, state: Path) -> None:
        """The lab's template, with another command."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for file in ("main.tf", "worker.sh"):
                tar.add(LAB.parent / "coder" / "template" / file, file)
        organization = self.call("GET", "/users/me/organizations")[0]["id"]
        file = self.call("POST", "/files", archive.getvalue(), "application/x-tar")["hash"]
        values = [{"name": "state_dir", "value": str(state)}, {"name": "command", "value": command}]
        version = self.call(
            "POST",
            f"/organizations/{organization}/templateversions",
            {"storage_method": "file", "file_id": file, "provisioner": "terraform", "user_variable_values": values},
        )["id"]

        def ready() -> bool:
            status = self.call("GET", f"/templateversions/{version}")["job"]["status"]
            assert status not in ("failed", "canceled")
            return bool(status == "succeeded")

        eventually(ready, 180, "the template", pause=PAUSE)
        self.call("POST", f"/organizations/{organization}/templates", {"name": name, "template_version_id": version})

    def make_one_that_fails(self, name: str, template: str) -> None:
        found = next(one["id"] for one in self.call("GET", "/templates") if one["name"] == template)
        parameters = [{"name": "fail", "value": "start"}]
        body = {"name": name, "template_id": found, "rich_parameter_values": parameters}
        self.call("POST", "/users/me/workspaces", body)

    def builds(self) -> dict[str, tuple[str, str]]:
        """Of the pool's workspaces: what the latest build was to do, and how it went."""
        found = self.call("GET", f"/workspaces?q=owner:me%20name:{PREFIX}")["workspaces"]
        return {one["name"]: (one["latest_build"]["transition"], one["latest_build"]["job"]["status"]) for one in found}

    @contextlib.contextmanager
    def nothing_left_behind(self) -> Iterator[None]:
        """Afterwards the pool's workspaces, and their processes, are gone."""
        try:
            yield
        finally:
            for one in self.call("GET", f"/workspaces?q=owner:me%20name:{PREFIX}")["workspaces"]:
                self.call("POST", f"/workspaces/{one['id']}/builds", {"transition": "delete"})
            eventually(lambda: not self.builds(), 180, "no workspace", pause=PAUSE)

    def at_work(self) -> int:
        return sum(build == ("start", "succeeded") for build in self.builds().values())


@pytest.fixture(scope="module")
def coder() -> Iterator[Coder]:
    if not LAB.exists():
        pytest.skip("SKIPPED LOUDLY: no lab beside this checkout; set KERUTA_LAB to its command to try Coder")
    lab("coder", "up")
    try:
        port = os.environ.get("KERUTA_LAB_CODER_PORT", "13000")
        folder = Path(os.environ.get("KERUTA_LAB_DIR", "/var/tmp/keruta-lab"))
        yield Coder(f"http://127.0.0.1:{port}", folder / "coder" / "token")
    finally:
        lab("coder", "down")


def test_workspaces_come_and_go_with_the_queue(coder: Coder, tmp_path: Path) -> None:
    """One, four, and one again, though a build fails on the way; every task runs once, to its end."""
    settings = {
        "KERUTA_WORKER_SLOTS": "0",  # the machine's own worker takes nothing
        "KERUTA_POOL": "coder",
        "KERUTA_POOL_LEAST": "1",
        "KERUTA_POOL_MOST": "4",
        "KERUTA_POOL_SLOTS": "2",
        "KERUTA_POOL_CALM_SECONDS": "5",
        "KERUTA_CODER_URL": coder.url,
        "KERUTA_CODER_TOKEN_FILE": str(coder.token_file),
        "KERUTA_CODER_TEMPLATE": "pool-worker",
        "KERUTA_CODER_PREFIX": PREFIX,
        "KERUTA_CODER_WORKER_ID": "{owner}-{name}",
        "KERUTA_CODER_PARAMETERS": "slots=2",
        "KERUTA_CODER_AGAIN_SECONDS": "5",
    }
    make_repository(tmp_path / "a.git")
    repository = (tmp_path / "a.git").as_uri()
    with coder.nothing_left_behind(), RunningSystem(tmp_path / "home", settings) as system:
        coder.make_template("pool-worker", _command(system), tmp_path / "workspaces")
        eventually(lambda: coder.at_work() == 1, 180, "the first workspace", pause=PAUSE)
        coder.make_one_that_fails(f"{PREFIX}2", "pool-worker")
        eventually(
            lambda: coder.builds()[f"{PREFIX}2"] == ("start", "failed"), 180, "the build that fails", pause=PAUSE
        )

        ids = [system.submit(repository, "echo begun; sleep 6") for _ in range(24)]
        eventually(lambda: coder.at_work() == 4, 180, "four workspaces", pause=PAUSE)
        for task_id in ids:
            task = system.ended(task_id, 240)
            assert (task.status, len(task.attempts)) == ("succeeded", 1), (task.reason, task.message)
            assert system.text(task_id).count("begun") == 1
        eventually(lambda: coder.at_work() == 1, 240, "one workspace", pause=PAUSE)

        workers = {system.task(task_id).attempts[0].worker for task_id in ids}  # type: ignore[union-attr]
        assert len(workers) == 4
        # Found again by its name after a restart, not made once more.
        before = coder.builds()
        system.kill("dispatch")
        system.ended(system.submit(repository, "true"), 180)
        assert set(coder.builds()) == set(before)


def _command(system: RunningSystem) -> str:
    """Return the command of a started workspace: our worker, with the name and slots that Coder gives."""
    root = system.state.root
    env = {
        "KERUTA_AGENT_URL": system.running.url,
        "KERUTA_WORKER_TOKEN_FILE": str(root / "tokens" / "worker"),
        "KERUTA_RESULTS_DIR": str(root / "results"),
        "KERUTA_CREDENTIALS_KEY": str(root / "keys" / "credentials.key"),
        "KERUTA_TRANSPORTS": "file",
        "KERUTA_OWN_GIT": "1",
    }
    said = " ".join(f"{name}={shlex.quote(value)}" for name, value in env.items())
    own = f'KERUTA_WORKER_ID="$WORKER_NAME" KERUTA_WORKER_SLOTS="$WORKER_SLOTS" KERUTA_WORKER_DIR={root}/"$WORKER_NAME"'
    return f"cd {shlex.quote(str(ROOT))} && {said} {own} exec {shlex.quote(sys.executable)} -m agent worker"
