"""Seals secrets for the database, with keys in a file of mode 0600: one a line, the first seals, all of them open.

What is sealed names what it is, so that one sealed value can't be put in another's place.

Source: https://github.com/fyne-io/fernet-spec (AES-128-CBC with HMAC-SHA256, as Fernet says it)
"""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from keruta import structs
from keruta.domain.messages import message
from keruta.errors import KerutaError, SettingsError

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet


class CannotOpenError(KerutaError):
    """No key here opens it."""


class _Sealed(msgspec.Struct, frozen=True):
    name: str
    values: dict[str, str]


class Sealer:
    """Seals and opens with the keys of a file, which is read anew when it has changed.

    Args:
        path: the file; there need be none until something is sealed or opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._keys: MultiFernet | None = None
        self._read_at: tuple[int, int] | None = None
        self._lock = threading.Lock()

    def seal(self, name: str, values: dict[str, str]) -> bytes:
        """Raises SettingsError where there is no key."""
        return self._fernet().encrypt(msgspec.json.encode(_Sealed(name, values)))

    def open(self, name: str, sealed: bytes) -> dict[str, str]:
        """Raises CannotOpenError for what no key opens, or what was sealed for another name; SettingsError."""
        from cryptography.fernet import InvalidToken

        try:
            found = structs.from_json(self._fernet().decrypt(sealed), type=_Sealed)
        except (InvalidToken, msgspec.DecodeError) as error:
            raise CannotOpenError(message("credential_no_key", name=name)) from error
        if found.name != name:
            raise CannotOpenError(message("credential_sealed_for_another", name=name))
        return found.values

    def again(self, sealed: bytes) -> bytes:
        """The same, sealed by the first key. Raises CannotOpenError."""
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet().rotate(sealed)
        except InvalidToken as error:
            raise CannotOpenError(message("credential_no_key_for_it")) from error

    def salt(self) -> bytes:
        """Return a secret that only this installation knows. Raises SettingsError if there is no key."""
        self._fernet()
        return self._path.read_bytes().split()[-1]

    def _fernet(self) -> MultiFernet:
        from cryptography.fernet import Fernet, MultiFernet

        try:
            found = self._path.stat()
            if stat.S_IMODE(found.st_mode) & 0o077 and found.st_uid == os.geteuid():
                raise SettingsError(f"KERUTA_CREDENTIALS_KEY: {self._path} can be read by others; chmod 600 it")
            with self._lock:
                if self._keys is None or self._read_at != (found.st_mtime_ns, found.st_ino):
                    self._keys = MultiFernet([Fernet(key) for key in self._path.read_bytes().split()])
                    self._read_at = found.st_mtime_ns, found.st_ino
                return self._keys
        except (OSError, ValueError) as error:
            raise SettingsError(f"KERUTA_CREDENTIALS_KEY: there is no readable key in {self._path}") from error


def new_sealing_key() -> bytes:
    """Makes a key, as a line of the file."""
    from cryptography.fernet import Fernet

    return Fernet.generate_key() + b"\n"
