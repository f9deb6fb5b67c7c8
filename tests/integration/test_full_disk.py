"""A disk that is full, under what a script works in or under the results: told as what it is, and gone with its task.

On real small file systems, which only root can mount.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.attempts import Ask, Told, run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")


class Machine:
    """A repository, and a state directory with small file systems in it."""

    def __init__(self, root: Path) -> None:
        self.state = root / "state"
        self.repository = root / "repository"
        self.repository.mkdir()
        for command in (
            ["git", "init", "-q"],
            ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-q", "--allow-empty", "-m", "x"],
        ):
            subprocess.run(command, cwd=self.repository, check=True)
        self.mounts: list[Path] = []

    def mount(self, name: str, size: str) -> None:
        place = self.state / name
        place.mkdir(parents=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(place)], check=False)
        if done.returncode != 0:
            pytest.skip("nothing can be mounted here")
        self.mounts.append(place)

    def run(self, script: str, isolation: str = "auto", **fields: Any) -> Told:
        return run(
            Ask(
                state=str(self.state), repository=self.repository.as_uri(), fields={"script": script, **fields},
                settings={"isolation": isolation},
            )
        )  # fmt: skip


@pytest.fixture
def machine() -> Iterator[Machine]:
    root = Path(tempfile.mkdtemp(dir="/var/tmp"))
    made = Machine(root)
    yield made
    for place in made.mounts:
        # The kernel lets go of a fence's mounts a moment after its last process has ended.
        subprocess.run(["umount", "--lazy", str(place)], check=True)
    shutil.rmtree(root)


def test_a_full_storage_of_results_is_told_and_recovers(machine: Machine) -> None:
    """Files that fit are kept, a partial copy is not; the next task finds the space again."""
    machine.mount("results", "3m")
    script = 'cd "$KERUTA_ARTIFACTS"; echo small >a; head -c 8000000 /dev/zero >big; echo small >c'

    told = machine.run(script)
    again = machine.run('head -c 1500000 /dev/zero >"$KERUTA_ARTIFACTS/fits"')

    assert (told.status, told.reason) == ("failed", "ArtifactsFailed")
    assert "No space left on device" in (told.message or "")
    assert told.artifacts == ["a", "c", "log.gz"]
    assert any("big" in note and "No space left" in note for note in told.notes)
    assert "big" in told.log
    assert (again.status, again.artifacts) == ("succeeded", ["fits", "log.gz"])


@pytest.mark.parametrize("isolation", ["auto", "none"])
@pytest.mark.parametrize("fill", ['head -c 99000000 /dev/zero >"$KERUTA_WORKSPACE/big"', 'yes >"$HOME/big"; exit 7'])
def test_a_full_workspace_is_told_as_such(machine: Machine, isolation: str, fill: str) -> None:
    """Not as a script that somebody killed; and the next task finds the room again."""
    machine.mount("worker", "6m")

    told = machine.run(fill, isolation)
    again = machine.run("echo fine", isolation)

    assert (told.status, told.reason) == ("failed", "SpoolFull")
    assert "full" in (told.message or "")
    assert "killed" not in (told.message or "")
    assert again.status == "succeeded"
