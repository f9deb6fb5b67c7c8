"""The real coding agents, at the versions that keruta names: installed once into a cache outside the repository.

`python -m tests.support.coding_agents` installs what is missing; tests say loudly that they are skipped where one is
not there. The cache is `$KERUTA_TEST_AGENTS`, or a directory beside this machine's temporary files.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from agent.coding_agents.adapter import versions

NPM = {"claude": ("@anthropic-ai/claude-code", "CLAUDE_CODE_VERSION"), "codex": ("@openai/codex", "CODEX_VERSION")}
LOCK = Path(__file__).parents[2] / "knative/aider.lock"


def cache() -> Path:
    """Return the directory of the installed coding agents. A fence must not hide it, so it is outside every home."""
    return Path(os.environ.get("KERUTA_TEST_AGENTS", "/var/tmp/keruta-test-agents"))


def place(program: str) -> Path:
    """The directory of one, by its version."""
    variable = NPM[program][1] if program in NPM else "AIDER_VERSION"
    return cache() / f"{program}-{versions()[variable]}"


def programs(program: str) -> Path:
    """The directory to put on the PATH; skips the test where it is not installed."""
    if not (place(program) / "installed").exists():
        said = f"{program} is not installed: it is NOT tested; run python -m tests.support.coding_agents"
        warnings.warn(said, stacklevel=2)
        pytest.skip(said)
    return place(program) / "bin"


def install(program: str) -> None:
    """Install one where it is missing. Raises CalledProcessError."""
    target = place(program)
    if (target / "installed").exists():
        return
    shutil.rmtree(target, ignore_errors=True)
    (target / "bin").mkdir(parents=True)
    if program in NPM:
        _install_npm(program, target)
    else:
        _run(sys.executable, "-m", "venv", target / "venv")
        pip = target / "venv/bin/python"
        _run(pip, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--require-hashes", "-r", LOCK)
        (target / "bin/aider").symlink_to("../venv/bin/aider")
    (target / "installed").touch()


def _install_npm(program: str, target: Path) -> None:
    package, variable = NPM[program]
    (target / "package.json").write_text('{"name": "cache", "private": true}')
    _run(
        "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", f"{package}@{versions()[variable]}", at=target
    )
    found = target / "node_modules/.bin" / program
    if program == "claude":  # its own step copies this program to the place of the other, which npm may not let it do
        (machine,) = target.glob("node_modules/@anthropic-ai/claude-code-linux-*/claude")
        found = machine
    (target / "bin" / program).symlink_to(os.path.relpath(found, target / "bin"))


def _run(*words: object, at: Path | None = None) -> None:
    subprocess.run([str(word) for word in words], cwd=at, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    cache().mkdir(mode=0o755, parents=True, exist_ok=True)
    for one in ("claude", "codex", "aider"):
        install(one)
