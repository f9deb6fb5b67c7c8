"""Seals a file for a place that others can read, and opens it again: in frames, so that no whole file is in memory.

Each frame is AES-256-GCM with a nonce that counts and says which frame is the last, so that none can be left out,
moved or cut off; the key is derived for each file, and what the file is belongs to what is authenticated.

Source: the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár: Online Authenticated-Encryption, 2015).
"""

from __future__ import annotations

import os
from typing import BinaryIO

from keruta.errors import KerutaError

MAGIC = b"keruta-sealed-1\n"
SALT_BYTES = 16
FRAME_BYTES = 1 << 20
_TAG_BYTES = 16


class UnsealableError(KerutaError):
    """The file was not sealed with this key for this name, or was changed."""


def seal(source: BinaryIO, target: BinaryIO, key: bytes, name: str) -> None:
    """Write the sealed content of one file to another."""
    salt = os.urandom(SALT_BYTES)
    target.write(MAGIC + salt)
    cipher = _cipher(key, salt, name)
    number, block = 0, source.read(FRAME_BYTES)
    while True:
        following = source.read(FRAME_BYTES)
        target.write(cipher.encrypt(_nonce(number, last=not following), block, name.encode()))
        if not following:
            return
        number, block = number + 1, following


def unseal(source: BinaryIO, target: BinaryIO, key: bytes, name: str, limit_bytes: int) -> None:
    """Write the content of a sealed file to another. What was written is worth nothing where this raises.

    Raises:
        UnsealableError.
    """
    from cryptography.exceptions import InvalidTag

    if source.read(len(MAGIC)) != MAGIC:
        raise UnsealableError("this is no sealed file")
    cipher = _cipher(key, source.read(SALT_BYTES), name)
    number, written, block = 0, 0, source.read(FRAME_BYTES + _TAG_BYTES)
    while True:
        following = source.read(FRAME_BYTES + _TAG_BYTES)
        try:
            plain = cipher.decrypt(_nonce(number, last=not following), block, name.encode())
        except (InvalidTag, ValueError) as error:
            raise UnsealableError("it was sealed with another key, for another name, or was changed") from error
        written += len(plain)
        if written > limit_bytes:
            raise UnsealableError(f"it has more than {limit_bytes} bytes")
        target.write(plain)
        if not following:
            return
        number, block = number + 1, following


def derived_key(secret: bytes, name: str) -> bytes:
    """Return a key of 32 bytes for one name, from a secret."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=SHA256(), length=32, salt=None, info=name.encode()).derive(secret)


def _cipher(key: bytes, salt: bytes, name: str):  # type: ignore[no-untyped-def]
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(derived_key(key + salt, name))


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])
