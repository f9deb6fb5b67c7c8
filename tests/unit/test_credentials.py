"""A credential's parts, looked at when they are given."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from keruta.domain.catalog.credentials import CredentialSpec
from keruta.domain.catalog.ssh_keys import ssh_key_fault

ED25519 = ed25519.Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
KEYS = {"ed25519": ED25519, "rsa": RSA, "ecdsa": ec.generate_private_key(ec.SECP256R1())}


def text(kind: str, form: PrivateFormat = PrivateFormat.OpenSSH, lock: KeySerializationEncryption | None = None) -> str:
    return KEYS[kind].private_bytes(Encoding.PEM, form, lock or NoEncryption()).decode()


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("form", [PrivateFormat.OpenSSH, PrivateFormat.PKCS8])
def test_keys_that_ssh_can_read_are_taken(kind: str, form: PrivateFormat) -> None:
    """Of each type and format; a missing or further newline at the end does not matter."""
    key = text(kind, form)

    assert [ssh_key_fault(one) for one in (key, key.rstrip(), key + "\n\n")] == [None] * 3


def test_an_old_rsa_key_is_taken() -> None:
    assert ssh_key_fault(text("rsa", PrivateFormat.TraditionalOpenSSL)) is None


def locked_by_ssh(kind: str) -> str:
    """A key with a passphrase, as ssh-keygen writes it."""
    with tempfile.TemporaryDirectory() as directory:
        command = ["ssh-keygen", "-q", "-t", kind, "-N", "secret", "-f", f"{directory}/key"]
        subprocess.run(command, check=True)
        return Path(f"{directory}/key").read_text()


LOCK = BestAvailableEncryption(b"secret")
KEY = text("ed25519")


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (KEY.replace("\n", "\r\n"), "Windows line ends"),
        (text("rsa", PrivateFormat.PKCS8).replace("\n", "\r\n"), "Windows line ends"),
        (locked_by_ssh("ed25519"), "passphrase"),
        (text("rsa", PrivateFormat.PKCS8, LOCK), "passphrase"),
        (text("rsa", PrivateFormat.TraditionalOpenSSL, LOCK), "passphrase"),
        (KEY.replace("\n", ""), "one line"),
        (KEY.replace("\n", " "), "one line"),
        (KEY.replace("\n", "\\n"), "one line"),
        ("\n".join(f"  {line}" for line in KEY.splitlines()).strip(), "spaces"),
        ("\n".join(KEY.splitlines()[:-1]), "cut off"),
        ("\n".join([*KEY.splitlines()[:3], KEY.splitlines()[-1]]), "damaged"),
        (KEY.replace("b3BlbnNzaC1rZXk", "b3BlbnNzaC1rZXX"), "damaged"),
        ("\n".join([*text("rsa", PrivateFormat.PKCS8).splitlines()[:5], "-----END PRIVATE KEY-----"]), "damaged"),
        (ED25519.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode(), "public key"),
        ("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n", "PuTTY"),
        ("hunter2", "not a private key"),
        (" ", "not a private key"),
    ],
)  # fmt: skip
def test_a_key_that_ssh_cannot_read_is_refused_with_what_to_do(key: str, said: str) -> None:
    """At creation, in one sentence, which holds nothing of the key."""
    spec = CredentialSpec(name="x", type="ssh", private_key=key, known_hosts="host ssh-ed25519 AAAA")

    faults = list(spec.faults())

    assert [at for at, _ in faults] == ["/private_key"]
    assert said in str(faults[0][1])
    assert not any(line in str(faults[0][1]) for line in key.splitlines()[1:-1] if line)


def test_a_secret_that_no_variable_can_hold_is_refused() -> None:
    """At creation, not where a task of somebody's would be cut short by it."""
    faults = list(CredentialSpec(name="x", type="secret", value="a\0b").faults())

    assert [at for at, _ in faults] == ["/value"]


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_key_of_an_app_is_taken(form: PrivateFormat, end: str) -> None:
    """As GitHub gives it, or converted; line ends do not matter to what reads it."""
    spec = CredentialSpec(
        name="x", type="github_app", app_id="1", installation_id="2",
        private_key=text("rsa", form).replace("\n", end),
    )  # fmt: skip

    assert list(spec.faults()) == []


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (text("ecdsa", PrivateFormat.PKCS8), "RSA key in PEM"),
        (text("ed25519", PrivateFormat.PKCS8), "RSA key in PEM"),
        (text("ecdsa", PrivateFormat.TraditionalOpenSSL), "RSA key in PEM"),
        (text("rsa", PrivateFormat.OpenSSH), "RSA key in PEM"),
        (text("rsa", PrivateFormat.PKCS8, LOCK), "passphrase"),
        (text("rsa", PrivateFormat.TraditionalOpenSSL, LOCK), "passphrase"),
        (text("rsa", PrivateFormat.PKCS8).replace("\n", "\\n"), "one line"),
        ("\n".join(text("rsa", PrivateFormat.TraditionalOpenSSL).splitlines()[:-1]), "cut off"),
        (RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(), "not a private key"),
        ("hunter2", "not a private key"),
    ],
)
def test_a_key_that_no_app_has_is_refused_at_creation(key: str, said: str) -> None:
    """Not hours later, when the first token is asked for."""
    spec = CredentialSpec(name="x", type="github_app", app_id="1", installation_id="2", private_key=key)

    faults = list(spec.faults())

    assert [at for at, _ in faults] == ["/private_key"]
    assert said in str(faults[0][1])


def test_known_hosts_without_a_host_are_refused() -> None:
    for known_hosts in ("github.com", "# a comment\n", "SHA256:abc"):
        spec = CredentialSpec(name="x", type="ssh", private_key=KEY, known_hosts=known_hosts)

        assert [at for at, _ in spec.faults()] == ["/known_hosts"]


@pytest.mark.parametrize("username", ["gitlab+deploy-token-1", "me@example.com", "100%", "it's", "日本語"])
def test_user_names_of_git_servers_are_taken(username: str) -> None:
    assert list(CredentialSpec(name="x", type="token", username=username, token="t").faults()) == []


def test_what_no_git_server_could_be_given_is_refused() -> None:
    """A line break in a user name or within a token, and a colon in a user name."""
    for username in ("a\nb", "a:b"):
        spec = CredentialSpec(name="x", type="token", username=username, token="a\nb")

        assert [at for at, _ in spec.faults()] == ["/username", "/token"]
