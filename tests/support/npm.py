"""Descriptions that GitHub publishes on npm, at fixed versions: installed once into a cache outside the repository."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

VERSIONS = {"@octokit/webhooks-examples": "7.6.1", "@octokit/openapi": "23.0.2"}
INSTALL_SECONDS = 90


def cache() -> Path:
    return Path(os.environ.get("KERUTA_TEST_NPM", "/var/tmp/keruta-test-npm"))


def document(package: str, file: str) -> Any:
    """Return a JSON document of a package. Skips the test, loudly, where it can't be installed."""
    target = cache() / f"{package.removeprefix('@').replace('/', '-')}-{VERSIONS[package]}"
    target.mkdir(parents=True, exist_ok=True)
    found = target / "node_modules" / package / file
    with (target / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.exists():
            _install(f"{package}@{VERSIONS[package]}", target)
            for other in found.parent.glob("*.json"):  # some 300 MB of other servers' versions
                if other != found and other.name != "package.json":
                    other.unlink()
    return json.loads(found.read_text())


def _install(what: str, target: Path) -> None:
    (target / "package.json").write_text('{"name": "cache", "private": true}')
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", what]
    try:
        subprocess.run(command, cwd=target, check=True, capture_output=True, timeout=INSTALL_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"SKIPPED LOUDLY: no {what} from npm ({type(error).__name__}): NOT tested against it")
