"""Search in the logs of many tasks: what is found, in which scripts, and how it is bounded."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import flask
import pytest

from admin.tasks import log_search
from keruta.domain.reports import LogChunk
from tests.support.admin import Browser, signed_in
from tests.support.world import ANN, World, person


@pytest.fixture
def ann(app: flask.Flask, world: World) -> Browser:
    return signed_in(app, ANN)


def logged(world: World, *pieces: bytes, **fields: str) -> str:
    task = world.submit(**{"name": "job", **fields})
    world.worker(slots=99)
    world.assign()
    world.start(task)
    offset = 0
    for number, data in enumerate(pieces):
        chunk = LogChunk(task=task, attempt=1, sequence=number, offset_bytes=offset, at=datetime.now(UTC), data=data)
        world.report("w1", chunk)
        offset += len(data)
    world.end(task)
    return task


def found(page: str) -> list[str]:
    return re.findall(r'<li><span class="state[^\n]*?href="/tasks/([0-9a-z]{26})"', page)


def test_a_text_is_found_newest_task_first_with_its_lines(world: World, ann: Browser) -> None:
    """Also where two pieces of a log share it; a line leads to itself in its attempt's log."""
    old = logged(world, b"one\nconnection ref", b"used by db\n")
    logged(world, b"all well\n")
    new = logged(world, b"\x1b[31mConnection\x1b[0m refused <b>\n")
    status, page = ann.ask("GET", "/logs?text=connection+refused")

    assert status == 200
    assert found(page) == [new, old]
    assert f'href="/tasks/{old}?attempt=1#L2"' in page
    assert "<mark>connection refused</mark> by db" in page
    assert "<mark>Connection refused</mark> &lt;b&gt;" in page
    assert "3 tasks were looked through" in page


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("接続が拒否されました".encode(), "拒否"),
        ("接続が拒否されました\n".encode("cp932") * 3, "拒否"),
        ("接続が拒否されました\n".encode("euc_jp") * 3, "接続が"),
        ("ﾃｽﾄ失敗".encode(), "テスト失敗"),
        ("ＥＲＲＯＲ　１２３".encode(), "error 123"),
        ("Straße".encode(), "STRASSE"),
        ("Zażółć".encode(), "zażółć"),
    ],
)
def test_a_text_is_found_in_any_script_width_and_encoding(
    world: World, ann: Browser, written: bytes, asked: str
) -> None:
    task = logged(world, written)

    assert found(ann.ask("GET", f"/logs?text={asked}")[1]) == [task]


def test_only_logs_of_tasks_that_match_the_filter_are_looked_through(world: World, ann: Browser) -> None:
    here = logged(world, b"needle\n", url="https://example.com/here.git")
    logged(world, b"needle\n", url="https://example.com/there.git")

    assert found(ann.ask("GET", "/logs?text=needle&repository=https://example.com/here.git")[1]) == [here]
    assert found(ann.ask("GET", "/logs?text=needle&status=failed")[1]) == []
    assert ann.ask("GET", "/logs?text=needle&status=none")[0] == 422
    assert ann.ask("GET", "/logs?text=needle&cursor=none")[0] == 422


def test_logs_that_the_reader_may_not_see_are_not_looked_through(world: World, app: flask.Flask) -> None:
    """Neither found nor counted."""
    hidden = logged(world, b"needle\n")
    world.database["tasks"].update_one({"_id": hidden}, {"$set": {"readers": ["user:zoe"], "seen_by": ["user:zoe"]}})
    page = signed_in(app, person("eve", "viewer")).ask("GET", "/logs?text=needle")[1]

    assert found(page) == []
    assert "0 tasks were looked through" in page


def test_a_search_goes_on_where_it_stopped(world: World, ann: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a number of bytes, and after a number of tasks."""
    tasks = [logged(world, b"needle " + b"x" * 2000 + b"\n") for _ in range(5)]
    for bound in ("BYTES_READ", "TASKS_READ"):
        with monkeypatch.context() as bounded:
            bounded.setattr(log_search, bound, 4000 if bound == "BYTES_READ" else 2)
            seen: list[str] = []
            address = "/logs?text=needle"
            for _ in range(9):
                page = ann.ask("GET", address)[1]
                seen += found(page)
                older = re.search(r'rel="next" href="([^"]+)"', page)
                if older is None:
                    break
                address = older[1].replace("&amp;", "&")
        assert seen == tasks[::-1], bound
        assert "oldest task that matches" in page


def test_a_search_ends_after_its_time(world: World, app: flask.Flask, ann: Browser) -> None:
    """One task is looked through in any case, so that each request goes on."""
    tasks = [logged(world, b"needle\n") for _ in range(3)]
    ticks = iter(range(0, 1000, 5))
    with app.test_request_context():
        flask.g.principal = ANN
        done = log_search.search("needle", log_search.TaskFilter(), None, clock=lambda: next(ticks))

    assert [one.task.id for one in done.found] == [tasks[2]]
    assert done.next == tasks[2]


def test_of_a_long_log_the_beginning_is_looked_through(
    world: World, ann: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page says that there is more."""
    monkeypatch.setattr(log_search, "LOG_BYTES", 1000)
    task = logged(world, b"early\n" + b"x" * 600, b"y" * 600, b"\nlate\n")

    assert found(ann.ask("GET", "/logs?text=early")[1]) == [task]
    page = ann.ask("GET", "/logs?text=late")[1]
    assert found(page) == []
    assert "1 log is longer than is looked through." in page


def test_every_attempt_is_looked_through(world: World, ann: Browser) -> None:
    """Whatever their numbers, also where one is longer than is looked through."""
    task = logged(world, b"one\n")
    row = world.database["logs"].find_one({"_id": {"$gt": f"{task}-1/"}})
    assert row is not None
    for number in (2, 10, 11):
        copy = {**row, "_id": f"{task}-{number}/00000000", "attempt": number, "data": b"needle %d\n" % number}
        world.database["logs"].insert_one(copy)
    page = ann.ask("GET", "/logs?text=needle")[1]

    assert {int(one) for one in re.findall(rf"/tasks/{task}\?attempt=(\d+)#L1", page)} == {2, 10, 11}


@pytest.mark.parametrize("text", ["<script>x</script>", "%27%22--", "[", "$where", "\u202e", "a" * 5000, "%00"])
def test_a_hostile_text_finds_nothing_and_shows_nothing_but_itself(world: World, ann: Browser, text: str) -> None:
    logged(world, b"<img src=x onerror=y> " + text.encode() + b"\n")
    status, page = ann.ask("GET", f"/logs?text={text}")

    assert status == 200
    assert "<script>x" not in page
    assert "<img src=x" not in page
    assert "\u202e" not in page.partition("<ol")[2]
