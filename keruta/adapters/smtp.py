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
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import localtime
from typing import IO, Literal
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
ANSWERS_BYTES = 64 * 1024  # all that a server says over one connection
_PORTS = {"smtp": 587, "smtps": 465}


class _LoginFileError(Exception):
    """The file with the login can't be used."""


class _NotWrittenError(Exception):
    """Of a notice no e-mail can be made."""


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
            except (smtplib.SMTPException, OSError, ValueError, _LoginFileError, _NotWrittenError) as error:
                sent = self._not_sent(error if end.seconds_left else TimeoutError())
            else:
                return Sent(outcome="sent")
        log.warning("e-mail not sent: %s", sent.said, extra={"action": "mail_not_sent", "outcome": sent.outcome})
        return sent

    def _send(self, mail: Mail) -> None:
        login = self._login()
        content = context(self._network or network())
        made = _bytes_of(mail, self._sender, self._own_host)
        server = _Connection(self._host, self._own_host, content if self._tls else None)
        try:
            server.connect(self._host, self._port)
            if not self._tls:
                server.starttls(context=content)
            if login is not None:
                server.login(*login)
            server.sendmail(self._sender[1], [mail.to], made)
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
        if not (user + password).isascii():
            raise _LoginFileError("user and password must be ASCII")
        return user, password

    def _not_sent(self, error: Exception) -> Sent:
        match error:
            case smtplib.SMTPRecipientsRefused(recipients=refused):
                status, answer = next(iter(refused.values()))
                return self._answered(status, answer, "later")
            case smtplib.SMTPDataError():
                return self._answered(error.smtp_code, error.smtp_error, "away")
            case _NotWrittenError():
                return Sent(outcome="refused", said=message("mail_not_written"))
        return Sent(outcome="away", said=self._why(error))

    def _answered(self, status: int, answer: bytes | str, otherwise: Literal["later", "away"]) -> Sent:
        """Return what an answer about this one e-mail means: 5xx is final (RFC 5321, 4.2.1)."""
        if 500 <= status < 600:
            return Sent(outcome="refused", said=message("mail_refused", status=status, answer=_text(answer)))
        return Sent(
            outcome=otherwise, said=message("mail_answered", place=self._place, status=status, answer=_text(answer))
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
            case ValueError() if not isinstance(error, OSError):  # such as a login's question that is not base64
                return message("mail_unreadable", place=place)
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
        self._said_bytes = 0

    def getreply(self) -> tuple[int, bytes]:
        """Return the next answer. Raises SMTPServerDisconnected, also after `ANSWERS_BYTES` of them."""
        if self.file is None and self.sock is not None:
            self.file = _Bounded(self.sock.makefile("rb"), self)
        return super().getreply()

    def count(self, said: int) -> None:
        """Count what the server says, however many connections within this one it says it over. Raises OSError."""
        self._said_bytes += said
        if self._said_bytes > ANSWERS_BYTES:
            raise OSError("its answers have no end")

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


class _Bounded:
    """A connection's lines, which the connection counts."""

    def __init__(self, file: IO[bytes], connection: _Connection) -> None:
        self._file = file
        self._connection = connection

    def readline(self, most: int) -> bytes:
        line = self._file.readline(most)
        self._connection.count(len(line))
        return line

    def close(self) -> None:
        self._file.close()


def _bytes_of(mail: Mail, sender: tuple[str, str], own_host: str) -> bytes:
    try:
        return written(mail, sender, own_host).as_bytes()
    except (ValueError, MessageError) as error:
        raise _NotWrittenError from error


def written(mail: Mail, sender: tuple[str, str], own_host: str) -> EmailMessage:
    """Return an e-mail as it is sent: plain text, with headers of one line each. Raises ValueError."""
    if not is_address(mail.to):
        raise ValueError("not an address")
    made = EmailMessage(policy=email.policy.SMTP)
    made["From"] = Address(display_name=sender[0], addr_spec=sender[1])
    made["To"] = Address(addr_spec=mail.to)
    made["Subject"] = _not_encoded(one_line(mail.subject, 200))
    made["Date"] = localtime()
    made["Message-ID"] = f"<{mail.id}@{own_host}>"
    made["Auto-Submitted"] = "auto-generated"  # RFC 3834: no program answers it
    made.set_content(mail.body, charset="utf-8")
    return made


def _not_encoded(text: str) -> str:
    """Return a header's text without encoded words (RFC 2047): a word joiner, which is not seen, parts them.

    The library decodes such words, line breaks included, and so would whoever reads the header.
    """
    return text.replace("=?", "=\u2060?")


def _text(answer: bytes | str) -> str:
    return one_line(answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer, ANSWER_LETTERS)
