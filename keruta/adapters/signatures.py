"""Signs and checks statements: DSSE envelopes with Ed25519 (`keruta.domain.provenance`)."""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode, urlsafe_b64decode
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from keruta import structs
from keruta.domain.provenance import (
    PAYLOAD_TYPE,
    PREDICATE_TYPE,
    STATEMENT_TYPE,
    Envelope,
    PublicKey,
    PublicKeys,
    Signature,
    pre_authentication_encoding,
)
from keruta.errors import KerutaError, SettingsError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

BEGIN = b"-----BEGIN PUBLIC KEY-----"


class NotVerifiedError(KerutaError):
    """No statement that one of these keys has signed."""


class FileSigner:
    """Signs with the key of a file, which is read each time: it may be replaced while this runs.

    Args:
        path: an Ed25519 private key, as PEM; there need be none until something is signed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def public(self) -> PublicKey:
        """Raises SettingsError where there is no readable key."""
        return public_key(self._key())

    def sign(self, statement: dict[str, Any]) -> Envelope:
        """Raises SettingsError where there is no readable key."""
        key, payload = self._key(), msgspec.json.encode(statement)
        made = key.sign(pre_authentication_encoding(PAYLOAD_TYPE, payload))
        signature = Signature(sig=b64encode(made).decode(), keyid=public_key(key).keyid)
        return Envelope(payload_type=PAYLOAD_TYPE, payload=b64encode(payload).decode(), signatures=[signature])

    def _key(self) -> Ed25519PrivateKey:
        try:
            return private_key(self._path.read_bytes())
        except (OSError, ValueError) as error:
            raise SettingsError(f"KERUTA_PROVENANCE_KEY: {self._path} is not a readable Ed25519 key") from error


def private_key(pem: bytes) -> Ed25519PrivateKey:
    """Raises ValueError for what is no Ed25519 private key without a passphrase."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, None)
    except (TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("not a private key without a passphrase") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("not an Ed25519 key")  # noqa: TRY004  as the docstring says
    return key


def public_key(key: Ed25519PrivateKey) -> PublicKey:
    """Return the public half of a key."""
    return _described(key.public_key())


def _described(key: Ed25519PublicKey) -> PublicKey:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    der, pem = (key.public_bytes(one, PublicFormat.SubjectPublicKeyInfo) for one in (Encoding.DER, Encoding.PEM))
    return PublicKey(keyid=hashlib.sha256(der).hexdigest(), public_key=pem.decode())


def read_keys(data: bytes) -> list[PublicKey]:
    """Read public keys: PEM, one or several, or the JSON of `/api/v1/provenance/keys`. A key's id is worked out here.

    Raises:
        NotVerifiedError: there is no Ed25519 key in it.
    """
    try:
        pems = [one.public_key.encode() for one in structs.from_json(data, type=PublicKeys).keys]
    except (msgspec.DecodeError, RecursionError):
        pems = [BEGIN + part for part in data.split(BEGIN)[1:]]
    if not pems:
        raise NotVerifiedError("there is no public key in it: PEM is needed, or what `keruta provenance keys` prints")
    return [_described(_public(pem)) for pem in pems]


def _public(pem: bytes) -> Ed25519PublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise NotVerifiedError("a public key in it can't be read") from error
    if not isinstance(key, Ed25519PublicKey):
        raise NotVerifiedError("a public key in it is not an Ed25519 key")
    return key


def verify(envelope: bytes, keys: Sequence[PublicKey]) -> tuple[dict[str, Any], PublicKey]:
    """Return the statement of an envelope, and the key that signed it.

    The ids that signatures name are hints: each signature is tried with each key.

    Raises:
        NotVerifiedError: with a sentence.
    """
    from cryptography.exceptions import InvalidSignature

    try:
        read = structs.from_json(envelope, type=Envelope)
        payload = _decoded(read.payload)
        signatures = [_decoded(one.sig) for one in read.signatures]
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise NotVerifiedError("it is not a DSSE envelope") from error
    signed = pre_authentication_encoding(read.payload_type, payload)
    for key in keys:
        public = _public(key.public_key.encode())
        for signature in signatures:
            try:
                public.verify(signature, signed)
            except InvalidSignature:
                continue
            return _statement(read.payload_type, payload), key
    named = ", ".join(one.keyid[:16] or "unnamed" for one in read.signatures) or "nobody"
    raise NotVerifiedError(f"none of {len(keys)} known keys has signed it; it names {named}")


def _statement(payload_type: str, payload: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError):
        found = None
    if (
        payload_type != PAYLOAD_TYPE
        or not isinstance(found, dict)
        or found.get("_type") != STATEMENT_TYPE
        or found.get("predicateType") != PREDICATE_TYPE
    ):
        raise NotVerifiedError("what is signed is not an in-toto statement with SLSA provenance v1")
    return found


def _decoded(text: str) -> bytes:
    """Decode base64, standard or URL-safe: DSSE says that both are to be taken. Raises ValueError."""
    return urlsafe_b64decode(text) if set("-_") & set(text) else b64decode(text, validate=True)
