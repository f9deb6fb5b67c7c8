"""Signed statements on a whole keruta: asked for on the command line, signed by the tick, verified offline."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.support.system import KERUTA, RunningSystem, eventually

SCRIPT = 'echo built > "$KERUTA_ARTIFACTS/out.txt"'


def test_a_statement_is_verified_with_the_keys_alone(system: RunningSystem, repository: str, tmp_path: Path) -> None:
    """A change of its artifact is noticed, and a new key of the machine leaves the earlier statement good."""

    def keruta(*words: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "HOME": str(tmp_path), "KERUTA_HOME": str(home or system.state.root)}
        return subprocess.run([*KERUTA, *words], env=env, capture_output=True, text=True, check=False)

    script, statement, keys, artifact = (
        tmp_path / name for name in ("script", "statement.json", "keys.pem", "out.txt")
    )
    script.write_text(SCRIPT)
    ran = keruta("run", "--repo", repository, "--script", str(script), "--provenance", "--follow", "--json")
    assert ran.returncode == 0, ran.stderr
    task = system.client.tasks(limit=1).items[0].id

    def shown() -> str | None:
        found = keruta("provenance", "show", task)
        return found.stdout if found.returncode == 0 else None

    statement.write_text(eventually(shown, what="the statement", pause=0.5))
    keys.write_text(keruta("provenance", "keys").stdout)
    artifact.write_text("built\n")
    rotated = keruta("provenance", "rotate-key")

    asked = ("verify", str(statement), "--artifact", str(artifact))
    offline = keruta(*asked, "--key", str(keys), "--json", home=tmp_path / "nowhere")
    artifact.write_text("forged\n")

    assert rotated.returncode == 0, rotated.stderr
    assert offline.returncode == 0, offline.stderr
    said: dict[str, Any] = json.loads(offline.stdout)
    assert said["predicate"]["runDetails"]["builder"]["id"] == system.running.url
    assert keruta(*asked).returncode != 0
    assert keruta("verify", str(statement)).returncode == 0
