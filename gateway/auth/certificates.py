"""The public key in a certificate, as members of a JWK: for keys of a set that have nothing but ``x5c``. Pure."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509 import InvalidVersion, load_der_x509_certificate

_CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_BLANKS: Final = str.maketrans("", "", " \t\r\n")


def members_of(certificate: str) -> dict[str, str]:
    """The public members of a JWK (``kty``, ``n`` and so on) of a certificate's key.

    ``certificate`` is DER in base64, the standard alphabet. Its dates, names and signature are not looked at: the key
    is trusted because the set holds it. Raises ValueError for what is no certificate, or has a key of another kind.
    """
    try:
        der = base64.b64decode(certificate.translate(_BLANKS), validate=True)
        key = load_der_x509_certificate(der).public_key()
    except (binascii.Error, UnsupportedAlgorithm, InvalidVersion) as error:
        raise ValueError("no certificate") from error
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        point = key.public_numbers()
        return {
            "kty": "EC",
            "crv": _CURVES[key.curve.name],
            "x": _number(point.x),
            "y": _number(point.y),
        }
    if isinstance(key, Ed25519PublicKey):
        raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return {"kty": "OKP", "crv": "Ed25519", "x": _text(raw)}
    raise ValueError("a key of another kind")


def _number(number: int) -> str:
    return _text(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
