"""Programs in processes forked from one that has loaded their code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from keruta.local.preloaded import Forked
from keruta.local.supervisor import Child, Supervisor

SAYS = """
import json, os, sys
print(json.dumps({"argv": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd(), "name": __name__,
                  "open": sorted(int(one) for one in os.listdir("/proc/self/fd"))[:4], "session": os.getsid(0)}))
print("to errors", file=sys.stderr)
"""
Start = Callable[..., Forked]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Start the text of a module in a forked process; it writes to the file `out`."""

    def started(text: str, *arguments: str, env: dict[str, str] | None = None) -> Forked:
        (tmp_path / "a_program.py").write_text(text)
        with (tmp_path / "out").open("ab") as out:
            return Forked(
                ["a_program", *arguments], env=env or {}, cwd=tmp_path, out=out.fileno(), prepare=lambda: None
            )

    return started


def test_a_module_runs_as_a_program(start: Start, tmp_path: Path) -> None:
    """With its own arguments, environment, directory, session and streams, and no other file open."""
    made = start(SAYS, "--one", "2", env={"ONLY": "this"})

    assert made.wait(30) == 0
    first, second = (tmp_path / "out").read_text().splitlines()
    said = json.loads(first)
    assert said["argv"] == ["--one", "2"]
    assert said["env"].items() >= {"ONLY": "this"}.items()
    assert "HOME" not in said["env"]
    assert (said["cwd"], said["name"], said["session"]) == (str(tmp_path), "__main__", made.pid)
    assert said["open"][:3] == [0, 1, 2]
    assert len(said["open"]) == 4, "what lists the directory is the only other one"
    assert second == "to errors"


@pytest.mark.parametrize(
    ("text", "code"), [("", 0), ("import sys; sys.exit(3)", 3), ("raise SystemExit('why')", 1), ("1 / 0", 1)]
)
def test_how_it_ended_is_known(start: Start, tmp_path: Path, text: str, code: int) -> None:
    assert start(text).wait(30) == code
    assert ("ZeroDivisionError" in (tmp_path / "out").read_text()) == (text == "1 / 0")


def test_it_ends_by_a_signal_whatever_this_process_does_about_it(start: Start) -> None:
    """Also where this process handles the signal; and nothing registered here for the end is run there."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        made = start("import time; time.sleep(60)")
        with pytest.raises(subprocess.TimeoutExpired):
            made.wait(0.3)
        assert made.poll() is None
        made.terminate()
        assert made.wait(30) == -signal.SIGTERM
        made.terminate()
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("what", ["first", "again", "threads"])
def test_only_at_the_start_and_without_threads_is_a_copy_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A copy of a process has one thread, finds locked what the others held, and closes what was open."""
    monkeypatch.setattr("keruta.local.supervisor.THREADS_END_SECONDS", 0.0)
    monkeypatch.setattr("threading.active_count", lambda: 2 if what == "threads" else 1)
    (tmp_path / "a_program.py").write_text("print('said')")
    child = Child(
        name="a", command=[sys.executable, "-m", "a_program"], env=dict(os.environ), log=tmp_path / "log", cwd=tmp_path,
        forked=True,
    )  # fmt: skip
    supervisor = Supervisor(lambda _: None)
    supervisor.start(child)
    assert child.process is not None
    assert child.process.wait(30) == 0
    if what == "again":
        child.again_at = 1.0
        supervisor.look()
        assert child.process.wait(30) == 0

    assert isinstance(child.process, Forked if what == "first" else subprocess.Popen)
    assert (tmp_path / "log").read_text() == "said\n" * (2 if what == "again" else 1)
