"""Addresses of repositories as they are compared: which of them are the same, and which hosts they are on. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

import msgspec

DEFAULT_PORTS = {"https": 443, "http": 80, "ssh": 22, "file": 0}
ENCRYPTED = frozenset({"https", "ssh"})
_SCP = re.compile(r"(?:[^@/]*@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^:/@]+):(?P<path>.*)", re.DOTALL)


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """An address in its parts, each in the form in which it is compared."""

    scheme: str
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        port = "" if self.port == DEFAULT_PORTS.get(self.scheme) else f":{self.port}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}{port}{self.path}"


def parse_address(url: str) -> Address:
    """Return an address in its parts. Raises ValueError for what is none.

    The case of the scheme and of the host, a default port, a user name, a final slash or `.git`, `.` and `..` and
    percent escapes in the path make no difference; `user@host:path` is an address of ssh.
    """
    if "://" in url:
        parts = urlsplit(url)
        scheme, host, path = parts.scheme.lower(), parts.hostname or "", parts.path
        port = parts.port if parts.port is not None else DEFAULT_PORTS.get(scheme, 0)
        more = f"?{parts.query}" if parts.query else ""
    else:
        match = _SCP.fullmatch(url)
        if match is None:
            raise ValueError("not an address")
        scheme, host, port, more = "ssh", match["host"].strip("[]"), DEFAULT_PORTS["ssh"], ""
        path = match["path"]
    return Address(scheme=scheme, host=_host(host), port=port, path=_path(path) + more)


def same_address(url: str) -> str:
    """Return the text that is the same for every way to write one address."""
    try:
        return str(parse_address(url))
    except ValueError:
        return url


def may_be_sent(hosts: Iterable[str], url: str) -> bool:
    """Say whether an address is among some hosts and address prefixes.

    `git.example.com` means https and ssh on their own ports, `git.example.com:8443` that port, and
    `https://git.example.com/team` everything below that address.
    """
    try:
        address = parse_address(url)
    except ValueError:
        return False
    return any(_matches(pattern, address) for pattern in hosts)


def host_fault(pattern: str) -> bool:
    """Say whether a host or an address prefix is malformed."""
    try:
        scheme, host, port, _ = _parts(pattern)
    except ValueError:
        return True
    if scheme is not None and scheme not in DEFAULT_PORTS:
        return True
    return (not host and scheme != "file") or not pattern.isprintable() or " " in pattern or port == 0


def _matches(pattern: str, address: Address) -> bool:
    try:
        scheme, host, port, path = _parts(pattern)
    except ValueError:  # stored by a version that did not refuse it
        return False
    if host != address.host:
        return False
    if scheme is None:
        if port is None:
            return address.scheme in ENCRYPTED and address.port == DEFAULT_PORTS[address.scheme]
        return address.port == port
    if scheme != address.scheme or (port if port is not None else DEFAULT_PORTS[scheme]) != address.port:
        return False
    return path in ("", "/") or address.path == path or address.path.startswith(f"{path}/")


def _parts(pattern: str) -> tuple[str | None, str, int | None, str]:
    """A pattern's scheme (None for a host alone), host, port (None if it names none) and path."""
    if "://" not in pattern:
        parts = urlsplit(f"//{pattern}")
        if parts.path or parts.query or parts.username is not None:
            raise ValueError("not a host")
        return None, _host(parts.hostname or ""), parts.port, ""
    parts = urlsplit(pattern)
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError("not an address prefix")
    return parts.scheme.lower(), _host(parts.hostname or ""), parts.port, _path(parts.path)


def _host(host: str) -> str:
    """A host as it is compared. Raises ValueError for one that programs may take for different hosts.

    Such are international names for which the two standards differ (`ß` is `ss` by the older one, and a letter of its
    own by the newer one, which curl follows) or that only look like another (full-width letters, signs of no width);
    and names with escapes, which curl decodes and others don't.
    Source: https://www.unicode.org/reports/tr46/#IDNAComparison
    """
    plain = host.lower().rstrip(".")
    if "%" in plain:
        raise ValueError("not a host")
    if plain.isascii():
        return plain
    named = plain.encode("idna").decode()
    if named.encode().decode("idna") != plain:
        raise ValueError("not a host")
    return named


def host_of(url: str) -> str:
    """Return the host of an address with a scheme, as it is compared. Raises ValueError as `parse_address` does."""
    return _host(urlsplit(url).hostname or "")


def _path(path: str) -> str:
    plain = posixpath.normpath("/" + unquote(path).lstrip("/"))
    return plain.removesuffix(".git").rstrip("/")
