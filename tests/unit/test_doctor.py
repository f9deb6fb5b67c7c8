"""Findings of `keruta doctor` and `keruta up` about the fence and mongod on this machine."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec
import pytest

from agent.runners.process.runner import ProcessJobs
from agent.settings import WorkerSettings
from keruta.cli import doctor, up
from keruta.domain.doctor import Finding
from keruta.local.state import Running, State
from keruta.local.system import System

FENCED = b'{"pid": 7, "kind": "bubblewrap", "why": ""}'
NOT_FENCED = b'{"pid": 7, "kind": "none", "why": "bubblewrap: no namespaces here"}'


@pytest.fixture
def state(tmp_path: Path) -> State:
    """A directory of one machine on which a system runs, with process 7 as its worker."""
    state = State(root=tmp_path / ".keruta")
    state.make()
    state.note_running(Running(url="http://127.0.0.1:1", token="t", pid=os.getpid(), processes={"worker": 7}))
    return state


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory of the PATH; it is empty."""
    path = tmp_path / "bin"
    path.mkdir()
    monkeypatch.setenv("PATH", str(path))
    return path


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def fence(state: State) -> Finding:
    (finding,) = doctor._isolation(state)
    return finding


def test_a_worker_without_a_fence_counts_more_than_an_installed_bubblewrap(state: State, path: Path) -> None:
    """A kernel may refuse namespaces to a bubblewrap that is installed."""
    program(path / "bwrap", "true")
    (state.root / "worker/isolation.json").write_bytes(NOT_FENCED)

    found = fence(state)

    assert found.state == "note"
    assert "no namespaces here" in found.what


def test_a_worker_with_a_fence_counts_more_than_a_path_without_bubblewrap(state: State, path: Path) -> None:
    (state.root / "worker/isolation.json").write_bytes(FENCED)

    assert fence(state) == Finding(state="ok", what="the worker puts a fence around each script")


@pytest.mark.parametrize("content", [b"", b"none", FENCED.replace(b"7", b"8")], ids=["empty", "other", "earlier"])
def test_what_an_earlier_worker_wrote_does_not_count(state: State, path: Path, content: bytes) -> None:
    (state.root / "worker/isolation.json").write_bytes(content)

    assert fence(state).what.startswith("bubblewrap is not installed")


def test_without_a_running_system_what_is_installed_counts(state: State, path: Path) -> None:
    (state.root / "worker/isolation.json").write_bytes(FENCED)
    state.note_ended()

    without = fence(state)
    program(path / "bwrap", "true")

    assert without.state == "note"
    assert fence(state).state == "ok"


@pytest.mark.parametrize(("content", "said"), [(FENCED, ""), (NOT_FENCED, "without a fence")])
def test_a_start_says_that_there_is_no_fence(
    state: State, capsys: pytest.CaptureFixture[str], content: bytes, said: str
) -> None:
    before = up._say_no_fence(state)
    (state.root / "worker/isolation.json").write_bytes(content)
    after = up._say_no_fence(state)

    err = capsys.readouterr().err
    assert before is None
    assert after is not None
    assert said in err
    assert bool(said) == bool(err)


def test_a_worker_writes_down_why_it_has_no_fence(state: State) -> None:
    settings = WorkerSettings(worker_dir=state.root / "worker", isolation="none")

    ProcessJobs(settings, None, None, lambda _: None)  # type: ignore[arg-type]

    written = msgspec.json.decode((state.root / "worker/isolation.json").read_bytes())
    assert written == {"pid": os.getpid(), "kind": "none", "why": "KERUTA_ISOLATION is none"}


def test_the_state_directory_is_hidden_from_fenced_scripts(state: State) -> None:
    """Wherever it lies: beneath a directory of the PATH's tools, too."""
    system = System(state, print)
    system._ports = {"broker": 1, "report-status": 2}

    assert system._environment()["KERUTA_PRIVATE_PATHS"] == str(state.root)


@pytest.mark.parametrize(
    ("version", "known"),
    [("v6.0.5", True), ("v6.0.27", False), ("v7.0.27", True), ("v8.0.17", False), ("v8.3.0", False), ("odd", True)],
)
def test_a_mongod_with_a_known_hole_is_named(
    path: Path, monkeypatch: pytest.MonkeyPatch, version: str, known: bool
) -> None:
    monkeypatch.delenv("KERUTA_MONGO_URL", raising=False)
    program(path / "mongod", f"echo 'db version {version}'")

    found = list(doctor._mongod())

    assert found[0].what == f"mongod {version}"
    assert ["CVE-2025-14847" in one.what for one in found[1:]] == [True] * known
