"""Each fault on a running system with up to 100 tasks under way: every task ends, none is lost, none doubled."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from keruta.domain.task import TaskView
from tests.faults.load import ENVIRON, Load, quick_manifests
from tests.support.proxies import Proxy
from tests.support.system import ENDED, RunningSystem, eventually

pytestmark = pytest.mark.timeout(240)
LEASE_SECONDS = 6


def group_of(system: RunningSystem, name: str) -> list[psutil.Process]:
    leader = psutil.Process(system.pid_of(name))
    return [leader, *leader.children(recursive=True)]


def freeze(system: RunningSystem, name: str, seconds: float, *, alone: bool = False) -> None:
    """Stops a part (with its server's processes, or alone, without its scripts) for a while."""
    processes = group_of(system, name)[:1] if alone else group_of(system, name)
    for process in processes:
        process.suspend()
    time.sleep(seconds)
    for process in processes:
        process.resume()


def test_the_worker_is_killed(load: Load) -> None:
    """Its scripts go on, and the worker that follows takes them up."""
    load.submit()
    load.under_way()

    load.system.kill("worker")

    load.check(killed=True)


def test_the_worker_is_killed_just_after_a_start_was_accepted(load: Load) -> None:
    """Again and again: whatever was put on record by then, no script starts twice."""
    load.submit()
    for _ in range(4):
        seen = {item.id for item in load.system.client.tasks(status="running", limit=200).items}
        eventually(
            lambda seen=seen: {i.id for i in load.system.client.tasks(status="running", limit=200).items} - seen, 30
        )
        load.system.kill("worker")
        pid = load.system.pid_of("worker")
        eventually(lambda pid=pid: load.system.pid_of("worker") != pid)

    load.check(killed=True)


@pytest.mark.parametrize("name", ["create-task", "dispatch", "report-status", "admin", "standin"])
def test_a_part_is_killed(load: Load, name: str) -> None:
    """Functions, admin, and what stands in for the broker and the gateway."""
    load.submit(40)
    load.under_way()

    load.system.kill(name)
    load.submit(20)

    load.check()


def test_mongod_is_killed(load: Load) -> None:
    """Everything that was answered is on disk."""
    load.submit()
    load.under_way()

    load.system.kill("mongod")

    load.check()


def test_mongod_is_away_for_longer_than_a_lease(load: Load) -> None:
    """An outage of ours costs no task."""
    load.submit(60)
    load.under_way()

    freeze(load.system, "mongod", LEASE_SECONDS + 4)

    load.check()


def test_report_status_is_away_for_two_leases(load: Load) -> None:
    """Nobody can report: nothing expires."""
    load.submit(60)
    load.under_way()

    freeze(load.system, "report-status", 2 * LEASE_SECONDS)

    load.check()


def test_dispatch_is_away_for_longer_than_a_lease(load: Load) -> None:
    load.submit(60)
    load.under_way()

    freeze(load.system, "dispatch", LEASE_SECONDS + 4)

    load.check()


def test_the_worker_is_frozen_past_its_lease_and_goes_on(load: Load) -> None:
    """Late reports of attempts that were given up count; a script runs once more only if its policy allows it."""
    load.submit(60)
    load.under_way()

    freeze(load.system, "worker", LEASE_SECONDS * 2.5, alone=True)

    load.check()


def own_system(directory: Path, environ: dict[str, str], manifests: Path) -> RunningSystem:
    return RunningSystem(directory / "home", {**ENVIRON, **environ}, manifests)


def test_every_event_is_dropped(tmp_path: Path, repository: str) -> None:
    """No trigger, no nudge: the tick and the heartbeats alone bring every task to its end."""
    manifests = quick_manifests(tmp_path / "m", without=("broker.yaml",))
    with own_system(tmp_path, {"KERUTA_WORKER_LISTEN": ""}, manifests) as system:
        load = Load(system, repository, tmp_path)
        load.submit(60)

        load.check()


def test_events_are_doubled_and_reordered(tmp_path: Path, repository: str, manifests: Path) -> None:
    with Proxy(double=0.5, delay_seconds=1.5, answer_first=True) as broker:
        environ = {"KERUTA_BROKER_URL": f"{broker.url}/keruta/default"}
        with own_system(tmp_path, environ, manifests) as system:
            broker.target = f"http://127.0.0.1:{system.state.ports_in_use()['broker']}"
            load = Load(system, repository, tmp_path)
            load.submit()

            load.check()
    assert broker.doubled > 25


def test_answers_are_lost_after_the_work_was_recorded(tmp_path: Path, repository: str, manifests: Path) -> None:
    """A third of what agents send is recorded and not answered, and a fifth comes twice."""
    with Proxy(lose=0.3, double=0.2) as proxy:  # noqa: SIM117  one needs the other
        with own_system(tmp_path, {"KERUTA_AGENT_URL": proxy.url}, manifests) as system:
            proxy.target = f"http://127.0.0.1:{system.state.ports_in_use()['report-status']}"
            load = Load(system, repository, tmp_path)
            load.submit()

            load.check()
    assert proxy.lost > 10


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(path)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("SKIPPED LOUDLY: a small disk needs the right to mount")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def test_the_workers_disk_is_full(tmp_path: Path, repository: str, manifests: Path, small_disk: Path) -> None:
    """The script that fills it fails with the reason, its first lines are kept, and the others succeed after it."""
    with own_system(tmp_path, {"KERUTA_WORKER_DIR": str(small_disk), "KERUTA_CLONE_CACHE": "0"}, manifests) as system:
        full = system.submit(repository, "echo begin; yes 0123456789012345678901234567890 | head -c 30000000; sleep 30")
        task = system.ended(full, 60)

        assert (task.status, task.reason) == ("failed", "SpoolFull"), task.message
        assert "begin" in system.text(full)
        load = Load(system, repository, tmp_path)
        load.submit(40)
        load.check()


def test_the_parent_is_killed_and_nothing_is_left(tmp_path: Path, repository: str, manifests: Path) -> None:
    """No process stays, no port is taken, and the next start takes up where it was."""
    system = own_system(tmp_path, {}, manifests)
    with system:
        load = Load(system, repository, tmp_path)
        load.submit(60)
        load.under_way()
        ports = system.state.ports_in_use()

        system.kill_parent()

        eventually(lambda: not system.processes(), 25, f"the end of {system.processes()}")
        system.start()
        assert system.state.ports_in_use() == ports
        tasks = eventually(lambda: _all_ended(load), 90, pause=0.5)
    stopped = [task for task in tasks if task.status != "succeeded"]
    assert all(task.reason == "WorkerStopped" for task in stopped), [(t.status, t.reason, t.message) for t in stopped]
    assert len(stopped) <= int(ENVIRON["KERUTA_WORKER_SLOTS"])


def test_ctrl_c_leaves_nothing(tmp_path: Path, repository: str, manifests: Path) -> None:
    """Ended in order: scripts get their grace, ends are reported, state stays."""
    system = own_system(tmp_path, {}, manifests)
    with system:
        long = system.submit(repository, "echo begun; sleep 100", retry={"policy": "never"})
        eventually(lambda: "begun" in system.text(long))
        waiting = [system.submit(repository, "echo later; sleep 1") for _ in range(20)]

        os.kill(system.pid, signal.SIGINT)
        system.end()

        assert not system.processes()
        system.start()
        task = system.ended(long)
        assert (task.status, task.reason) == ("failed", "WorkerStopped")
        ends = [system.ended(task_id) for task_id in waiting]
    assert all(e.status == "succeeded" or e.reason == "WorkerStopped" for e in ends)
    assert sum(e.status == "succeeded" for e in ends) >= 12


def _all_ended(load: Load) -> list[TaskView]:
    """Every task, once all have ended; asks no further than the first that has not."""
    done: list[TaskView] = []
    for task_id in load.ids:
        task = load.system.task(task_id)
        if task is None or task.status not in ENDED:
            return []
        done.append(task)
    return done
