"""Keys with which gateways sign: ES256, by python-jose."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jose import jwk

ALGORITHM: Final = "ES256"
_REFUSAL: Final = "it is no private key for ES256"


class UnusableKey(ValueError):
    """The text is no private key for ES256. The message does not quote it."""


def generate_private_key() -> str:
    """A new private key for ES256, as PEM. Takes less than a millisecond."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


class SigningKey:
    """One private key. Its ``id`` is the thumbprint of the public one (RFC 7638), so that two keys never share it."""

    __slots__ = ("_headers", "_key", "id", "public_jwk")

    def __init__(self, private: str) -> None:
        """``private``: a PEM, as ``generate_private_key`` makes it. Raises UnusableKey."""
        _check(private)
        self._key = jwk.construct(private, ALGORITHM)
        parts = self._key.to_dict()
        members = {name: _text(parts[name]) for name in ("crv", "kty", "x", "y")}
        # RFC 7638: the required members alone, in the order of their names, without blanks.
        thumbprint = sha256(json.dumps(members, separators=(",", ":")).encode()).digest()
        self.id = _encode(thumbprint).decode()
        self.public_jwk = {**members, "kid": self.id, "use": "sig", "alg": ALGORITHM}
        """What everyone may know."""
        self._headers: dict[str, bytes] = {}

    def sign(self, typ: str, claims: Mapping[str, Any]) -> str:
        """A compact JWS over ``claims``; its header says ``typ``. Takes about 40 µs."""
        header = self._headers.get(typ)
        if header is None:
            content = {"alg": ALGORITHM, "kid": self.id, "typ": typ}
            header = self._headers[typ] = _encode(json.dumps(content, separators=(",", ":")).encode())
        body = json.dumps(claims, ensure_ascii=False, separators=(",", ":")).encode()
        signing_input = header + b"." + _encode(body)
        return (signing_input + b"." + _encode(self._key.sign(signing_input))).decode()


def _check(private: str) -> None:
    """python-jose itself would take any key here, and fail when it signs."""
    if not private.startswith("-----BEGIN PRIVATE KEY-----"):
        raise UnusableKey(_REFUSAL)
    try:
        key = load_pem_private_key(private.encode(), None)
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableKey(_REFUSAL) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise UnusableKey(_REFUSAL)


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
