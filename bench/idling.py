"""CPU and memory of the whole system while nothing happens."""

from __future__ import annotations

import time

import psutil

from bench.figure import Figure, median
from bench.machine import Machine

SECONDS = 10
ROUNDS = 3


def measure(machine: Machine) -> dict[str, Figure]:
    machine.settle()
    cpu = []
    for _ in range(ROUNDS):
        before = machine.cpu_seconds()
        began = time.perf_counter()
        time.sleep(SECONDS)
        cpu.append((machine.cpu_seconds() - before) / (time.perf_counter() - began) * 100)
    by_name: dict[str, float] = {}
    names = {pid: name for name, pid in machine.system.state.running().processes.items()}  # type: ignore[union-attr]
    for process in machine.system.processes():
        name = names.get(process.pid) or names.get(process.ppid(), process.name())
        by_name[name] = by_name.get(name, 0) + _pss(process)
    print("  memory, MiB: " + ", ".join(f"{name} {size:.0f}" for name, size in sorted(by_name.items())))
    memory = sum(size for name, size in by_name.items() if name != "mongod")
    return {
        "idle_cpu_percent": median(cpu, "% of a core, all processes"),
        "idle_memory_mib": median([memory], "MiB (PSS), all processes but mongod"),
    }


def _pss(process: psutil.Process) -> float:
    """The memory that is a process's own, and its share of what it shares."""
    return float(process.memory_full_info().pss) / 1024**2
