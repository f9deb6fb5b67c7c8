"""A certificate authority of a company's own, which no machine knows."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


class Authority:
    """Signs certificates of servers.

    Args:
        directory: where its files are.
        when: from and until when its own certificate is valid, in seconds from now.
    """

    def __init__(self, directory: Path, *, when: tuple[int, int] = (-3600, 3600)) -> None:
        directory.mkdir(exist_ok=True)
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "The company's own authority")])
        made = self._builder(self._name, self._key, when).add_extension(
            x509.BasicConstraints(True, None), critical=True
        )
        self.pem = made.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
        self.file = directory / "company.pem"
        self.file.write_text(self.pem)

    def server(self, *names: str, when: tuple[int, int] = (-3600, 3600)) -> ssl.SSLContext:
        """For a server of these names, with a certificate of this authority.

        Args:
            when: from and until when it is valid, in seconds from now.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        listed: list[x509.GeneralName] = [
            x509.IPAddress(ipaddress.ip_address(one)) if one[0].isdigit() or ":" in one else x509.DNSName(one)
            for one in names
        ]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        made = self._builder(subject, key, when).add_extension(x509.SubjectAlternativeName(listed), critical=False)
        file = self._directory / "server.pem"
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_bytes(pem + made.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, when: tuple[int, int] = (-3600, 3600)
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return x509.CertificateBuilder(
            self._name, subject, key.public_key(), x509.random_serial_number(),
            now + datetime.timedelta(seconds=when[0]), now + datetime.timedelta(seconds=when[1]),
        )  # fmt: skip
