"""Every port that one machine's keruta opens, asked by one who has no key and no token: another user of the machine."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pymongo
import pytest
import urllib3
from pymongo.errors import OperationFailure

from keruta.domain.naming import new_id
from keruta.local import state
from keruta.local.state import State
from keruta.local.system import System
from tests.support.processes import command_line
from tests.support.system import RunningSystem, eventually

_pool = urllib3.PoolManager(retries=False, timeout=10.0)
EVENT = {
    "Content-Type": "application/json",
    "ce-specversion": "1.0",
    "ce-id": new_id(),
    "ce-type": "dev.keruta.dispatch.tick.v1",
    "ce-source": "/x",
}


def listening(system: RunningSystem) -> dict[int, str]:
    """The ports of all of its processes, by what listens there."""
    running = system.state.running()
    assert running is not None
    found = {}
    for name, pid in running.processes.items():
        for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
            for connection in process.net_connections("inet"):
                if connection.status == psutil.CONN_LISTEN:
                    found[connection.laddr.port] = name
                    assert connection.laddr.ip == "127.0.0.1"
    return found


def test_no_part_listens_where_this_test_does_not_look(system: RunningSystem) -> None:
    """On loopback alone, one port each; the stand-in has the address and the broker."""
    eventually(lambda: "worker" in listening(system).values())

    functions = ["create-task", "dispatch", "receive-event", "report-status"]
    expected = sorted(["admin", "mongod", "standin", "standin", "worker", *functions])
    assert sorted(listening(system).values()) == expected


def test_the_database_does_nothing_for_who_has_no_password(system: RunningSystem) -> None:
    """Neither reads nor writes, nor makes its first user; and it packs nothing by zlib."""
    port = system.state.ports_in_use()["mongod"]
    stranger: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient("127.0.0.1", port, directConnection=True)
    attempts = (
        lambda: stranger["keruta"]["tasks"].find_one(),
        lambda: stranger["keruta"]["api_keys"].insert_one({"role": "admin"}),
        lambda: stranger.admin.command("createUser", "me", pwd="x", roles=["root"]),
        lambda: stranger.admin.command("replSetGetConfig"),
        lambda: stranger.admin.command("shutdown"),
        lambda: stranger.admin.command("getLog", "global"),
        lambda: list(stranger.local["oplog.rs"].find().limit(1)),
    )
    with stranger:
        for attempt in attempts:
            with pytest.raises(OperationFailure, match=r"requires authentication|not authorized"):
                attempt()
        offered = stranger.admin.command("hello", compression=["zlib", "snappy", "zstd"]).get("compression")
    assert not offered


def test_the_password_is_in_no_file_that_others_read_and_on_no_command_line(system: RunningSystem) -> None:
    access = system.state.mongod_access()
    key = access.key_file.read_text()
    for name in ("mongod.key", "mongod.password"):
        assert stat.S_IMODE((system.state.root / "keys" / name).stat().st_mode) == 0o600
    for process in system.processes():
        line = " ".join(command_line(process))
        assert access.password not in line
        assert key not in line
    worker = psutil.Process(system.pid_of("worker")).environ()
    assert access.password not in json.dumps(worker)


def test_scripts_do_not_have_the_databases_password(system: RunningSystem, repository: str) -> None:
    task = system.ended(system.submit(repository, "env; cat /proc/*/environ | tr '\\0' '\\n'"))

    assert task.status == "succeeded"
    assert system.state.mongod_access().password not in system.text(task.id)


@pytest.mark.parametrize("token", [None, "x", "eyJhbGciOiJub25lIn0.eyJyb2xlcyI6WyJhZG1pbiJdfQ."])
def test_no_part_does_anything_for_who_has_no_token(system: RunningSystem, token: str | None) -> None:
    ports = system.state.ports_in_use()
    given = {} if token is None else {"Authorization": f"Bearer {token}"}
    asked = [
        ("public", "POST", "/api/v1/tasks"), ("public", "GET", "/api/v1/tasks"),
        ("create-task", "POST", "/api/v1/tasks"),
        ("dispatch", "POST", "/events"), ("dispatch", "POST", "/"),
        ("receive-event", "POST", "/events/v1/x"), ("report-status", "POST", "/agent/v1/reports"),
        ("report-status", "PUT", "/agent/v1/workers/this-machine"), ("admin", "GET", "/api/v1/users"),
        ("admin", "POST", "/events/dead-letters"), ("broker", "POST", "/keruta/default"), ("broker", "POST", "/"),
    ]  # fmt: skip
    for port, method, path in asked:
        answer = _pool.request(method, f"http://127.0.0.1:{ports[port]}{path}", body=b"{}", headers={**EVENT, **given})
        assert answer.status in (401, 404, 405), (port, method, path, answer.status)


def test_a_nudge_from_a_stranger_is_not_taken(system: RunningSystem) -> None:
    """Only keruta knows where a worker listens, because a nudge costs a report."""
    port = eventually(lambda: next((port for port, name in listening(system).items() if name == "worker"), None))

    assert _pool.request("POST", f"http://127.0.0.1:{port}/", body=b"{}", headers=EVENT).status == 404
    assert _pool.request("POST", f"http://127.0.0.1:{port}/guess", body=b"{}", headers=EVENT).status == 404


@pytest.fixture
def stranger() -> Iterator[HTTPServer]:
    """A server of another process that answers everything as if it were keruta."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("part", ["public", "mongod"])
def test_a_port_that_is_taken_during_the_start_is_left_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stranger: HTTPServer, part: str
) -> None:
    """A second keruta that starts at the same time, or somebody who waits for the port: nothing is sent to it."""
    taken, answers = stranger.server_port, iter([True])
    really_free = state.is_free
    monkeypatch.setattr(state, "is_free", lambda port: next(answers, False) if port == taken else really_free(port))
    home = State(root=tmp_path / "home")
    home.make()
    (home.root / "ports.json").write_text(json.dumps({part: taken}))
    system = System(home, print)
    try:
        system.start()

        assert taken not in home.ports_in_use().values()
        answer = _pool.request("GET", f"{system.url}/api/v1/tasks", headers={"Authorization": f"Bearer {system.token}"})
        assert answer.status == 200
    finally:
        system.end()
