"""Costs of one task, by component: `python -m bench.profiling [TASKS] [file]`.

CPU from /proc, HTTP requests from each part's /metrics, MongoDB's commands from `serverStatus`, and the processes that
a task starts from strace, where that is installed. As many tasks run in a bare loop, for comparison.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import psutil
import urllib3

from bench import running
from bench.machine import Machine

TASKS = 60
TRACED_TASKS = 10
# Commands of MongoDB that its clients and its own threads send in the background.
_BACKGROUND = frozenset({"hello", "isMaster", "ismaster", "serverStatus", "ping", "replSetHeartbeat", "endSessions"})


def main(arguments: list[str]) -> int:
    tasks = next((int(one) for one in arguments if one.isdigit()), TASKS)
    shared = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None, prefix="keruta-bench-") as directory,
        Machine(Path(directory)) as machine,
    ):
        repository = machine.local_repository if "file" in arguments else machine.repository
        running.warm(machine, repository)
        loop_seconds, loop_cpu = running.loop(machine, repository, tasks)
        before = _reading(machine)
        own_seconds, own_cpu = running.own(machine, repository, tasks)
        used = {name: value - before.get(name, 0) for name, value in _reading(machine).items()}
        print(f"{tasks} tasks of {repository}; each:")
        print(f"  loop {loop_cpu / tasks * 1000:.1f} ms CPU, keruta {own_cpu / tasks * 1000:.1f} ms; seconds for all: "
              f"loop {loop_seconds:.2f}, keruta {own_seconds:.2f}")  # fmt: skip
        for name, value in sorted(used.items(), key=lambda one: (one[0].split(":")[0], -one[1])):
            if value / tasks >= 0.02:
                print(f"  {name:<60}{value / tasks:8.2f}")
        for operation, count in _operations(machine, repository).most_common():
            print(f"  {operation:<110}{count / TRACED_TASKS:8.2f}")
        for program, count in _processes(machine, repository).most_common():
            print(f"  {f'process: {program}':<60}{count / TRACED_TASKS:8.2f}")
    return 0


def _reading(machine: Machine) -> Counter[str]:
    """All counters together: milliseconds of CPU, requests and commands."""
    return _cpu(machine) + _requests(machine) + _commands(machine)


def _cpu(machine: Machine) -> Counter[str]:
    found: Counter[str] = Counter()
    running_now = machine.system.state.running()
    assert running_now is not None
    names = {pid: name for name, pid in running_now.processes.items()}
    for process in machine.processes():
        try:
            name = names.get(process.pid) or names.get(process.ppid()) or process.name()
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        found[f"cpu ms: {name}"] += round((times.user + times.system) * 1000)
        found[f"cpu ms: {name}, its children"] += round((times.children_user + times.children_system) * 1000)
    return found


def _requests(machine: Machine) -> Counter[str]:
    found: Counter[str] = Counter()
    for name, port in machine.system.state.ports_in_use().items():
        if name in ("mongod", "public", "broker"):
            continue
        text = urllib3.request("GET", f"http://127.0.0.1:{port}/metrics").data.decode()
        for labels, count in re.findall(r"^keruta_http_requests_total\{(.*)\} (\S+)$", text, re.MULTILINE):
            route = re.search(r'route="([^"]*)"', labels)
            found[f"request: {name} {route[1] if route else labels}"] += round(float(count))
    return found


def _commands(machine: Machine) -> Counter[str]:
    found: Counter[str] = Counter()
    with machine.system.database_client() as client:
        status = client.admin.command("serverStatus")
    for name, counts in status["metrics"]["commands"].items():
        if name not in _BACKGROUND and isinstance(counts, dict):
            found[f"mongod: {name}"] += int(counts.get("total", 0))
    found["mongod: kB in"] += status["network"]["bytesIn"] // 1000
    found["mongod: kB out"] += status["network"]["bytesOut"] // 1000
    found["mongod: kB journal"] += status["wiredTiger"]["log"]["log bytes written"] // 1000
    found["mongod: journal syncs"] += status["wiredTiger"]["log"]["log sync operations"]
    found["mongod: documents changed"] += sum(status["metrics"]["document"][one] for one in ("inserted", "updated"))
    return found


def _operations(machine: Machine, repository: str) -> Counter[str]:
    """Count MongoDB's operations for some tasks, by collection and the fields that are asked for or set."""
    found: Counter[str] = Counter()
    with machine.system.database_client() as client:
        database = client["keruta"]
        database.command("profile", 2)
        running.own(machine, repository, TRACED_TASKS)
        database.command("profile", 0)
        for one in database["system.profile"].find({"ns": {"$ne": "keruta.system.profile"}}):
            command = one.get("command") or one.get("originatingCommand") or {}
            asked = command.get("filter") or command.get("query") or command.get("q") or command.get("pipeline") or ""
            change = command.get("update") or command.get("u") or ""
            shown = f"{_fields(asked)} {'-> ' + _fields(change) if change else ''}"
            kind = next(iter(command), one["op"]) if one["op"] == "command" else one["op"]
            found[f"operation: {one['ns'].split('.', 1)[1]} {kind} {shown}"] += 1
        database["system.profile"].drop()
    return found


def _fields(asked: object) -> str:
    if isinstance(asked, list):
        return "[" + " ".join(_fields(one) for one in asked) + "]"
    if isinstance(asked, dict):
        return " ".join(f"{name}({_fields(value)})" if name.startswith("$") else name for name, value in asked.items())
    return ""


def _processes(machine: Machine, repository: str) -> Counter[str]:
    """The programs that the worker starts for some tasks, and the forks without one."""
    found: Counter[str] = Counter()
    strace = shutil.which("strace")
    if strace is None:
        return found
    out = machine.directory / "trace"
    worker = machine.system.pid_of("worker")
    traced = subprocess.Popen(
        [strace, "-f", "-q", "-s", "80", "-e", "trace=execve,fork,vfork,clone,clone3", "-e", "signal=none",
         "-o", str(out), "-p", str(worker)],
    )  # fmt: skip
    try:
        running.own(machine, repository, TRACED_TASKS)
    finally:
        traced.terminate()
        traced.wait()
    begun: dict[str, str] = {}
    for line in out.read_text(errors="replace").splitlines():
        process = line.partition(" ")[0]
        if "execve(" in line:
            begun[process] = line
        if "execve" in line and line.endswith("= 0"):
            words = re.findall(r'"((?:[^"\\]|\\.)*)"', begun.pop(process, ""))
            found[_shown(words)] += 1
        elif re.search(r"(fork|clone3?)\(?.*= [0-9]+$", line) and "CLONE_THREAD" not in line:
            found["(forks)"] += 1
    return found


def _shown(words: list[str]) -> str:
    """A command line in brief: the program, and Git's own command."""
    program = Path(words[0]).name if words else "?"
    arguments = [word for word in words[2:] if not word.startswith(("-", "/")) and "=" not in word]
    return f"{program} {arguments[0] if arguments else ''}".strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
