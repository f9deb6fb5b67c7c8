"""How a function starts from zero, under functions-framework itself."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

from keruta.adapters.http_client import Http, NoAnswerError
from tests.support.ports import free_port
from tests.support.system import eventually

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
        found = eventually(lambda: _answer(f"http://127.0.0.1:{port}/"), 20, "its first answer")
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


def _answer(url: str) -> dict[str, int] | None:
    with contextlib.suppress(NoAnswerError):
        return Http(5).ask("GET", url).document()
    return None
