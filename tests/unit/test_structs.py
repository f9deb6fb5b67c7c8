"""Structs from JSON and plain data, in several threads at once."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]

# Each run is a new process, since a type is prepared once. Without the lock nearly every run is a segmentation fault.
AT_ONCE = """
import random, sys, threading, time
import keruta.client
import msgspec
from keruta.domain.task import TaskPage, TaskView
from keruta.structs import from_json, from_plain

sys.setswitchinterval(1e-4)
at = "2026-01-01T00:00:00Z"
task = {
    "id": "01m8cwvd6dxmjjges9xbjy6mrg", "status": "queued", "submitted_at": at, "script": "x",
    "repository": {"url": "https://example.com/a"}, "history": [{"status": "queued", "at": at}],
}
given = [(kind, value, msgspec.json.encode(value)) for kind, value in ((TaskView, task), (TaskPage, {"items": [task]}))]
barrier = threading.Barrier(24)

def use(number):
    kind, value, encoded = given[number % 2]
    barrier.wait()
    time.sleep(random.random() * 0.01)
    for make, source in ((from_json, encoded), (from_plain, value)) * 2:
        try:
            make(source, kind)
        except msgspec.ValidationError:
            pass

threads = [threading.Thread(target=use, args=(number,)) for number in range(24)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_the_first_use_of_a_type_in_many_threads_ends_no_process() -> None:
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", AT_ONCE], cwd=PROJECT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("part", ["keruta", "functions", "agent", "admin"])
def test_everything_decodes_into_types_by_this_module(part: str) -> None:
    direct = [
        f"{path.relative_to(PROJECT)}:{node.lineno}"
        for path in (PROJECT / part).rglob("*.py")
        if path != PROJECT / "keruta" / "structs.py"
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Call) and _decodes_into_a_type(node)
    ]
    assert not direct, "use keruta.structs.from_json or from_plain"


def _decodes_into_a_type(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    if name == "msgspec.json.decode":
        return bool(call.keywords) or len(call.args) > 1
    return name in ("msgspec.convert", "msgspec.json.Decoder", "msgspec.yaml.decode", "msgspec.msgpack.decode")
