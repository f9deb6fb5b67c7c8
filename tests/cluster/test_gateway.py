"""The gateway of a real cluster keeps the contract that the router of one machine keeps: Contour and Envoy, with the
shipped route, and an echo on this machine behind it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.cluster import GATEWAY, LAB, NODE, eventually, gateway_running
from tests.support.echo import Echo
from tests.support.gateway_contract import Gateway, GatewayContract

BASE = Path(__file__).parents[2] / "knative" / "base"
NAMESPACE = "gateway-contract"
HOST = "gateway-contract.example.com"
ADDRESS = (NODE, int(GATEWAY.rpartition(":")[2]))


def documents(port: int) -> list[dict[str, Any]]:
    """The shipped route, under a name of its own, with the echo in place of both of its backends."""
    route = yaml.safe_load((BASE / "route.yaml").read_text())
    route["metadata"]["namespace"] = NAMESPACE
    route["spec"] |= {"hostnames": [HOST], "parentRefs": [{"name": "contour", "namespace": "projectcontour"}]}
    made: list[dict[str, Any]] = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, route]
    for rule in route["spec"]["rules"]:
        for backend in rule.get("backendRefs", []):
            metadata = {"name": backend["name"], "namespace": NAMESPACE}
            slice_ = {**metadata, "labels": {"kubernetes.io/service-name": backend["name"]}}
            made += [
                {"apiVersion": "v1", "kind": "Service", "metadata": metadata,
                 "spec": {"ports": [{"name": "http", "port": 80, "targetPort": port}]}},
                {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": slice_,
                 "addressType": "IPv4",
                 "ports": [{"name": "http", "port": port}], "endpoints": [{"addresses": [NODE]}]},
            ]  # fmt: skip
    return made


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    if not LAB.exists():
        pytest.skip("SKIPPED LOUDLY: no lab beside this checkout; set KERUTA_LAB to its command to try the gateway")
    with gateway_running() as kubectl, Echo(NODE) as made:
        try:
            listed = {"apiVersion": "v1", "kind": "List", "items": documents(made.port)}
            kubectl("apply", "-f", "-", stdin=json.dumps(listed))
            asked = Gateway(ADDRESS, HOST, made)
            eventually("the route", lambda: asked.ask("GET", "/x").status == 200, 180)
            eventually("the route", lambda: asked.ask("POST", "/api/v1/tasks").status == 200, 180)
            yield made
        finally:
            kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture
def gateway(echo: Echo) -> Gateway:
    echo.reset()
    return Gateway(ADDRESS, HOST, echo)


class TestGateway(GatewayContract):
    """Each fact of the contract, on Envoy."""
