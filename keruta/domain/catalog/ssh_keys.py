"""Faults of an ssh private key, found in its text when it is entered, before Git first uses it."""

from __future__ import annotations

import base64
import binascii
import re

from keruta.domain.messages import Message, message

_BEGIN = re.compile(r"-----BEGIN ([A-Z ]*)PRIVATE KEY-----")
_MAGIC = b"openssh-key-v1\0"
_LENGTH_BYTES = 4


def ssh_key_fault(text: str) -> Message | None:
    """Says in a sentence why ssh would not take this private key, or None.

    Sources: RFC 7468; https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.key
    """
    if "\r" in text:
        return message("credential_key_windows")
    lines = text.strip().split("\n")
    if text.startswith("PuTTY-User-Key-File"):
        return message("credential_key_putty")
    if lines[0].startswith(("ssh-", "ecdsa-", "sk-")):
        return message("credential_key_public")
    begin = _BEGIN.match(lines[0])
    if begin is None:
        return message("credential_key_unknown")
    if len(lines) == 1 or lines[0] != begin[0]:
        return message("credential_key_one_line")
    if any(line != line.strip() for line in lines):
        return message("credential_key_spaces")
    end = begin[0].replace("BEGIN", "END")
    if lines[-1] != end:
        return message("credential_key_cut_off", end=end)
    if "ENCRYPTED" in lines[0] or any(line.startswith("Proc-Type:") and "ENCRYPTED" in line for line in lines):
        return _ENCRYPTED
    return _body_fault(lines[1:-1], openssh=begin[1] == "OPENSSH ")


def app_key_fault(text: str) -> Message | None:
    """Says in a sentence why no GitHub App has this private key, or None: an RSA key in PEM, without a passphrase.

    Sources: RFC 7468; RFC 8017, appendix A.1.2; RFC 5958, section 2.
    """
    plain = text.strip().replace("\r\n", "\n")
    begin = _BEGIN.match(plain)
    if begin is not None and begin[1] not in ("", "RSA ", "ENCRYPTED "):
        return message("credential_app_key_kind")
    if (wrong := ssh_key_fault(plain)) is not None:
        return wrong
    content = base64.b64decode("".join(plain.split("\n")[1:-1]))
    if begin is not None and begin[1] == "" and _RSA_ENCRYPTION not in content[:40]:
        return message("credential_app_key_kind")
    return None


_RSA_ENCRYPTION = bytes.fromhex("06092a864886f70d010101")  # the object identifier, as DER
_ENCRYPTED = message("credential_passphrase")
_DAMAGED = message("credential_key_damaged")


def _body_fault(lines: list[str], *, openssh: bool) -> Message | None:
    try:
        content = base64.b64decode("".join(lines), validate=True)
    except binascii.Error:
        return _DAMAGED
    if not openssh:
        return None if _whole_der(content) else _DAMAGED
    if not content.startswith(_MAGIC):
        return _DAMAGED
    rest = content[len(_MAGIC) :]
    try:
        cipher, rest = _string(rest)
        _, rest = _string(rest)
        _, rest = _string(rest)
        if cipher != b"none":
            return _ENCRYPTED
        _, rest = _string(rest[_LENGTH_BYTES:])  # after the number of keys: the public one
        _, rest = _string(rest)
    except ValueError:
        return _DAMAGED
    return _DAMAGED if rest else None


def _string(content: bytes) -> tuple[bytes, bytes]:
    """Splits off a string with its length before it (RFC 4251, section 5). Raises ValueError if it is cut off."""
    length = int.from_bytes(content[:_LENGTH_BYTES], "big")
    rest = content[_LENGTH_BYTES:]
    if len(content) < _LENGTH_BYTES or len(rest) < length:
        raise ValueError("cut off")
    return rest[:length], rest[length:]


def _whole_der(content: bytes) -> bool:
    """Says whether this is one DER sequence of the length that it says it has (X.690, section 8.1.3)."""
    if len(content) < 2 or content[0] != 0x30:
        return False
    if content[1] < 0x80:
        return len(content) == 2 + content[1]
    count = content[1] & 0x7F
    return len(content) == 2 + count + int.from_bytes(content[2 : 2 + count], "big")
