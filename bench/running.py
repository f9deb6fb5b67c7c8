"""Whole tasks, beside a bare loop: `xargs -P2` around a shallow clone and the same script."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from resource import RUSAGE_CHILDREN, getrusage

from bench.figure import Figure, median
from bench.machine import SCRIPT, Machine

TASKS = 200
ROUNDS = 3
IDLE_ROUNDS = 15
STAMPED = "date +%s%N\n" + SCRIPT

_LOOP = """
set -e
d={directory}/loop/$1
git clone -q --depth 1 {repository} "$d/w"
cd "$d/w"
sh {script} > "$d/log" 2>&1 && code=0 || code=$?
echo $code > "$d/exit"
cd / && rm -rf "$d/w"
"""


def measure(machine: Machine) -> dict[str, Figure]:
    """The figures for a Git server over HTTP; with `local_` before their names, for a repository of this machine."""
    figures = _beside_the_loop(machine, machine.repository, "")
    return figures | _beside_the_loop(machine, machine.local_repository, "local_")


def _beside_the_loop(machine: Machine, repository: str, prefix: str) -> dict[str, Figure]:
    warm(machine, repository)
    throughput, cpu, loops = [], [], []
    for _ in range(ROUNDS):
        loop_seconds, loop_cpu = loop(machine, repository)
        own_seconds, own_cpu = own(machine, repository)
        loops.append(loop_seconds)
        throughput.append(loop_seconds / own_seconds)
        cpu.append(own_cpu / loop_cpu)
        print(
            f"  {prefix}{TASKS} tasks: loop {loop_seconds:.2f} s, {loop_cpu / TASKS * 1000:.0f} ms CPU each; "
            f"keruta {own_seconds:.2f} s, {own_cpu / TASKS * 1000:.0f} ms"
        )
    machine.settle()
    bare = [first_line_bare(machine, repository) for _ in range(IDLE_ROUNDS)]
    submitted = [first_line(machine, repository) for _ in range(IDLE_ROUNDS)]
    base = median(bare, "ms").value
    print(f"  {prefix}first line: loop {base:.0f} ms, keruta {median(submitted, 'ms').value:.0f} ms")
    return {
        f"{prefix}throughput_ratio": median(throughput, "loop's time / keruta's"),
        f"{prefix}cpu_ratio": median(cpu, "keruta's CPU / loop's"),
        f"{prefix}loop_seconds": median(loops, "s for 200 tasks"),
        f"{prefix}idle_overhead_ms": median([value - base for value in submitted], "ms, p50, over the loop's p50"),
    }


def warm(machine: Machine, repository: str) -> None:
    """Run a few tasks, so that caches are filled and programs compiled."""
    for _ in range(4):
        machine.system.ended(machine.system.submit(repository, SCRIPT))


def loop(machine: Machine, repository: str, tasks: int = TASKS) -> tuple[float, float]:
    """The bare loop; returns seconds and CPU seconds, the Git server's among them."""
    directory = machine.directory / "loop"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    (machine.directory / "script.sh").write_text(SCRIPT)
    one = machine.directory / "one.sh"
    one.write_text(
        _LOOP.format(directory=machine.directory, repository=repository, script=machine.directory / "script.sh")
    )
    numbers = "".join(f"{n}\n" for n in range(tasks)).encode()
    cpu = machine.cpu_seconds(with_system=False) + _children()
    began = time.perf_counter()
    make = f"mkdir {directory}/$1 && sh {one} $1"
    subprocess.run(["xargs", "-P2", "-I{}", "sh", "-c", make, "-", "{}"], input=numbers, check=True)
    for number in range(tasks):
        assert "line 19" in (directory / str(number) / "log").read_text()
        assert (directory / str(number) / "exit").read_text() == "0\n"
    return time.perf_counter() - began, machine.cpu_seconds(with_system=False) + _children() - cpu


def own(machine: Machine, repository: str, tasks: int = TASKS) -> tuple[float, float]:
    """The same by keruta: from the first submit to the last result read back by its identity."""
    cpu = machine.cpu_seconds()
    client = machine.system.client
    body = {"repository": {"url": repository}, "script": SCRIPT}
    began = time.perf_counter()
    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(lambda _: client.submit(body).id, range(tasks)))
    for task_id in ids:
        while (task := client.task(task_id)).status != "succeeded":
            assert task.status not in ("failed", "cancelled"), task.message
            time.sleep(0.1)
        assert task.exit_code == 0
        assert b"line 19" in b"".join(client.logs(task_id))
    return time.perf_counter() - began, machine.cpu_seconds() - cpu


def _children() -> float:
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def first_line_bare(machine: Machine, repository: str) -> float:
    """Return the milliseconds from nothing to the script's first line, as the loop does it."""
    target = machine.directory / "first"
    shutil.rmtree(target, ignore_errors=True)
    script = machine.directory / "stamped.sh"
    script.write_text(STAMPED)
    began = time.time_ns()
    command = f"git clone -q --depth 1 {repository} {target} && cd {target} && sh {script}"
    out = subprocess.run(["sh", "-c", command], capture_output=True, check=True).stdout
    time.sleep(0.2)
    return (int(out.split()[0]) - began) / 1e6


def first_line(machine: Machine, repository: str) -> float:
    """Return the milliseconds from the submit to the script's first line on an idle system."""
    began = time.time_ns()
    task_id = machine.system.submit(repository, STAMPED)
    machine.system.ended(task_id)
    match = re.search(r"^(\d{19})$", machine.system.text(task_id), re.MULTILINE)
    assert match is not None
    time.sleep(0.3)
    return (int(match[1]) - began) / 1e6
