"""How a function starts from zero, under functions-framework itself."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from keruta.adapters.http import Http, NoAnswerError
from tests.support.mongod import free_port

SOURCE = """
import gc, json, functions_framework

while_loading = gc.isenabled()

@functions_framework.http
def looked_at(request):
    return json.dumps({"loading": while_loading, "serving": gc.isenabled(), "kept": gc.get_freeze_count()})
"""


def test_garbage_is_looked_for_once_all_is_loaded_and_never_in_what_was_loaded(tmp_path: Path) -> None:
    source = tmp_path / "main.py"
    source.write_text(SOURCE)
    port = free_port()
    command = [sys.executable, "-m", "functions", "--target=looked_at", f"--source={source}", f"--port={port}"]
    process = subprocess.Popen([*command, "--host=127.0.0.1"])
    try:
        found = _first_answer(f"http://127.0.0.1:{port}/")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()

    assert (found["loading"], found["serving"]) == (False, True)
    assert found["kept"] > 10_000


def test_a_function_loads_nothing_to_ask_others_with_before_it_asks() -> None:
    """create_task's first answer waits for neither urllib3 nor a tracer."""
    code = "import sys, functions.create_task.main; print(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert "pymongo" in loaded
    assert not {"urllib3", "opentelemetry"} & set(loaded)


def _first_answer(url: str) -> dict[str, int]:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            return Http(5).ask("GET", url).document()
        except NoAnswerError:
            time.sleep(0.05)
    pytest.fail("it does not answer")
