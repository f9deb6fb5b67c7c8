"""Results by upload on a whole keruta: files, the log and kept work reach it through report_status."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from agent.settings import WorkerSettings
from keruta.domain.uploads import PART_BYTES
from keruta.errors import SettingsError
from tests.support.repositories import git, make_repository
from tests.support.system import RunningSystem

LARGE = 3 * PART_BYTES + 5
SCRIPT = f"""
mkdir "$KERUTA_ARTIFACTS/in"; head -c {LARGE} /dev/urandom > "$KERUTA_ARTIFACTS/in/large"
sha256sum < "$KERUTA_ARTIFACTS/in/large"; : > "$KERUTA_ARTIFACTS/empty"
echo work > new.txt; exit 3
"""


@pytest.fixture(scope="module")
def uploading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    home = tmp_path_factory.mktemp("machine") / "home"
    with RunningSystem(home, {"KERUTA_GRACE_SECONDS": "2", "KERUTA_RESULTS": "upload"}) as up:
        yield up


def requests_of(system: RunningSystem, route: str) -> int:
    """How many requests of a route report_status has answered with success."""
    port = json.loads((system.state.root / "ports.json").read_text())["report-status"]
    said = urllib3.request("GET", f"http://127.0.0.1:{port}/metrics").data.decode()
    return sum(
        int(float(line.rpartition(" ")[2]))
        for line in said.splitlines()
        if f'route="{route}"' in line and re.search(r'"(2\d\d|2xx)"', line) and "_total{" in line
    )


def test_what_a_task_leaves_is_uploaded_and_its_kept_work_is_pushed_later(
    uploading: RunningSystem, tmp_path: Path
) -> None:
    make_repository(tmp_path / "a.git")
    client, origin = uploading.client, tmp_path / "a.git"

    task = uploading.ended(uploading.submit(origin.as_uri(), SCRIPT, result_branch="later"), 60)

    assert (task.status, task.exit_code) == ("failed", 3), task.message
    assert {one.path for one in task.artifacts} == {"in/large", "empty", "log.gz", "result.bundle", "result.patch"}
    assert requests_of(uploading, "put_artifact") >= len(task.artifacts) + 3
    for one in task.artifacts:
        content = io.BytesIO()
        client.artifact(task.id, one.path, content)
        assert (len(content.getvalue()), hashlib.sha256(content.getvalue()).hexdigest()) == (one.size_bytes, one.sha256)
        if one.path == "in/large":
            assert one.sha256 in uploading.text(task.id)
        if one.path == "log.gz":
            assert gzip.decompress(content.getvalue()).decode() == uploading.text(task.id)

    client.push(task.id)
    assert [attempt.result_branch for attempt in uploading.ended(task.id, 60).attempts][-1] == "later"
    assert git(origin, "show", "later:new.txt") == "work"
    assert requests_of(uploading, "kept_work") == 1


def test_dependency_caches_are_uploaded_and_fetched(uploading: RunningSystem, tmp_path: Path) -> None:
    """A task finds what another one left, by a rule of the task's own; what was stored is not uploaded again."""
    make_repository(tmp_path / "a.git", {"package-lock.json": "{}"})
    body = {
        "repository": {"url": (tmp_path / "a.git").as_uri()},
        "script": "cat ~/.npm/one; mkdir -p ~/.npm; echo packed >~/.npm/one",
        "cache": [{"paths": ["~/.npm"], "key": ["package-lock.json"]}],
    }

    logs = []
    for _ in range(2):
        task = uploading.client.submit(body)
        assert uploading.ended(task.id, 60).status == "succeeded"
        logs.append(uploading.text(task.id))

    assert "cache ~/.npm: miss" in logs[0]
    assert "cache ~/.npm: saved" in logs[0]
    assert "cache ~/.npm: hit" in logs[1]
    assert "\npacked\n" in logs[1]
    assert requests_of(uploading, "keep_cache") == 1


def test_a_setting_that_is_none_of_the_two_is_told() -> None:
    with pytest.raises(SettingsError, match="volume or upload"):
        WorkerSettings(results="elsewhere")
