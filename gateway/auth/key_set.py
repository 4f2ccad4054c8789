"""From a JWKS document to verification keys. Pure.

Liberal in form, strict in meaning: members that are null or empty count as absent, and numbers may be padded, in the
standard alphabet, broken into lines or led by zero bytes. A key that is not sound, or not for verifying, is left out
with its reason.
"""

from __future__ import annotations

import base64
import codecs
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
_SHOWN_KID_CHARS: Final = 64
_ABSENT: Final[tuple[object, ...]] = (None, "", [], {})
_TO_URL_ALPHABET: Final = bytes.maketrans(b"+/", b"-_")
_BLANKS: Final = b" \t\r\n"

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
class LeftOut:
    """An entry of the document that is not used. ``name`` is its kid, or its place where it has none; ``reason`` holds
    no key material. ``harmless``: the entry is sound, and for something else than checking tokens."""

    name: str
    reason: str
    harmless: bool

    def __str__(self) -> str:
        return f"{self.name} ({self.reason})"


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys by ``kid`` and algorithm, and the entries of the document that are not used."""

    keys: Mapping[str, Mapping[str, Key]]
    left_out: tuple[LeftOut, ...]

    @property
    def skipped(self) -> int:
        """How many entries are not used."""
        return len(self.left_out)


class _Unusable(Exception):
    """This entry of the set is not a key we would trust, or (``harmless``) not one for us."""

    def __init__(self, reason: str, *, harmless: bool = False) -> None:
        super().__init__(reason)
        self.harmless = harmless


def parse_key_set(document: bytes, algorithms: Sequence[str]) -> KeySet:
    """Read a JWKS document (RFC 7517).

    Kept are keys with a ``kid`` that fit one of ``algorithms`` by kty, alg, use, key_ops, size and curve;
    one without ``alg`` serves every allowed algorithm of its kind. The first of two keys with the same
    ``kid`` and algorithm counts. Raises ``ValueError`` if the document as a whole is no key set.
    """
    if len(document) > MAX_DOCUMENT_BYTES:
        raise ValueError("the key set is too large")
    entries = decode_object(document.removeprefix(codecs.BOM_UTF8)).get("keys")
    if not isinstance(entries, list):
        raise ValueError("no list of keys")
    keys: dict[str, dict[str, Key]] = {}
    left_out = []
    for place, entry in enumerate(entries, 1):
        try:
            if place > MAX_KEYS:
                raise _Unusable(f"more than {MAX_KEYS} keys")
            try:
                built = _build(entry, algorithms)
            except (ValueError, JOSEError):
                # What they say may quote the key.
                raise _Unusable("malformed key material") from None
            fresh = [key for key in built if key.algorithm not in keys.get(key.kid, ())]
            if not fresh:
                raise _Unusable("an entry before it has the same kid and algorithm")
        except _Unusable as why:
            left_out.append(LeftOut(_name(entry, place), str(why), why.harmless))
        else:
            for key in fresh:
                keys.setdefault(key.kid, {})[key.algorithm] = key
    return KeySet(keys, tuple(left_out))


def _name(entry: object, place: int) -> str:
    kid = entry.get("kid") if isinstance(entry, dict) else None
    return repr(kid[:_SHOWN_KID_CHARS]) if isinstance(kid, str) and kid else f"entry {place}"


def _build(entry: object, algorithms: Sequence[str]) -> list[Key]:
    if not isinstance(entry, dict):
        raise _Unusable("not an object")
    # Serializers write what a key does not have as null, or as an empty text or list.
    entry = {member: value for member, value in entry.items() if value not in _ABSENT}
    if not _PRIVATE_MEMBERS.isdisjoint(entry):
        raise _Unusable("it holds private members; a published secret is nobody's key any more")
    if entry.get("use", "sig") != "sig":
        raise _Unusable("its use is not sig", harmless=True)
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list):
        raise _Unusable("key_ops is not a list")
    if "verify" not in operations:
        raise _Unusable("its key_ops are not for verifying", harmless=True)
    kid = entry.get("kid")
    if not isinstance(kid, str):
        raise _Unusable("no kid" if kid is None else "the kid is not a text")
    if len(kid) > _MAX_KID_CHARS:
        raise _Unusable(f"the kid is longer than {_MAX_KID_CHARS} characters")
    material, fitting = _rsa(entry) if entry.get("kty") == "RSA" else _ec(entry)
    wanted = [name for name in algorithms if name in fitting and entry.get("alg", name) == name]
    if not wanted:
        raise _Unusable("its alg is not allowed for it", harmless=True)
    fingerprint = tuple(material.values())
    return [Key(kid, name, fingerprint, jwk.construct(material, name)) for name in wanted]


def _rsa(entry: Mapping[str, Any]) -> tuple[dict[str, str], frozenset[str]]:
    modulus, exponent = _number(entry, "n"), _number(entry, "e")
    if modulus.bit_length() not in _RSA_BITS or exponent.bit_length() > _RSA_EXPONENT_BITS:
        raise _Unusable(
            f"its n must have {_RSA_BITS.start} to {_RSA_BITS.stop - 1} bits and its e at most {_RSA_EXPONENT_BITS}"
        )
    return {"kty": "RSA", "n": _written(modulus), "e": _written(exponent)}, _RSA_ALGORITHMS


def _ec(entry: Mapping[str, Any]) -> tuple[dict[str, str], frozenset[str]]:
    curve = entry.get("crv")
    if entry.get("kty") != "EC" or not isinstance(curve, str) or curve not in _COORDINATE_BYTES:
        raise _Unusable("its kty and crv are none that tokens are checked with here", harmless=True)
    size = _COORDINATE_BYTES[curve]
    x, y = _number(entry, "x"), _number(entry, "y")
    if max(x.bit_length(), y.bit_length()) > 8 * size:
        raise _Unusable("its coordinates are too long for its curve")
    fitting = frozenset(name for name, its_curve in _CURVE_OF.items() if its_curve == curve)
    return {"kty": "EC", "crv": curve, "x": _written(x, size), "y": _written(y, size)}, fitting


def _number(entry: Mapping[str, Any], member: str) -> int:
    text = entry.get(member)
    if not isinstance(text, str):
        raise _Unusable(f"no {member}" if text is None else f"its {member} is not a text")
    data = text.encode("ascii").translate(_TO_URL_ALPHABET, _BLANKS)
    return int.from_bytes(decode_base64url(data.rstrip(b"=")), "big")


def _written(number: int, size: int = 0) -> str:
    """A number in the one form that JOSE has for it, with at least ``size`` bytes."""
    data = number.to_bytes(max(size, (number.bit_length() + 7) // 8, 1), "big")
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
