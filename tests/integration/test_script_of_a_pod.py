"""The shell program of a script's container, run as it is in a Pod."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from tests.support.system import eventually

START = Path(__file__).parents[2] / "agent" / "attempt" / "start.sh"


def test_a_script_that_ignores_its_pods_end_is_killed_while_its_agent_has_time(tmp_path: Path) -> None:
    """Else it would go on until the Pod is gone, and its agent with it."""
    given, control = tmp_path / "given", tmp_path / "control"
    for directory in (given, control, tmp_path / "home"):
        directory.mkdir()
    subprocess.run(["mkfifo", str(control / "stdin")], check=True)
    (given / "script").write_text(f"trap '' TERM\n: >{tmp_path}/begun\nwhile :; do sleep 0.1; done\n")
    (given / "go").touch()
    environment = {
        "PATH": "/usr/bin:/bin", "HOME": str(tmp_path / "home"), "KERUTA_WORKSPACE": str(tmp_path),
        "KERUTA_WATCH_STOP": "1", "KERUTA_LAST_LOOKS": "3",
    }  # fmt: skip
    with subprocess.Popen(["sh", str(START), str(given), str(control), "script"], env=environment) as running:
        try:
            eventually(lambda: (tmp_path / "begun").exists())
            running.send_signal(signal.SIGTERM)

            assert running.wait(timeout=20) == 137
        finally:
            running.kill()

    assert "script 137" in (control / "exit").read_text()
