"""What is wrong with an ssh private key, found by reading its text when it is given, not when Git first uses it."""

from __future__ import annotations

import base64
import binascii
import re

_BEGIN = re.compile(r"-----BEGIN ([A-Z ]*)PRIVATE KEY-----")
_MAGIC = b"openssh-key-v1\0"
_LENGTH_BYTES = 4


def ssh_key_fault(text: str) -> str | None:
    """Says in a sentence why ssh would not take this private key, or None.

    Sources: RFC 7468; https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.key
    """
    if "\r" in text:
        return "The private key has Windows line ends (CR LF). Save it with Unix line ends (LF) and give it again."
    lines = text.strip().split("\n")
    if text.startswith("PuTTY-User-Key-File"):
        return "The private key is in PuTTY's format. Export it in the OpenSSH format (puttygen -O private-openssh)."
    if lines[0].startswith(("ssh-", "ecdsa-", "sk-")):
        return "This is the public key. Give the private key, which begins with -----BEGIN."
    begin = _BEGIN.match(lines[0])
    if begin is None:
        return "Not a private key: its first line must be -----BEGIN OPENSSH PRIVATE KEY----- or alike."
    if len(lines) == 1 or lines[0] != begin[0]:
        return "The private key is on one line: its line breaks were lost. Give the file as it is, with all its lines."
    if any(line != line.strip() for line in lines):
        return "The private key has spaces before or after its lines. Give the file as it is, without indentation."
    end = begin[0].replace("BEGIN", "END")
    if lines[-1] != end:
        return f"The private key is cut off: its last line must be {end}."
    if "ENCRYPTED" in lines[0] or any(line.startswith("Proc-Type:") and "ENCRYPTED" in line for line in lines):
        return _ENCRYPTED
    return _body_fault(lines[1:-1], openssh=begin[1] == "OPENSSH ")


_ENCRYPTED = (
    "The private key has a passphrase, which nobody can type when a task runs. Make a key without one for keruta "
    '(ssh-keygen -t ed25519 -N "").'
)
_DAMAGED = "The private key is damaged: its content can't be read. Give the file again, as it is."


def _body_fault(lines: list[str], *, openssh: bool) -> str | None:
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
