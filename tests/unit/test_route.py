"""The route's way to Knative's gateway, which each networking layer names for itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
NAMED = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("knative", "tests/cluster")
    for path in (ROOT / folder).rglob("kustomization.yaml")
    if "/backendRefs" in path.read_text()
)


@pytest.mark.parametrize("path", NAMED)
def test_a_networking_layer_names_its_gateway_for_each_function(path: str) -> None:
    """A rule that is left out sends to a Service that is nowhere."""
    rules = yaml.safe_load((ROOT / "knative/base/route.yaml").read_text())["spec"]["rules"]
    to_gateway = {
        number
        for number, rule in enumerate(rules)
        if any(one["name"] == "knative-gateway" for one in rule.get("backendRefs", []))
    }

    patched = {int(found) for found in re.findall(r"/spec/rules/(\d+)/backendRefs", (ROOT / path).read_text())}

    assert patched == to_gateway
