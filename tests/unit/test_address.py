"""Addresses of repositories: which are the same, and to which a credential may be sent."""

from __future__ import annotations

import pytest

from keruta.domain.address import host_fault, may_be_sent, same_address
from keruta.domain.repository import branch_fault, ref_names, url_fault

SAME = [
    ["https://git.example.com/team/app", "https://GIT.example.com/team/app.git", "HTTPS://git.example.com:443/team/app/",
     "https://git.example.com./team/app.git/", "https://git.example.com//team/./x/../app", "https://git.example.com/t%65am/app"],
    ["git@git.example.com:team/app.git", "ssh://git@git.example.com/team/app", "ssh://git.example.com:22/team/app.git/",
     "other@GIT.example.com:team/app"],
    ["http://[::1]:8080/a.git", "http://[::1]:8080/a/"],
    ["file:///srv/git/a.git", "file:///srv//git/a"],
]  # fmt: skip


@pytest.mark.parametrize("group", SAME)
def test_one_address_has_many_ways_to_write_it(group: list[str]) -> None:
    """Case of the host, default port, user name, final slash and .git, dots and escapes make no difference."""
    assert len({same_address(url) for url in group}) == 1


def test_different_addresses_stay_different() -> None:
    """Another scheme, port, host, path or case of the path is another address."""
    urls = [
        "https://git.example.com/team/app", "http://git.example.com/team/app", "ssh://git.example.com/team/app",
        "https://git.example.com:8443/team/app", "https://git.example.org/team/app", "https://git.example.com/team/App",
        "https://git.example.com/team/app2", "https://git.example.com/team", "not an address",
        "https://[2001:db8::1]:8443/team/app", "https://[2001:db8::1:8443]/team/app",
    ]  # fmt: skip
    assert len({same_address(url) for url in urls}) == len(urls)


@pytest.mark.parametrize(
    ("host", "url", "allowed"),
    [
        ("git.example.com", "https://git.example.com/a", True),
        ("git.example.com", "git@git.example.com:a", True),
        ("GIT.example.com", "https://git.EXAMPLE.com:443/a", True),
        ("git.example.com", "http://git.example.com/a", False),
        ("git.example.com", "https://git.example.com:8443/a", False),
        ("git.example.com", "https://git.example.com.evil.org/a", False),
        ("git.example.com", "https://evil.org/git.example.com", False),
        ("git.example.com", "https://git.example.com@evil.org/a", False),
        ("git.example.com", "https://sub.git.example.com/a", False),
        ("git.example.com:8443", "https://git.example.com:8443/a", True),
        ("git.example.com:8443", "https://git.example.com/a", False),
        ("https://git.example.com/team", "https://git.example.com/team/app.git", True),
        ("https://git.example.com/team/", "https://git.example.com/team", True),
        ("https://git.example.com/team", "https://git.example.com/team-evil/app", False),
        ("https://git.example.com/team", "https://git.example.com/team/../evil/app", False),
        ("https://git.example.com/team", "https://git.example.com/team/%2e%2e/evil", False),
        ("https://git.example.com/team", "ssh://git.example.com/team/app", False),
        ("http://git.example.com", "http://git.example.com/a", True),
        ("file:///srv/git", "file:///srv/git/a.git", True),
        ("file:///srv/git", "file:///srv/other", False),
        ("[::1]:8080", "http://[::1]:8080/a", True),
    ],
)
def test_a_credential_is_sent_to_its_hosts_only(host: str, url: str, allowed: bool) -> None:
    """A host stands for encrypted transports on their own ports; a prefix ends between two parts of the path."""
    assert may_be_sent([host], url) is allowed


# Hosts that Python (IDNA 2003), curl (IDNA 2008, UTS 46) and people take for different ones.
UNCLEAR = ["stra\u00dfe.example", "\u03c2.example", "git\u200d.example.com", "git\u200c.example.com",
           "git%2eexample.com", "\uff27\uff29\uff34.example.com", "git\u3002example.com", "git\u00ad.example.com",
           "[fe80::1%25eth0]",
           "e\u0301.example", "\u017fs.example", "a..\u00fc"]  # fmt: skip


@pytest.mark.parametrize("host", UNCLEAR)
def test_a_host_that_programs_take_for_different_servers_is_refused(host: str) -> None:
    """As a repository's address, as a credential's host, and as an address that a credential would be sent to."""
    url = f"https://{host}/team/app"

    assert url_fault(url) is not None
    assert host_fault(host)
    assert host_fault(f"https://{host}/team")
    for known in ("strasse.example", "git.example.com", "ss.example", host, f"https://{host}"):
        assert not may_be_sent([known], url)


def test_an_international_host_is_the_same_in_both_its_forms() -> None:
    """A name for which the rules agree stays usable."""
    url = "https://B\u00dcCHER.example/team/app"

    assert url_fault(url) is None
    assert may_be_sent(["xn--bcher-kva.example"], url)
    assert may_be_sent(["b\u00fccher.example"], "https://xn--bcher-kva.example/team/app")


@pytest.mark.parametrize("host", ["", "https://", "git.example.com/team", "user@git.example.com", "a b", "ftp://x.org",
                                  "https://u@x.org/a", "https://x.org/a?b", "x.org:99999", "x.org:0"])  # fmt: skip
def test_a_malformed_host_is_a_fault(host: str) -> None:
    """A text without a host, or with more than a host or an address prefix, is refused."""
    assert host_fault(host)


@pytest.mark.parametrize(
    ("pattern", "url", "allowed"),
    [
        ("https://git.example.com", "https://git.example.com/a", True),
        ("https://git.example.com/", "https://git.example.com/a", True),
        ("https://git.example.com", "http://git.example.com:443/a", False),
        ("https://git.example.com:8443", "https://git.example.com/a", False),
        ("https://git.example.com/team", "https://git.example.com/teams", False),
    ],
)
def test_an_address_prefix_means_its_scheme_its_port_and_its_path(pattern: str, url: str, allowed: bool) -> None:
    """Each of them."""
    assert may_be_sent([pattern], url) is allowed


@pytest.mark.parametrize("branch", [".a", "a/.b", "a.lock", "a.lock/b", "a//b", "/a", "a/", "refs/heads/.a"])
def test_a_branch_has_no_empty_hidden_or_lock_part(branch: str) -> None:
    """As Git has it."""
    assert branch_fault(branch) is not None


def test_a_ref_is_a_branch_before_it_is_a_tag() -> None:
    """A full name is that one alone; a directory of this machine has an address without a host."""
    assert ref_names("v1") == ["refs/heads/v1", "refs/tags/v1"]
    assert ref_names("refs/tags/v1")[0] == "refs/tags/v1"
    assert url_fault("file:///a") is None
