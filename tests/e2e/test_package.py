"""keruta installed as a package, away from a checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.support.repositories import make_repository

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `keruta` of a new environment that has the wheel; its dependencies come from this environment."""
    directory = tmp_path_factory.mktemp("package")
    source = directory / "source"  # a build leaves files beside what it builds
    for part in ("keruta", "functions", "agent", "admin", "knative"):
        shutil.copytree(PROJECT / part, source / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    own = ["--no-deps", "--no-index"]
    subprocess.run([*pip, "wheel", *own, "--no-build-isolation", "-w", directory, source], check=True)
    shutil.rmtree(source)
    venv.create(directory / "venv", with_pip=False, symlinks=True)
    python = directory / "venv" / "bin" / "python"
    subprocess.run([*pip, "--python", python, "install", *own, *directory.glob("keruta-*.whl")], check=True)
    (packages,) = (directory / "venv").glob("lib/python3*/site-packages")
    dependencies = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "dependencies.pth").write_text("".join(f"{path}\n" for path in dependencies))
    gunicorn = directory / "venv" / "bin" / "gunicorn"
    gunicorn.write_text(f"#!{python}\nimport sys\nfrom gunicorn.app.wsgiapp import run\nsys.exit(run())\n")
    gunicorn.chmod(0o755)
    return directory / "venv" / "bin" / "keruta"


def test_a_package_runs_a_first_task_away_from_a_checkout(program: Path, tmp_path: Path) -> None:
    """The manifests and everything else that it needs are in the package, and no advice names make."""
    repository = tmp_path / "mine"
    make_repository(tmp_path / "bare.git")
    subprocess.run(["git", "clone", "-q", tmp_path / "bare.git", repository], check=True)
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("KERUTA_", "PYTHON"))}
    done = subprocess.run(
        [program, "up", "--first-task", "--once"],
        cwd=repository, env=environ, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r"^succeeded in", done.stdout + done.stderr, re.MULTILINE)
    logs = "\n".join(path.read_text(errors="replace") for path in (repository / ".keruta" / "log").iterdir())
    assert str(PROJECT) not in logs + done.stderr
    assert "make " not in done.stderr


def test_advice_names_what_a_package_has(program: Path, tmp_path: Path) -> None:
    """If no keruta runs, the advice is a command that is installed."""
    done = subprocess.run([program, "list"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "`keruta up`" in done.stderr
