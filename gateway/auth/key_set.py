"""From a JWKS document to verification keys. Pure; everything doubtful in the set is left out and counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from jose import jwk
from jose.backends.base import Key as JoseKey
from jose.exceptions import JOSEError

from .encoding import decode_base64url, decode_object

MAX_DOCUMENT_BYTES: Final = 256 * 1024
MAX_KEYS: Final = 64
_MAX_KID_CHARS: Final = 255

# 2048: what RFC 7518 demands of RS256. 8192, and 32 bits of exponent: beyond them one verification
# takes milliseconds of the event loop.
_RSA_BITS: Final = range(2048, 8192 + 1)
_RSA_EXPONENT_BITS: Final = 32

_RSA_ALGORITHMS: Final = frozenset({"RS256", "RS384", "RS512"})
_CURVE_OF: Final = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
_COORDINATE_BYTES: Final = {"P-256": 32, "P-384": 48, "P-521": 66}
_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

ALGORITHMS: Final = _RSA_ALGORITHMS | _CURVE_OF.keys()
"""Every algorithm an allow-list may name: asymmetric signatures that python-jose can check."""


@dataclass(frozen=True, slots=True)
class Key:
    """One public key for exactly one algorithm; equal when the key material is.

    Built once and used for every token: python-jose takes twice as long when given the JWK each time.
    """

    kid: str
    algorithm: str
    material: tuple[str, ...]
    _jose: JoseKey = field(compare=False, repr=False)

    def verify(self, signing_input: bytes, signature: bytes) -> bool:
        """Whether ``signature`` is this key's, made with ``algorithm``, over ``signing_input``."""
        return self._jose.verify(signing_input, signature)


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys by ``kid`` and algorithm, and how many entries of the document were not usable."""

    keys: Mapping[str, Mapping[str, Key]]
    skipped: int


class _Unusable(Exception):
    """This entry of the set is not a key we would trust."""


def parse_key_set(document: bytes, algorithms: Sequence[str]) -> KeySet:
    """Read a JWKS document (RFC 7517).

    Kept are keys with a ``kid`` that fit one of ``algorithms`` by kty, alg, use, key_ops, size and curve;
    one without ``alg`` serves every allowed algorithm of its kind. The first of two keys with the same
    ``kid`` and algorithm counts. Raises ``ValueError`` if the document as a whole is no key set.
    """
    if len(document) > MAX_DOCUMENT_BYTES:
        raise ValueError("the key set is too large")
    entries = decode_object(document).get("keys")
    if not isinstance(entries, list):
        raise ValueError("no list of keys")
    keys: dict[str, dict[str, Key]] = {}
    usable = 0
    for entry in entries[:MAX_KEYS]:
        try:
            built = _build(entry, algorithms)
        except (_Unusable, ValueError, JOSEError):
            continue
        fresh = [key for key in built if key.algorithm not in keys.get(key.kid, ())]
        for key in fresh:
            keys.setdefault(key.kid, {})[key.algorithm] = key
        usable += bool(fresh)
    return KeySet(keys, len(entries) - usable)


def _build(entry: object, algorithms: Sequence[str]) -> list[Key]:
    if not isinstance(entry, dict):
        raise _Unusable("not an object")
    kid = entry.get("kid")
    if not isinstance(kid, str) or not 1 <= len(kid) <= _MAX_KID_CHARS:
        raise _Unusable("no usable kid")
    if entry.get("use", "sig") != "sig":
        raise _Unusable("not for signatures")
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise _Unusable("not for verifying")
    if not _PRIVATE_MEMBERS.isdisjoint(entry):
        raise _Unusable("a published secret is nobody's key any more")
    material, fitting = _rsa(entry) if entry.get("kty") == "RSA" else _ec(entry)
    wanted = [name for name in algorithms if name in fitting and entry.get("alg", name) == name]
    if not wanted:
        raise _Unusable("for no allowed algorithm")
    fingerprint = tuple(material.values())
    return [Key(kid, name, fingerprint, jwk.construct(material, name)) for name in wanted]


def _rsa(entry: Mapping[str, Any]) -> tuple[dict[str, str], frozenset[str]]:
    modulus, exponent = _number(entry, "n"), _number(entry, "e")
    if modulus.bit_length() not in _RSA_BITS or exponent.bit_length() > _RSA_EXPONENT_BITS:
        raise _Unusable("size out of bounds")
    return {"kty": "RSA", "n": entry["n"], "e": entry["e"]}, _RSA_ALGORITHMS


def _ec(entry: Mapping[str, Any]) -> tuple[dict[str, str], frozenset[str]]:
    curve = entry.get("crv")
    if entry.get("kty") != "EC" or not isinstance(curve, str) or curve not in _COORDINATE_BYTES:
        raise _Unusable("neither RSA nor a known curve")
    limit = 8 * _COORDINATE_BYTES[curve]
    if max(_number(entry, "x").bit_length(), _number(entry, "y").bit_length()) > limit:
        raise _Unusable("coordinate out of bounds")
    fitting = frozenset(name for name, its_curve in _CURVE_OF.items() if its_curve == curve)
    return {"kty": "EC", "crv": curve, "x": entry["x"], "y": entry["y"]}, fitting


def _number(entry: Mapping[str, Any], member: str) -> int:
    text = entry.get(member)
    if not isinstance(text, str):
        raise _Unusable(f"no {member}")
    return int.from_bytes(decode_base64url(text.encode("ascii")), "big")
