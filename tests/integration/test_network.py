"""A company's certificate authority and proxy, real ones, for everything that keruta asks."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from agent.attempt.checkout import checkout
from keruta import network as module
from keruta.adapters.git.command import Git
from keruta.adapters.git.credentials import Credential, environment
from keruta.adapters.git.faults import fault
from keruta.adapters.git.remote import look
from keruta.adapters.http_client import Http, NoAnswerError
from keruta.adapters.webhooks import Answered, Message, WebhookSender
from keruta.cli import doctor
from keruta.domain.repository import DEFAULT_TRANSPORTS
from keruta.domain.task import RepositoryRef
from keruta.errors import PhaseError, SettingsError
from keruta.network import Network, network
from tests.support.authority import Authority
from tests.support.gitservers import GitHttp
from tests.support.proxies import ConnectProxy
from tests.support.repositories import make_repository
from tests.support.serving import Quiet, Serving

HOST = "git.company.test"  # no name server knows it: only the proxy does


class Company:
    """A company's network: a Git server with a certificate of the company's own, and a proxy that leads there."""

    def __init__(self, root: Path, server: GitHttp, proxy: ConnectProxy, authority: Authority) -> None:
        self.root = root
        self.server = server
        self.proxy = proxy
        self.authority = authority
        self.reach = Network(ca_file=authority.file, https_proxy=proxy.url)
        self.url = f"https://{HOST}:{server.port}/a.git"
        self.number = 0

    def checkout(self, url: str, reach: Network, *, lfs: bool = False) -> Path:
        self.number += 1
        workspace = self.root / f"w{self.number}"
        deadline = time.monotonic() + 60
        with environment(
            Credential(name="x", username="a+b", token="the-token"), self.root / "private", url=url,
            transports=DEFAULT_TRANSPORTS, own=False, reach=reach,
        ) as env:  # fmt: skip
            checkout(
                RepositoryRef(url=url),
                workspace,
                lambda directory: Git(directory, env, threading.Event(), deadline),
                transports=DEFAULT_TRANSPORTS,
                lfs=lfs,
            )
        return workspace


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Company]:
    authority = Authority(tmp_path / "authority")
    root = tmp_path / "git"
    root.mkdir()
    tls = authority.server("127.0.0.1", HOST)
    with GitHttp(root, {"a+b": ("the-token", False)}, tls=tls) as server, ConnectProxy() as proxy:
        proxy.names[HOST] = "127.0.0.1"
        make_repository(root / "a.git")
        yield Company(tmp_path, server, proxy, authority)


@pytest.fixture
def set_here(company: Company, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The company's settings are this process's."""
    module._own.cache_clear()
    monkeypatch.setenv("KERUTA_CA_FILE", str(company.authority.file))
    monkeypatch.setenv("KERUTA_HTTPS_PROXY", company.proxy.url)
    yield
    module._own.cache_clear()


def test_a_checkout_through_the_companys_proxy_with_its_authority(company: Company) -> None:
    """And with the machine's own authorities still trusted: both are in the bundle."""
    workspace = company.checkout(company.url, company.reach)

    assert (workspace / "README.md").exists()
    assert set(company.proxy.tunnels) == {f"{HOST}:{company.server.port}"}
    bundle = company.reach.bundle() or ""
    assert company.authority.pem.strip() in bundle
    assert bundle.count("BEGIN CERTIFICATE") > 10


def test_git_lfs_through_the_companys_proxy(company: Company) -> None:
    """Its own program, and the same settings."""
    content = b"a large file\n"
    files = {
        "big.bin": company.server.lfs.add(content),
        ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n",
    }
    make_repository(company.server.root / "lfs.git", files)
    base = f"https://{HOST}:{company.server.port}/lfs.git"

    workspace = company.checkout(base, company.reach, lfs=True)

    assert (workspace / "big.bin").read_bytes() == content


def test_what_is_excepted_is_asked_directly(company: Company) -> None:
    """This machine always, and what KERUTA_NO_PROXY names."""
    company.checkout(company.server.url("a.git"), company.reach)

    assert company.proxy.tunnels == []
    listed = Network(https_proxy="http://proxy:3128", no_proxy=("company.test", "*.example.com", "10.0.0.1"))
    direct = ["git.company.test", "company.test", "a.example.com", "10.0.0.1", "localhost", "::1", "x.keruta.svc",
              "mongo.keruta.svc.cluster.local"]  # fmt: skip
    assert [name for name in direct if not listed.direct(name)] == []
    assert [name for name in ("notcompany.test", "example.org", "10.0.0.10") if listed.direct(name)] == []


@pytest.mark.parametrize("entry", ["*.company.test", ".company.test", "{host}:443", "*"])
def test_git_and_keruta_read_exceptions_alike(company: Company, tmp_path: Path, entry: str) -> None:
    """Also in forms that libcurl itself does not know."""
    reach = msgspec.structs.replace(company.reach, no_proxy=(entry.format(host=HOST),))
    credential = Credential(name="a", username="a+b", token="the-token")
    resolved = {
        "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http.curloptResolve",
        "GIT_CONFIG_VALUE_0": f"{HOST}:{company.server.port}:127.0.0.1",
    }  # fmt: skip
    transports = DEFAULT_TRANSPORTS

    with environment(
        credential, tmp_path / "private", url=company.url, transports=transports, own=False, reach=reach
    ) as env:
        said = Git(tmp_path, {**env, **resolved}, threading.Event(), time.monotonic() + 60)("ls-remote", company.url)

    assert "refs/heads/main" in said
    assert reach.direct(HOST)
    assert company.proxy.tunnels == []


def test_networks_are_exceptions() -> None:
    """As programs take them, of both versions of IP."""
    listed = Network(https_proxy="http://proxy:3128", no_proxy=("10.0.0.0/8", "fd00::/8", "[fe80::1]:8443"))

    assert all(listed.direct(one) for one in ("10.1.2.3", "fd00::1", "[fd00::2]", "fe80::1"))
    assert not any(listed.direct(one) for one in ("11.0.0.1", "10.example.com", "fe80::2"))


def test_an_unknown_authority_is_told_and_not_tried_again(company: Company) -> None:
    """The reason is one that another attempt does not help."""
    from keruta.domain.retry import REASONS

    with pytest.raises(PhaseError) as caught:
        company.checkout(company.server.url("a.git"), Network())

    assert caught.value.reason == "CertificateRefused"
    assert "KERUTA_CA_FILE" in str(caught.value)
    assert not REASONS["CertificateRefused"].retried


def test_a_certificate_of_another_host_is_refused(company: Company) -> None:
    company.proxy.names["other.company.test"] = "127.0.0.1"

    with pytest.raises(PhaseError) as caught:
        company.checkout(company.url.replace(HOST, "other.company.test"), company.reach)

    assert caught.value.reason == "CertificateRefused"


@pytest.mark.parametrize("what", ["expired", "another host", "self-signed"])
def test_a_bad_certificate_is_told_and_not_tried_again(company: Company, what: str) -> None:
    """In a push as in a checkout; which Git's library says it decides how much the sentence can tell."""
    own = company.authority
    if what == "self-signed":
        own = Authority(company.root / "another")
    tls = own.server("192.0.2.1" if what == "another host" else "127.0.0.1", when=(-9, -8 if what == "expired" else 99))
    with GitHttp(company.server.root, tls=tls) as server, pytest.raises(PhaseError) as caught:
        company.checkout(server.url("a.git"), company.reach)

    assert (caught.value.reason, type(caught.value)) == ("CertificateRefused", PhaseError)
    assert "certificate" in caught.value.message.text
    if what == "another host":
        assert caught.value.message.code == "git_certificate_other_host"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("SSL certificate problem: certificate has expired", "git_certificate_expired"),
        ("SSL certificate problem: self-signed certificate", "git_certificate_self_signed"),
        ("SSL certificate problem: self signed certificate", "git_certificate_self_signed"),
        ("SSL certificate problem: self-signed certificate in certificate chain", "git_certificate_refused"),
        ("SSL certificate problem: unable to get local issuer certificate", "git_certificate_refused"),
        ("SSL: no alternative certificate subject name matches target host name 'a'", "git_certificate_other_host"),
        ("server certificate verification failed. CAfile: none CRLfile: none", "git_certificate_refused"),
    ],
)
def test_a_certificates_fault_has_its_sentence(said: str, code: str) -> None:
    """As libcurl with OpenSSL and with GnuTLS writes it."""
    error = fault(f"fatal: unable to access 'https://a/': {said}\n", "PushFailed")

    assert (error.reason, type(error), error.message.code) == ("CertificateRefused", PhaseError, code)


def test_a_look_at_a_repository_says_what_stands_in_the_way(company: Company, tmp_path: Path) -> None:
    """A proxy that does not lead there is named."""
    reach = Network(ca_file=company.authority.file, https_proxy=company.proxy.url)
    url = company.url.replace(HOST, "unknown.company.test")
    with environment(None, tmp_path / "private", url=url, transports=DEFAULT_TRANSPORTS, own=False, reach=reach) as env:
        found = look(url, None, Git(tmp_path, env, threading.Event(), time.monotonic() + 20))

    assert (found.reachable, found.reason) == (False, "CloneFailed")
    assert "KERUTA_HTTPS_PROXY" in found.message


@pytest.mark.usefixtures("set_here")
def test_forges_and_the_identity_provider_are_asked_so(company: Company) -> None:
    """Everything that asks by keruta's own HTTP client."""
    url = company.url.removesuffix("/a.git")

    assert Http(5).ask("GET", f"{url}/a.git/info/refs?service=git-upload-pack").status == 401
    assert company.proxy.tunnels == [f"{HOST}:{company.server.port}"]
    with pytest.raises(NoAnswerError):
        Http(5, ca_certs="/etc/ssl/certs/ca-certificates.crt").ask("GET", company.server.url("a.git"))


class NoMessages:
    def take(self, busy: Sequence[str]) -> Message | None:
        return None

    def answered(self, message: Message, answer: Answered) -> None:
        pass


@pytest.mark.usefixtures("set_here")
def test_webhooks_are_sent_so(company: Company) -> None:
    """Through the proxy, by name; to this machine directly, with the company's authority."""
    taken: list[str] = []

    class Receiver(Quiet):
        def do_POST(self) -> None:
            taken.append(self.headers["Host"])
            self.answer(204)

    with Serving(Receiver, tls=company.authority.server("127.0.0.1", HOST)) as receiver:
        sender = WebhookSender(NoMessages(), ["127.0.0.0/8"])
        answers = []
        for host in (HOST, "127.0.0.1"):
            url = f"https://{host}:{receiver.port}/x"
            answers.append(sender.send(Message(id="1", url=url, secret="whsec_c2VjcmV0", body=b"{}", tries=0)))

    assert ([one.status for one in answers], len(taken)) == ([204, 204], 2)
    assert company.proxy.tunnels == [f"{HOST}:{receiver.port}"]


@pytest.mark.usefixtures("set_here")
def test_doctor_says_what_is_set_and_whether_it_works(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {finding.what: finding.state for finding in doctor._network()}

    assert [state for what, state in found.items() if "authorities" in what or "proxy" in what] == ["ok", "ok"]
    monkeypatch.setenv("KERUTA_HTTPS_PROXY", "http://127.0.0.1:1")
    assert [finding.state for finding in doctor._network()] == ["ok", "wrong"]


def test_doctor_says_which_of_the_companys_certificates_ran_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be trusted by nobody, and each request would fail for it."""
    old = Authority(tmp_path / "old", when=(-7200, -3600))
    monkeypatch.setenv("KERUTA_CA_FILE", str(old.file))

    (wrong,) = [finding for finding in doctor._network() if finding.state == "wrong"]

    assert f"a certificate of KERUTA_CA_FILE ({old.file}) ran out on 20" in wrong.what
    assert "The company" in wrong.what


def test_doctor_names_only_the_variables_that_nothing_of_keruta_replaces(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A company's proxy in the environment, with its authority set for keruta."""
    monkeypatch.setenv("KERUTA_CA_FILE", str(company.authority.file))
    monkeypatch.setenv("SSL_CERT_FILE", str(company.authority.file))
    monkeypatch.delenv("https_proxy", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", company.proxy.url)

    (note,) = [finding for finding in doctor._network() if finding.state == "note"]

    assert "HTTPS_PROXY" in note.what
    assert "SSL_CERT_FILE" not in note.what
    assert note.mend.startswith("set KERUTA_HTTPS_PROXY for")


def test_a_script_finds_them_in_the_variables_that_its_tools_read(company: Company, tmp_path: Path) -> None:
    """Python's ssl and Git itself reach the company's server by them."""
    bundle = tmp_path / "ca.pem"
    bundle.write_text(company.reach.bundle() or "")
    env = {"PATH": os.environ["PATH"], **company.reach.variables(bundle)}
    program = f"import urllib.request, urllib.error\ntry: urllib.request.urlopen('{company.url}/info/refs')\n"
    program += "except urllib.error.HTTPError as error: print(error.code)"

    said = subprocess.run(["python3", "-c", program], env=env, capture_output=True, text=True, check=False)

    assert said.stdout.strip() == "401", said.stderr
    assert company.proxy.tunnels == [f"{HOST}:{company.server.port}"]


def test_settings_that_cannot_work_are_refused_at_the_start(tmp_path: Path) -> None:
    """Each is named."""
    empty = tmp_path / "empty"
    empty.write_text("nothing")
    broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
    for variables, said in (
        ({"KERUTA_CA_FILE": str(empty)}, "holds no certificate"),
        ({"KERUTA_CA_FILE": str(tmp_path / "none")}, "none. can't be read: No such file"),
        ({"KERUTA_CA_CERTIFICATES": broken}, "KERUTA_CA_CERTIFICATES holds what is no certificate"),
        ({"KERUTA_HTTPS_PROXY": "proxy:3128"}, "KERUTA_HTTPS_PROXY must be"),
        ({"KERUTA_HTTPS_PROXY": "http://user:secret@proxy:3128"}, "no user name or password"),
    ):
        with pytest.raises(SettingsError, match=said) as caught:
            network(variables)
        assert "secret" not in str(caught.value)


def test_a_job_is_given_the_same_without_a_file(company: Company) -> None:
    """Its agent gets the certificates themselves."""
    again = network(company.reach.settings)

    assert again.own_certificates() == company.reach.own_certificates()
    assert again.https_proxy == company.reach.https_proxy


def test_a_proxy_that_wants_a_password(company: Company, tmp_path: Path) -> None:
    """Git, Git LFS's way and keruta's own requests have it; scripts and what a Job's document says do not."""
    login = "first.last@company:p@ss:w/ö%x+"
    file = tmp_path / "login"
    file.write_text(login + "\n")
    with ConnectProxy(login) as proxy:
        proxy.names[HOST] = "127.0.0.1"
        reach = network({
            "KERUTA_CA_FILE": str(company.authority.file), "KERUTA_HTTPS_PROXY": proxy.url,
            "KERUTA_HTTPS_PROXY_LOGIN_FILE": str(file),
        })  # fmt: skip
        company.checkout(company.url, reach)
        answer = module.Pools(reach, retries=False).request("GET", company.url + "/info/refs")
        with pytest.raises(PhaseError) as refused:
            company.checkout(company.url, Network(ca_file=company.authority.file, https_proxy=proxy.url))

    assert answer.status == 401
    assert "KERUTA_HTTPS_PROXY_LOGIN_FILE" in str(refused.value)
    assert "p@ss" not in str(reach.variables(None)) + str(reach.settings)
    assert set(proxy.tunnels) == {f"{HOST}:{company.server.port}"}


@pytest.mark.parametrize("login", ["", "user", ":pw", "a:b\nc:d", "a:c:d%41"])
def test_a_login_that_is_none_is_refused_and_not_shown(login: str, tmp_path: Path) -> None:
    file = tmp_path / "login"
    file.write_text(login)
    with pytest.raises(SettingsError, match=r"USER:PASSWORD|which Git reads wrongly") as caught:
        network({"KERUTA_HTTPS_PROXY": "http://p:1", "KERUTA_HTTPS_PROXY_LOGIN_FILE": str(file)})

    assert "c:d" not in str(caught.value)
