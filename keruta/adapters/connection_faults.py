"""Faults of a connection to a server, as sentences that say what to do.

Source: the numbers are OpenSSL's, https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator

import urllib3

from keruta.domain.messages import Message, message

_UNTRUSTED = frozenset({2, 18, 19, 20, 21, 27, 33})
_NOT_YET, _EXPIRED = 9, 10
_OTHER_NAME = frozenset({62, 63, 64})
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
_AWAY = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.ENETDOWN, errno.EHOSTDOWN})


def fault_of(error: BaseException, host: str, port: int, seconds: float) -> Message:
    """The sentence for an error of urllib3, of TLS or of the system.

    Args:
        seconds: how long was waited for an answer.
    """
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    causes = list(_causes(error))
    for cause in causes:
        if (said := _certificate_fault(cause, host) or _tls_fault(cause, place)) is not None:
            return said
    for cause in causes:
        if (said := _system_fault(cause, host, place, seconds)) is not None:
            return said
    if any(isinstance(cause, urllib3.exceptions.ProxyError) for cause in causes):
        return message("connection_proxy", place=place)
    if any(isinstance(cause, TimeoutError | urllib3.exceptions.TimeoutError) for cause in causes):
        return message("connection_timeout", place=place, seconds=round(seconds))
    if any(isinstance(cause, urllib3.exceptions.ProtocolError) for cause in causes):
        return message("connection_cut", place=place)
    return message("connection_failed", place=place, error=type(causes[-1]).__name__)


def _certificate_fault(error: BaseException, host: str) -> Message | None:
    if isinstance(error, urllib3.util.ssl_match_hostname.CertificateError):
        return message("connection_other_name", host=host)
    if not isinstance(error, ssl.SSLCertVerificationError):
        return None
    code = error.verify_code
    if code in _OTHER_NAME:
        return message("connection_other_name", host=host)
    if code == _NOT_YET:
        return message("connection_not_yet_valid", host=host)
    if code == _EXPIRED:
        return message("connection_expired", host=host)
    if code in _UNTRUSTED:
        return message("connection_untrusted", host=host, why=error.verify_message)
    return message("connection_bad_certificate", host=host, why=error.verify_message)


def _tls_fault(error: BaseException, place: str) -> Message | None:
    if not isinstance(error, ssl.SSLError):
        return None
    reason = error.reason or ""
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return message("connection_cut", place=place)
    if reason.startswith(_NO_TLS):
        return message("connection_no_tls", place=place)
    return message("connection_tls", place=place, why=reason.replace("_", " ").lower() or type(error).__name__)


def _system_fault(error: BaseException, host: str, place: str, seconds: float) -> Message | None:
    match error:
        case socket.gaierror():
            return message("connection_no_address", host=host)
        case urllib3.exceptions.NameResolutionError():
            return message("connection_no_address", host=host)
        case ConnectionRefusedError():
            return message("connection_refused", place=place)
        case ConnectionError():
            return message("connection_cut", place=place)
        case OSError() if error.errno in _AWAY:
            return message("connection_unreachable", place=place)
        case OSError() if error.errno == errno.ETIMEDOUT:
            return message("connection_timeout", place=place, seconds=round(seconds))
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and those that it was made of."""
    seen: list[BaseException] = []
    left: list[object] = [error]
    while left:
        one = left.pop(0)
        if isinstance(one, BaseException) and one not in seen:
            seen.append(one)
            left += [getattr(one, "reason", None), getattr(one, "original_error", None), *one.args]
            left += [one.__cause__, one.__context__]
            yield one
