"""Every port that one machine's keruta opens, asked by one who has no key and no token: another user of the machine."""

from __future__ import annotations

import json
import stat

import psutil
import pymongo
import pytest
import urllib3
from pymongo.errors import OperationFailure

from keruta.domain.naming import new_id
from tests.support.processes import command_line
from tests.support.system import RunningSystem, eventually

_pool = urllib3.PoolManager(retries=False, timeout=10.0)
EVENT = {"ce-specversion": "1.0", "ce-id": new_id(), "ce-type": "dev.keruta.dispatch.tick.v1", "ce-source": "/x"}


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

    expected = ["admin", "create-task", "dispatch", "mongod", "report-status", "standin", "standin", "worker"]
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
        ("dispatch", "POST", "/events"), ("dispatch", "POST", "/"), ("report-status", "POST", "/agent/v1/reports"),
        ("report-status", "PUT", "/agent/v1/workers/this-machine"), ("admin", "GET", "/api/v1/users"),
        ("admin", "POST", "/events/dead-letters"), ("broker", "POST", "/keruta/default"), ("broker", "POST", "/"),
    ]  # fmt: skip
    for port, method, path in asked:
        answer = _pool.request(method, f"http://127.0.0.1:{ports[port]}{path}", body=b"{}", headers={**EVENT, **given})
        assert answer.status in (401, 404, 405), (port, method, path, answer.status)


def test_a_nudge_from_a_stranger_is_not_taken(system: RunningSystem) -> None:
    """Where a worker listens is known to keruta alone: a nudge costs a report."""
    port = eventually(lambda: next((port for port, name in listening(system).items() if name == "worker"), None))

    assert _pool.request("POST", f"http://127.0.0.1:{port}/", body=b"{}", headers=EVENT).status == 404
    assert _pool.request("POST", f"http://127.0.0.1:{port}/guess", body=b"{}", headers=EVENT).status == 404
