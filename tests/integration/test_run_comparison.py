"""Two runs side by side in the web: their ends, durations, commits, outputs, files, settings and logs."""

from __future__ import annotations

import gzip
import hashlib
from datetime import UTC, datetime
from typing import Any

import flask
import pytest

from admin.tasks import comparison
from keruta.domain.reports import LogChunk
from keruta.domain.task import Artifact, RepositoryAsk
from keruta.settings import Settings
from tests.support.admin import Browser, signed_in
from tests.support.world import ANN, World, person

GITHUB = "https://github.com/team/app.git"


@pytest.fixture
def ann(app: flask.Flask, world: World) -> Browser:
    return signed_in(app, ANN)


def ran(world: World, log: bytes = b"", *, commit: str = "c" * 40, **more: Any) -> str:
    """A task that has ended, with this log."""
    fields = {name: more.pop(name) for name in ("env", "labels", "url", "owner", "repository") if name in more}
    task = world.submit(name="nightly", script="make", **fields)
    world.worker(slots=9)
    world.assign()
    world.start(task)
    world.database["tasks"].update_one({"_id": task}, {"$set": {"attempt.commit": commit}})
    if log:
        chunk = LogChunk(task=task, attempt=1, sequence=0, offset_bytes=0, at=datetime.now(UTC), data=log)
        world.report("w1", chunk)
    world.end(task, **more)
    return task


def section(page: str, name: str) -> str:
    return page[page.index(f'id="{name}-title"') :].partition("</section>")[0]


def test_a_run_is_compared_with_the_one_before_it(world: World, ann: Browser) -> None:
    """Reached from the strip on its page."""
    old = ran(world, b"10:00:01 start\nall well\n", url=GITHUB, outputs={"count": "3", "same": "x"})
    new = ran(
        world, b"11:22:33 start\n\x1b[31mbroken\x1b[0m <b>\n", url=GITHUB, commit="d" * 40, status="failed",
        reason="ScriptFailed", exit_code=2, outputs={"count": "4", "same": "x", "extra": "y"},
    )  # fmt: skip
    task = ann.ask("GET", f"/tasks/{new}")[1]
    page = ann.ask("GET", f"/tasks/{new}/compare")[1]

    assert f'<a href="/tasks/{new}/compare">Compare with the run before</a>' in task
    end = section(page, "end")
    assert end.index(f"/tasks/{old}") < end.index(f"/tasks/{new}")
    assert f'<a href="https://github.com/team/app/compare/{"c" * 40}...{"d" * 40}"' in end
    assert "state-failed" in end
    outputs = section(page, "outputs")
    assert outputs.count('<span class="unlike"') == 2
    log = section(page, "log")
    assert "broken &lt;b&gt;" in log
    assert "\x1b" not in log
    assert "10:00:01" not in log


def test_the_older_run_stands_left_whichever_page_it_is_asked_from(world: World, ann: Browser) -> None:
    old, new = ran(world), ran(world)
    end = section(ann.ask("GET", f"/tasks/{old}/compare?with={new}")[1], "end")

    assert end.index(f"/tasks/{old}") < end.index(f"/tasks/{new}")


def test_any_two_tasks_can_be_compared_by_id_or_address(world: World, ann: Browser) -> None:
    one, other = ran(world, env={"MODE": "a"}), ran(world, env={"MODE": "b"}, repository=RepositoryAsk(url=GITHUB))
    for named in (other, other.upper(), f"https://keruta.example/tasks/{other}?attempt=1"):
        status, page = ann.ask("GET", f"/tasks/{one}/compare?with={named}")
        assert status == 200
        assert "env.MODE: b" in section(page, "settings")
        assert "/compare/" not in section(page, "end"), "they are of two repositories"


@pytest.mark.parametrize("named", ["0" * 26, "x", "<script>", "' or 1", "é" * 26])
def test_a_run_that_is_not_there_is_said_to_be_missing(world: World, ann: Browser, named: str) -> None:
    task = ran(world)
    status, page = ann.ask("GET", f"/tasks/{task}/compare?with={named}")

    assert status == 404
    assert "<script>" not in page.partition('id="choose')[2]
    assert ann.ask("GET", f"/tasks/{task}/compare?with={task}")[0] == 404


def test_a_run_that_its_reader_may_not_see_is_as_missing(world: World, app: flask.Flask) -> None:
    mine, hidden = ran(world), ran(world, b"secret\n")
    world.database["tasks"].update_one({"_id": hidden}, {"$set": {"readers": ["user:zoe"], "seen_by": ["user:zoe"]}})
    eve = signed_in(app, person("eve", "viewer"))
    status, page = eve.ask("GET", f"/tasks/{mine}/compare?with={hidden}")

    assert status == 404
    assert "secret" not in page
    assert eve.ask("GET", f"/tasks/{hidden}/compare?with={mine}")[0] == 404
    assert hidden not in eve.ask("GET", f"/tasks/{mine}/compare")[1]


def test_a_first_run_says_that_there_is_none_before(world: World, ann: Browser) -> None:
    status, page = ann.ask("GET", f"/tasks/{ran(world)}/compare")

    assert status == 200
    assert "There is no earlier run of the same." in page


def test_a_run_that_has_not_started_is_compared_too(world: World, ann: Browser) -> None:
    ran(world, b"one\n")
    waiting = world.submit(name="nightly", script="make")

    assert ann.ask("GET", f"/tasks/{waiting}/compare")[0] == 200


def test_a_log_that_the_database_no_longer_has_is_read_from_its_file(
    world: World, settings: Settings, ann: Browser
) -> None:
    """As far as it is compared, whatever it unpacks to; without the file, the page says that it is gone."""
    old = ran(world, b"kept line\n")
    new = ran(world, b"new line\n")
    world.database["logs"].delete_many({"_id": {"$gt": f"{old}-1/", "$lt": f"{old}-10"}})
    gone = section(ann.ask("GET", f"/tasks/{new}/compare")[1], "log")
    path = settings.results_dir / old / "1" / "log.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(b"kept line\n" + b"0" * 50_000_000))
    found = section(ann.ask("GET", f"/tasks/{new}/compare")[1], "log")
    path.write_bytes(b"no gzip")
    broken = section(ann.ask("GET", f"/tasks/{new}/compare")[1], "log")

    assert "The older log is no longer kept." in gone
    assert "The older log is no longer kept." in broken
    assert "kept line" in found
    assert "Only the first 256.0 KiB of each log are compared." in found


def test_what_two_logs_have_in_common_is_not_shown_again(
    world: World, ann: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long: logs beyond the bound are cut."""
    monkeypatch.setattr(comparison, "LOG_BYTES", 1000)
    ran(world, b"line\n" * 5000)
    page = ann.ask("GET", f"/tasks/{ran(world, b'line' + bytes([10]) + b'line' + bytes([10]) * 4000)}/compare")[1]

    assert section(page, "log").count("line") < 300


def test_files_are_compared_by_what_they_hold(world: World, ann: Browser) -> None:
    def file(content: bytes) -> list[Artifact]:
        return [Artifact(path="a<b>", size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())]

    ran(world, artifacts=file(b"1"))
    page = ann.ask("GET", f"/tasks/{ran(world, artifacts=file(b'22'))}/compare")[1]

    assert section(page, "artifacts").count("a&lt;b&gt;") == 2
