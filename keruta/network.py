"""A company's certificate authority and proxy: set once, and used for everything that keruta asks other servers."""

from __future__ import annotations

import functools
import ipaddress
import os
import re
import ssl
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import msgspec

from keruta.errors import SettingsError
from keruta.settings import load

if TYPE_CHECKING:
    import urllib3

# Never asked for through a proxy: this machine, and a cluster's own services.
ALWAYS_DIRECT = ("localhost", "127.0.0.1", "::1", ".svc", ".cluster.local")
# Every program reads one of these; each replaces the program's own list, but Node's, which adds to it.
CA_VARIABLES = (
    "SSL_CERT_FILE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "REQUESTS_CA_BUNDLE", "PIP_CERT", "NODE_EXTRA_CA_CERTS",
    "AWS_CA_BUNDLE", "CARGO_HTTP_CAINFO",
)  # fmt: skip
_ESCAPE = re.compile("%[0-9A-Fa-f]{2}")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """Settings for requests to other servers. A field `ca_file` is the variable `KERUTA_CA_FILE`."""

    ca_file: Path | None = None
    """Certificates (PEM) of authorities that are trusted besides the machine's own: a company's."""

    ca_certificates: str = ""
    """Such certificates themselves, as PEM: for a ConfigMap, where no file is mounted."""

    https_proxy: str = ""
    """The proxy through which https addresses are asked, as http://HOST:PORT. Empty: none."""

    https_proxy_login: str = ""
    """USER:PASSWORD for that proxy, out of a Secret. For keruta's own parts: scripts are not given it. Empty: none."""

    https_proxy_login_file: Path | None = None
    """The same in a file."""

    no_proxy: tuple[str, ...] = ()
    """Places asked directly, beside this machine and a cluster's own services: hosts, domains, `10.0.0.0/8`, `*`."""

    def __post_init__(self) -> None:
        faults = []
        if self.https_proxy:
            parts = urlsplit(self.https_proxy)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                faults.append("KERUTA_HTTPS_PROXY must be an address such as http://proxy.example.com:3128")
            elif parts.username is not None:
                faults.append(
                    "KERUTA_HTTPS_PROXY holds no user name or password, since scripts see it; "
                    "set KERUTA_HTTPS_PROXY_LOGIN_FILE"
                )
        faults += self._login_faults()
        try:
            if self.trusts_more and not self.own_certificates():
                faults.append(
                    f"{self.ca_source} holds no certificate in PEM; `openssl x509 -inform der -in FILE` converts one "
                    "from DER"
                )
            elif self.trusts_more:
                context(self)
        except ssl.SSLError as error:
            faults.append(f"{self.ca_source} holds what is no certificate: {error.reason or 'it is damaged'}")
        except OSError as error:
            faults.append(f"{self.ca_source} can't be read: {error.strerror or error}")
        if faults:
            raise SettingsError("; ".join(faults))

    def _login_faults(self) -> list[str]:
        if not self.https_proxy_login and self.https_proxy_login_file is None:
            return []
        named = "KERUTA_HTTPS_PROXY_LOGIN" + ("" if self.https_proxy_login else "_FILE")
        if not self.https_proxy:
            return [f"{named} is for the proxy that KERUTA_HTTPS_PROXY names, and it names none"]
        try:
            login = self.login
        except (OSError, UnicodeDecodeError) as error:
            return [f"{named} can't be read: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}"]
        if not login.partition(":")[0] or ":" not in login or not login.isprintable():
            return [f"{named} must hold one line, USER:PASSWORD"]
        if _ESCAPE.search(login):  # curl's library unescapes what Git has unescaped
            return [f"{named} has a % before two of 0-9 and a-f, which Git reads wrongly; change the password"]
        return []

    @property
    def login(self) -> str:
        """USER:PASSWORD for the proxy, or "". Raises OSError."""
        if self.https_proxy_login or self.https_proxy_login_file is None:
            return self.https_proxy_login.strip("\r\n")
        return self.https_proxy_login_file.read_text("utf-8").strip("\r\n")

    @property
    def trusts_more(self) -> bool:
        """Return whether other authorities than the machine's own are trusted."""
        return self.ca_file is not None or bool(self.ca_certificates)

    @property
    def ca_source(self) -> str:
        """Return the settings that name the company's certificates, for people."""
        named = [] if self.ca_file is None else [f"KERUTA_CA_FILE ({self.ca_file})"]
        return " or ".join([*named, *(["KERUTA_CA_CERTIFICATES"] if self.ca_certificates else [])])

    def own_certificates(self) -> list[str]:
        """The company's certificates, as PEM. Raises OSError."""
        text = self.ca_certificates
        if self.ca_file is not None:
            text += "\n" + self.ca_file.read_text("ascii", "replace")
        return _CERTIFICATE.findall(text)

    def bundle(self) -> str | None:
        """The machine's own authorities and the company's, as PEM; None where only the machine's own are trusted."""
        if not self.trusts_more:
            return None
        paths = ssl.get_default_verify_paths()
        system = paths.cafile or paths.openssl_cafile
        try:
            text = Path(system).read_text("ascii", "replace")
        except OSError:
            text = ""  # an image without any
        return "\n".join([text, *self.own_certificates()]) + "\n"

    def direct(self, host: str) -> bool:
        """Says whether a host is asked without the proxy."""
        name = host.lower().strip("[]").rstrip(".")
        listed = (*ALWAYS_DIRECT, *self.no_proxy)
        return not self.https_proxy or any(_covers(_without_port(one.lower()), name) for one in listed)

    def variables(self, bundle: Path | None) -> dict[str, str]:
        """The conventional variables by which other programs learn the same.

        Args:
            bundle: the file that `bundle()` was written to.
        """
        found = dict.fromkeys(CA_VARIABLES, str(bundle)) if bundle is not None else {}
        if self.https_proxy:
            listed = ",".join((*ALWAYS_DIRECT, *map(_for_programs, self.no_proxy)))
            listed = "*" if "*" in self.no_proxy else listed  # libcurl and Python know it by itself alone
            found |= {"HTTPS_PROXY": self.https_proxy, "https_proxy": self.https_proxy}
            found |= {"NO_PROXY": listed, "no_proxy": listed}
        return found

    def own_variables(self, bundle: Path | None) -> dict[str, str]:
        """The same for a program that keruta itself runs, with the login for the proxy."""
        found = self.variables(bundle)
        if login := self.login:
            user, _, password = login.partition(":")
            parts = urlsplit(self.https_proxy)
            place = f"{quote(user, safe='')}:{quote(password, safe='')}@{parts.netloc}"
            found |= dict.fromkeys(("HTTPS_PROXY", "https_proxy"), parts._replace(netloc=place).geturl())
        return found

    @property
    def settings(self) -> dict[str, str]:
        """The variables that set it, without a login, for a program of keruta's own that is started elsewhere."""
        given = {
            "KERUTA_CA_CERTIFICATES": "\n".join(self.own_certificates()),
            "KERUTA_HTTPS_PROXY": self.https_proxy,
            "KERUTA_NO_PROXY": ",".join(self.no_proxy),
        }
        return {name: value for name, value in given.items() if value}


def _without_port(entry: str) -> str:
    """An entry of a no-proxy list for the host's every port: libcurl, and so Git, knows none with a port."""
    named, colon, digits = entry.rpartition(":")
    return named if colon and digits.isdigit() and (":" not in named or named.endswith("]")) else entry


def _covers(entry: str, host: str) -> bool:
    """Say whether an entry of a no-proxy list means a host: by a name, a domain, an address or a network.

    Args:
        host: a name or an address, without brackets.
    """
    if entry == "*":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        domain = entry.removeprefix("*").strip(".")
        return bool(domain) and (host == domain or host.endswith(f".{domain}"))
    try:
        return address in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return False


def _for_programs(entry: str) -> str:
    """An entry as every program reads it: libcurl, and so Git, knows no `*.example.com`."""
    entry = _without_port(entry)
    return entry.removeprefix("*") if entry.startswith("*.") else entry


def network(environ: Mapping[str, str] | None = None) -> Network:
    """Return this process's settings, read once. Raises SettingsError."""
    return _own() if environ is None else load(environ, Network)


@functools.cache
def _own() -> Network:
    return load(os.environ, Network)


class Pools:
    """Connections to other servers, with the company's authority and through its proxy where they are set.

    Args:
        of: how servers are reached; not given: as this process's settings say.
        kinds: urllib3's classes of pools by scheme, in place of its own.
        options: of urllib3's pools. `ca_certs` is a file with the only authorities that are trusted.
    """

    def __init__(
        self, of: Network | None = None, *, kinds: Mapping[str, type[urllib3.HTTPConnectionPool]] | None = None,
        **options: Any,
    ) -> None:  # fmt: skip
        self._kinds = kinds
        self._network = of or network()
        if self._network.trusts_more and not options.get("ca_certs"):
            options["ssl_context"] = context(self._network)
        self._options = options

    @functools.cached_property
    def _direct(self) -> urllib3.PoolManager:
        import urllib3

        return self._of_kinds(urllib3.PoolManager(**self._options))

    @functools.cached_property
    def _proxied(self) -> urllib3.PoolManager:
        import urllib3

        headers = {}
        if login := self._network.login:
            headers["Proxy-Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
        return self._of_kinds(urllib3.ProxyManager(self._network.https_proxy, proxy_headers=headers, **self._options))

    def _of_kinds(self, manager: urllib3.PoolManager) -> urllib3.PoolManager:
        if self._kinds is not None:
            manager.pool_classes_by_scheme = dict(self._kinds)
        return manager

    def request(self, method: str, url: str, **options: Any) -> urllib3.BaseHTTPResponse:
        """Send a request, directly or by the proxy, as urllib3's `PoolManager.request` does."""
        parts = urlsplit(url)
        direct = parts.scheme != "https" or self._network.direct(parts.hostname or "")
        return (self._direct if direct else self._proxied).request(method, url, **options)


def context(of: Network) -> ssl.SSLContext:
    """Return the TLS context for other servers: the machine's own authorities and the company's."""
    made = ssl.create_default_context()
    if of.trusts_more:
        made.load_verify_locations(cadata="\n".join(of.own_certificates()))
    return made
