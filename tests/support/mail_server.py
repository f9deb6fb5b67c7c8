"""A real SMTP server on loopback, with TLS and a login."""

from __future__ import annotations

import email
import email.policy
import ssl
from email.message import EmailMessage
from types import TracebackType
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session

from tests.support.ports import free_port

LOGIN = "keruta:correct horse"


class MailServer:
    """Takes e-mails, and keeps what it took.

    Args:
        certificate: of the server; None: it speaks no TLS.
        starttls: whether TLS begins by STARTTLS and not with the first byte.
        login: whether STARTTLS is followed by a login, or nothing is taken.
    """

    def __init__(self, certificate: ssl.SSLContext | None, *, starttls: bool = True, login: bool = True) -> None:
        self.taken: list[tuple[str, list[str], bytes]] = []
        self.refuses: dict[str, str] = {}  # the answer to an address, in place of taking it
        self.logins = 0
        self.host, self.port = "127.0.0.1", free_port()
        begins = certificate if starttls else None
        options: dict[str, Any] = {"auth_require_tls": starttls, "auth_required": login and starttls}
        self._controller = Controller(
            self, hostname=self.host, port=self.port, ssl_context=None if starttls else certificate,
            tls_context=begins, require_starttls=begins is not None, authenticator=self._check, **options,
        )  # fmt: skip

    @property
    def url(self) -> str:
        scheme = "smtps" if self._controller.ssl_context is not None else "smtp"
        return f"{scheme}://{self.host}:{self.port}"

    def messages(self) -> list[EmailMessage]:
        return [email.message_from_bytes(one, policy=email.policy.default) for _, _, one in self.taken]  # type: ignore[misc]

    def _check(self, server: Any, session: Session, envelope: Envelope, mechanism: str, given: Any) -> AuthResult:
        assert isinstance(given, LoginPassword)
        self.logins += 1
        return AuthResult(success=f"{given.login.decode()}:{given.password.decode()}" == LOGIN, handled=False)

    async def handle_RCPT(
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refuses:
            return self.refuses[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:
        assert envelope.mail_from is not None
        assert isinstance(envelope.content, bytes)
        self.taken.append((envelope.mail_from, list(envelope.rcpt_tos), envelope.content))
        return "250 OK"

    def __enter__(self) -> MailServer:
        self._controller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._controller.stop()
