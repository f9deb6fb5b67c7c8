"""The shipped NetworkPolicies, held against the addresses where clouds give out a machine's own rights."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import pytest
import yaml

NETWORK = Path(__file__).parents[2] / "knative" / "base" / "network.yaml"
METADATA = {
    "AWS, Google, Azure, Oracle, OpenStack, DigitalOcean": "169.254.169.254",
    "ECS": "169.254.170.2",
    "EKS Pod Identity": "169.254.170.23",
    "Alibaba": "100.100.100.200",
    "Azure's agent": "168.63.129.16",
    "AWS, IPv6": "fd00:ec2::254",
    "EKS Pod Identity, IPv6": "fd00:ec2::23",
    "Google, IPv6": "fd20:ce::254",
    "Scaleway, IPv6": "fd00:42::42",
    "link-local, IPv6": "fe80::a9fe:a9fe",
    "OpenStack, IPv6": "fe80::a9fe:a9fe",
}


def forms(address: str) -> list[str]:
    """An IPv4 address, and the IPv6 addresses that translate to it; an IPv6 address alone."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return [address]
    nat64 = int(ipaddress.ip_address("64:ff9b::")) + int(parsed)
    own = int(ipaddress.ip_address("64:ff9b:1::")) + int(parsed)
    six_to_four = (0x2002 << 112) + (int(parsed) << 80) + 1
    return [address, *(str(ipaddress.IPv6Address(one)) for one in (nat64, own, six_to_four))]


def policy(name: str) -> dict[str, Any]:
    documents = yaml.safe_load_all(NETWORK.read_text())
    spec: dict[str, Any] = next(one["spec"] for one in documents if one["metadata"]["name"] == name)
    return spec


def reaches(name: str, address: str, port: int) -> bool:
    """Return whether a policy lets its Pods reach an address outside the cluster's Pods."""
    parsed = ipaddress.ip_address(address)
    for rule in policy(name)["egress"]:
        if "ports" in rule and port not in {one["port"] for one in rule["ports"]}:
            continue
        for block in (peer["ipBlock"] for peer in rule["to"] if "ipBlock" in peer):
            network = ipaddress.ip_network(block["cidr"])
            inside = parsed.version == network.version and parsed in network
            excepted = any(parsed in ipaddress.ip_network(one) for one in block.get("except", []))
            if inside and not excepted:
                return True
    return False


@pytest.mark.parametrize("name", ["job-open", "job-closed"])
@pytest.mark.parametrize("whose", METADATA)
def test_no_job_reaches_a_metadata_address_in_any_form(name: str, whose: str) -> None:
    assert [form for form in forms(METADATA[whose]) if reaches(name, form, 80)] == []


def test_an_open_job_reaches_the_internet_and_a_closed_one_does_not() -> None:
    for address in ("93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822"):
        assert reaches("job-open", address, 443)
        assert not reaches("job-closed", address, 443)


def test_a_dns_cache_on_the_node_is_reached_for_dns_alone() -> None:
    for name in ("job-open", "job-closed"):
        assert reaches(name, "169.254.20.10", 53)
        assert not reaches(name, "169.254.20.10", 80)


def test_exceptions_lie_within_their_block() -> None:
    """The API server refuses others."""
    for rule in policy("job-open")["egress"]:
        for block in (peer["ipBlock"] for peer in rule["to"]):
            for one in block.get("except", []):
                inner: Any = ipaddress.ip_network(one)
                assert inner.subnet_of(ipaddress.ip_network(block["cidr"]))
