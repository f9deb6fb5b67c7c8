"""Statements of the documentation about the code are true."""

from __future__ import annotations

import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from docs.generate import GENERATED, IDENTITY, REFERENCE, STATES, identity, states
from keruta.cli.commands import cli

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_generated_page_is_up_to_date() -> None:
    """`make docs` writes it."""
    assert STATES.read_text() == states()
    assert IDENTITY.read_text() == identity()
    for name, page in GENERATED.items():
        assert (REFERENCE / name).read_text() == page(), name


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """To files of the repository, and to headings in them."""
    for target, heading in re.findall(r"\]\((?!https:)([^)#]*)(?:#([^)]*))?\)", page.read_text()):
        file = page.parent / target if target else page
        assert file.exists(), target
        assert not heading or heading in _headings(file), f"{target}#{heading}"


def _headings(page: Path) -> set[str]:
    """The names that forges give to a page's headings."""
    lines = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


def test_modules_that_the_architecture_names_exist() -> None:
    """Modules and names in them, folders and files."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    names = re.findall(r"`((?:keruta|agent|admin)(?:\.\w+)+)`", text)
    paths = re.findall(r"`((?:keruta|agent|admin|functions|knative)/[\w/.]*)`", text)

    assert len(names) > 30
    for name in names:
        pkgutil.resolve_name(name)
    for path in paths:
        assert (ROOT / path).exists(), path


def test_tests_that_the_threat_model_names_exist() -> None:
    """`file::name` below tests/, or a file alone; and each module that it names."""
    text = (ROOT / "docs" / "security.md").read_text()
    named = re.findall(r"`(\w+/test_\w+\.py)(?:::(\w+))?`", text)

    assert len(named) > 50
    for file, name in named:
        path = ROOT / "tests" / file
        assert path.exists(), file
        assert not name or re.search(rf"^def {name}\(", path.read_text(), re.MULTILINE), f"{file}::{name}"
    for path in re.findall(r"`((?:agent|keruta|admin|knative)/[\w/.]+)`", text):
        assert (ROOT / path).exists(), path


def test_commands_and_targets_that_the_readme_names_exist() -> None:
    text = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = set(cli.commands)

    assert set(re.findall(r"make ([a-z-]+)", text)) <= targets
    named = re.findall(r"keruta (run|list|show|logs|artifacts|cancel|retry|accept|input|doctor|env)\b", text)
    assert set(named) <= commands
    assert {"run", "list", "show", "logs", "cancel", "retry", "input", "artifacts", "doctor", "env"} <= commands


def test_what_contributors_are_told_to_use_is_there() -> None:
    """Targets, folders and files that CONTRIBUTING.md names."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"make ([a-z-]+)", text)) <= targets
    for path in re.findall(r"`((?:keruta|agent|admin|tests|docs|knative)/[\w./-]*)`", text):
        assert (ROOT / path).exists(), path


def test_every_command_explains_itself() -> None:
    for name in cli.commands:
        done = CliRunner().invoke(cli, [name, "--help"])
        assert done.exit_code == 0
        assert len(done.output.splitlines()) > 3


def test_the_site_has_no_dead_link_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    """The site is built in strict mode; readers without a network see all of it."""
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", tmp_path],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    loading = r"<(?:script|img|link|iframe)\b[^>]*\b(?:src|href)=\"(?:https?:)?//[^\"]*\""
    pages = sorted(tmp_path.rglob("*.html"))
    assert len(pages) > 25
    assert {path.name: found for path in pages if (found := re.findall(loading, path.read_text()))} == {}
