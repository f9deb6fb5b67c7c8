"""Sends e-mails by one SMTP server: over TLS whose certificate is verified, within one deadline.

Sources: https://www.rfc-editor.org/rfc/rfc5321, https://www.rfc-editor.org/rfc/rfc3207 (STARTTLS),
https://www.rfc-editor.org/rfc/rfc8314 (TLS from the first byte)
"""

from __future__ import annotations

import contextlib
import email.policy
import logging
import smtplib
import socket
import ssl
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import localtime
from urllib.parse import urlsplit

from keruta.adapters.connection_faults import fault_of
from keruta.adapters.deadlines import addresses_of, deadline, time_left, watch
from keruta.domain.chat_messages import one_line
from keruta.domain.mail_addresses import is_address, split_sender
from keruta.domain.messages import Message, message
from keruta.domain.notice_mails import Mail, Sent
from keruta.network import Network, context, network
from keruta.settings import Settings

log = logging.getLogger(__name__)

SEND_SECONDS = 20.0  # for all of one e-mail: the connection, the login, and the server's last answer
ANSWER_LETTERS = 200
_PORTS = {"smtp": 587, "smtps": 465}


class _LoginFileError(Exception):
    """The file with the login can't be used."""


class SmtpMailer:
    """`keruta.ports.people.Mailer`: the server that `KERUTA_SMTP_URL` names.

    Args:
        of: which certificate authorities are trusted; not given: as this process's settings say.
    """

    def __init__(self, settings: Settings, of: Network | None = None) -> None:
        parts = urlsplit(settings.smtp_url)
        self._tls = parts.scheme == "smtps"
        self._host, self._port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        self._login_file = settings.smtp_login_file
        self._sender = split_sender(settings.smtp_sender) or ("", "")
        self._own_host = urlsplit(settings.public_url).hostname or "keruta"
        self._network = of

    @property
    def _place(self) -> str:
        return f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"

    def send(self, mail: Mail) -> Sent:
        """Send an e-mail. Never raises for what the server does; nothing goes over a connection without TLS."""
        with deadline(SEND_SECONDS) as end:
            try:
                self._send(mail)
            except (smtplib.SMTPException, OSError, _LoginFileError) as error:
                sent = self._not_sent(error if end.seconds_left else TimeoutError())
            else:
                return Sent(outcome="sent")
        log.warning("e-mail not sent: %s", sent.said, extra={"action": "mail_not_sent", "outcome": sent.outcome})
        return sent

    def _send(self, mail: Mail) -> None:
        login = self._login()
        content = context(self._network or network())
        made = written(mail, self._sender, self._own_host)
        server = _Connection(self._host, self._own_host, content if self._tls else None)
        try:
            server.connect(self._host, self._port)
            if not self._tls:
                server.starttls(context=content)
            if login is not None:
                server.login(*login)
            server.sendmail(self._sender[1], [mail.to], made.as_bytes())
            with contextlib.suppress(smtplib.SMTPException, OSError):  # it is sent, whatever is said to this
                server.quit()
        finally:
            server.close()

    def _login(self) -> tuple[str, str] | None:
        if self._login_file is None:
            return None
        try:
            user, colon, password = self._login_file.read_text("utf-8").strip("\r\n").partition(":")
        except (OSError, UnicodeDecodeError) as error:
            raise _LoginFileError(getattr(error, "strerror", None) or "it is not UTF-8 text") from error
        if not user or not colon or not (user + password).isprintable():
            raise _LoginFileError("it is not written so")
        return user, password

    def _not_sent(self, error: Exception) -> Sent:
        match error:
            case smtplib.SMTPRecipientsRefused(recipients=refused):
                status, answer = next(iter(refused.values()))
                return self._answered(status, answer)
            case smtplib.SMTPDataError():
                return self._answered(error.smtp_code, error.smtp_error)
        return Sent(outcome="away", said=self._why(error))

    def _answered(self, status: int, answer: bytes | str) -> Sent:
        """Return what an answer about this one e-mail means: 5xx is final (RFC 5321, 4.2.1)."""
        if 500 <= status < 600:
            return Sent(outcome="refused", said=message("mail_refused", status=status, answer=_text(answer)))
        return Sent(
            outcome="away", said=message("mail_answered", place=self._place, status=status, answer=_text(answer))
        )

    def _why(self, error: Exception) -> Message:
        place = self._place
        match error:
            case _LoginFileError():
                return message("mail_login_file", error=str(error))
            case smtplib.SMTPAuthenticationError():
                answer = _text(error.smtp_error)
                return message("mail_login_refused", place=place, status=error.smtp_code, answer=answer)
            case smtplib.SMTPNotSupportedError() if "STARTTLS" in str(error):
                return message("mail_no_starttls", place=place)
            case smtplib.SMTPResponseException():
                return message("mail_answered", place=place, status=error.smtp_code, answer=_text(error.smtp_error))
            case smtplib.SMTPServerDisconnected():
                return message("mail_cut", place=place)
            case smtplib.SMTPException():
                return message("mail_no_login", place=place)
        return self._connection_fault(error)

    def _connection_fault(self, error: Exception) -> Message:
        """Return the sentence for a connection; those that speak of HTTP are replaced."""
        said = fault_of(error, self._host, self._port, SEND_SECONDS)
        match said.code:
            case "connection_no_tls":
                return message("mail_no_tls", place=self._place)
            case "connection_cut":
                return message("mail_cut", place=self._place)
            case "connection_timeout":
                return message("mail_timeout", place=self._place, seconds=round(SEND_SECONDS))
        return said


class _Connection(smtplib.SMTP):
    """A connection that the deadline of whoever uses it ends, with TLS from the first byte where there is a context."""

    def __init__(self, host: str, own_host: str, tls: ssl.SSLContext | None) -> None:
        super().__init__(local_hostname=own_host, timeout=SEND_SECONDS)
        self._host = host
        self._tls = tls

    def connect(self, host: str = "localhost", port: int = 0, source_address: object = None) -> tuple[int, bytes]:
        address = addresses_of(host, port, time_left(SEND_SECONDS))[0]
        self.sock = socket.create_connection((address, port), time_left(SEND_SECONDS))
        watch(self.sock)
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=host)
        self.file = None
        status, said = self.getreply()
        if status != 220:
            self.close()
            raise smtplib.SMTPConnectError(status, said)
        return status, said


def written(mail: Mail, sender: tuple[str, str], own_host: str) -> EmailMessage:
    """Return an e-mail as it is sent: plain text, with headers of one line each. Raises ValueError."""
    if not is_address(mail.to):
        raise ValueError("not an address")
    made = EmailMessage(policy=email.policy.SMTP)
    made["From"] = Address(display_name=sender[0], addr_spec=sender[1])
    made["To"] = Address(addr_spec=mail.to)
    made["Subject"] = one_line(mail.subject, 200)
    made["Date"] = localtime()
    made["Message-ID"] = f"<{mail.id}@{own_host}>"
    made["Auto-Submitted"] = "auto-generated"  # RFC 3834: no program answers it
    made.set_content(mail.body, charset="utf-8")
    return made


def _text(answer: bytes | str) -> str:
    return one_line(answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer, ANSWER_LETTERS)
