"""Reads a JWKS document, certificates (``x5c``) included, into verification keys. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509 import InvalidVersion, load_der_x509_certificate
from jose.exceptions import JOSEError

from gateway.auth.encoding import InvalidJson, decode_base64url, decode_document, json_error, repeats
from gateway.auth.signatures import (
    CURVE_OF,
    ED25519_ALGORITHMS,
    ED25519_BYTES,
    RSA_ALGORITHMS,
    Verify,
    verifier,
)

_CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_BASE64_BLANKS: Final = str.maketrans("", "", " \t\r\n")


def members_of(certificate: str) -> dict[str, str]:
    """The public JWK members (``kty``, ``n`` and so on) of a certificate's key.

    ``certificate`` is DER in base64, the standard alphabet. Its dates, names and signature are not checked: the key
    is trusted because the key set holds it. Raises ValueError if it is no certificate or its key is of another kind.
    """
    try:
        der = base64.b64decode(certificate.translate(_BASE64_BLANKS), validate=True)
        key = load_der_x509_certificate(der).public_key()
    except (binascii.Error, UnsupportedAlgorithm, InvalidVersion) as error:
        raise ValueError("no certificate") from error
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return {"kty": "RSA", "n": _number_text(numbers.n), "e": _number_text(numbers.e)}
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        point = key.public_numbers()
        return {
            "kty": "EC",
            "crv": _CURVES[key.curve.name],
            "x": _number_text(point.x),
            "y": _number_text(point.y),
        }
    if isinstance(key, Ed25519PublicKey):
        raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return {"kty": "OKP", "crv": "Ed25519", "x": _text(raw)}
    raise ValueError("a key of another kind")


def _number_text(number: int) -> str:
    return _text(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


MAX_DOCUMENT_BYTES: Final = 256 * 1024
MAX_KEYS: Final = 64
MAX_KID_CHARS: Final = 255
"""A key with a longer ``kid`` is left out."""

_SHOWN_KID_CHARS: Final = 64
_ABSENT: Final[tuple[object, ...]] = (None, "", [], {})
_TO_URL_ALPHABET: Final = bytes.maketrans(b"+/", b"-_")
_BLANKS: Final = b" \t\r\n"

# 2048: what RFC 7518 demands of RS256. 8192, and 32 bits of exponent: with more, one verification blocks the event loop
# for milliseconds.
_RSA_BITS: Final = range(2048, 8192 + 1)
_RSA_EXPONENT_BITS: Final = 32

_COORDINATE_BYTES: Final = {"P-256": 32, "P-384": 48, "P-521": 66}
_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_UNSUPPORTED_KEY: Final = "its kty and crv are none that tokens are checked with here"
# The members that hold key material. An entry without any of them may have a certificate instead.
_PUBLIC_MEMBERS: Final = frozenset({"n", "e", "x", "y"})

_ED25519_PRIME: Final = 2**255 - 19
_ED25519_SIGN: Final = 1 << 255
_OF_ORDER_8: Final = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
# Points of small order: under such a key anyone can make signatures.
_ED25519_WEAK: Final = frozenset(
    {0, 1, _OF_ORDER_8, _ED25519_PRIME - _OF_ORDER_8, _ED25519_PRIME - 1, _ED25519_PRIME, _ED25519_PRIME + 1}
)


@dataclass(frozen=True, slots=True)
class Key:
    """One public key for exactly one algorithm. Two are equal if their key material is. ``kid`` is "" if absent.

    Built once and used for every token: python-jose takes twice as long when it gets the JWK each time.
    """

    kid: str
    algorithm: str
    material: tuple[str, ...]
    _verify: Verify = field(compare=False, repr=False)

    def verify(self, signing_input: bytes, signature: bytes) -> bool:
        """Whether ``signature`` is this key's, made with ``algorithm``, over ``signing_input``."""
        return self._verify(signing_input, signature)


@dataclass(frozen=True, slots=True)
class UnusedEntry:
    """An entry of the document that is not used. ``name`` is its kid, or its position if it has none. ``reason`` holds
    no key material. ``harmless``: the entry is valid, but for another purpose than verifying tokens. All entries beyond
    ``MAX_KEYS`` are reported as one."""

    name: str
    reason: str
    harmless: bool

    def __str__(self) -> str:
        return f"{self.name} ({self.reason})"


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys, and the entries of the document that are not used."""

    keys: Mapping[str, Mapping[str, Key]]
    """The keys with a ``kid``, by ``kid`` and algorithm."""
    fitting: Mapping[str, tuple[Key, ...]]
    """All keys by algorithm, including those without a ``kid``. Of several with the same material, the first."""
    unused_entries: tuple[UnusedEntry, ...]
    skipped: int
    """How many entries are not used. ``unused_entries`` holds those beyond ``MAX_KEYS`` as one item; here each
    counts."""


class NoKeySet(ValueError):
    """The document as a whole is no key set. The text says why, without quoting the document."""


class _Unusable(Exception):
    """This entry is not a key that the gateway trusts, or (``harmless``) it is for another purpose."""

    def __init__(self, reason: str, *, harmless: bool = False) -> None:
        super().__init__(reason)
        self.harmless = harmless


def parse_key_set(document: bytes, algorithms: Sequence[str]) -> KeySet:
    """Read a JWKS document (RFC 7517).

    Keeps the keys that fit one of ``algorithms`` by kty, alg, use, key_ops, size and curve. A key without ``alg``
    serves every allowed algorithm of its kty and curve. If two keys have the same ``kid`` and algorithm, tokens with
    that ``kid`` are verified with the first one. Raises ``NoKeySet`` if the document as a whole is no key set.
    """
    entries = _entries(document)
    keys: dict[str, dict[str, Key]] = {}
    fitting: dict[str, dict[tuple[str, ...], Key]] = {}
    unused_entries = []
    for place, entry in enumerate(entries[:MAX_KEYS], 1):
        try:
            try:
                built = _build(entry, algorithms)
            except (ValueError, JOSEError):
                # Without the error's own text, which may quote the key.
                raise _Unusable("malformed key material") from None
            for key in built:
                # Also a key whose kid another key has: a token without a kid may be signed with either.
                fitting.setdefault(key.algorithm, {}).setdefault(key.material, key)
            named = [key for key in built if key.kid]
            fresh = [key for key in named if key.algorithm not in keys.get(key.kid, ())]
            if named and not fresh:
                raise _Unusable("an entry before it has the same kid and algorithm")
        except _Unusable as why:
            unused_entries.append(UnusedEntry(_name(entry, place), str(why), why.harmless))
        else:
            for key in fresh:
                keys.setdefault(key.kid, {})[key.algorithm] = key
    too_many = len(entries) - MAX_KEYS
    if too_many > 0:
        # One item for all of them, because one for each would take time and memory.
        name = f"the last {too_many} of {len(entries)} entries"
        unused_entries.append(UnusedEntry(name, f"more than {MAX_KEYS} keys", harmless=False))
    by_algorithm = {algorithm: tuple(each.values()) for algorithm, each in fitting.items()}
    return KeySet(keys, by_algorithm, tuple(unused_entries), len(unused_entries) + max(too_many - 1, 0))


def _entries(document: bytes) -> list[Any]:
    if len(document) > MAX_DOCUMENT_BYTES:
        raise NoKeySet(f"it is longer than {MAX_DOCUMENT_BYTES} bytes")
    try:
        members = decode_document(document)
    except InvalidJson as error:
        raise NoKeySet(str(error)) from None
    entries = members.get("keys")
    if repeats(members, "keys"):
        raise NoKeySet("its member keys occurs twice")
    if entries is None:
        hint = ", but a jwks_uri: that is where they are" if "jwks_uri" in members else ""
        raise NoKeySet(f"it has no keys{hint}")
    if not isinstance(entries, list):
        raise NoKeySet("its keys are not a list")
    return entries


def _name(entry: object, place: int) -> str:
    kid = entry.get("kid") if isinstance(entry, dict) and not repeats(entry, "kid") else None
    return repr(kid[:_SHOWN_KID_CHARS]) if isinstance(kid, str) and kid else f"entry {place}"


def _build(entry: object, algorithms: Sequence[str]) -> list[Key]:
    entry = _members(entry)
    if not _PRIVATE_MEMBERS.isdisjoint(entry):
        raise _Unusable("it holds private members, and a published secret is no key any more")
    if entry.get("use", "sig") != "sig":
        raise _Unusable("its use is not sig", harmless=True)
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list):
        raise _Unusable("key_ops is not a list")
    if "verify" not in operations:
        raise _Unusable("its key_ops are not for verifying", harmless=True)
    kid = entry.get("kid", "")
    if not isinstance(kid, str):
        raise _Unusable("the kid is not a text")
    if len(kid) > MAX_KID_CHARS:
        raise _Unusable(f"the kid is longer than {MAX_KID_CHARS} characters")
    if "x5c" in entry and _PUBLIC_MEMBERS.isdisjoint(entry):
        entry = _with_certificate(entry)
    match entry.get("kty"):
        case "RSA":
            material, fitting = _rsa(entry)
        case "OKP":
            material, fitting = _okp(entry)
        case _:
            material, fitting = _ec(entry)
    wanted = [name for name in algorithms if name in fitting and entry.get("alg", name) == name]
    if not wanted:
        raise _Unusable("its alg is not allowed for it", harmless=True)
    fingerprint = tuple(material.values())
    return [Key(kid, name, fingerprint, verifier(material, name)) for name in wanted]


def _members(entry: object) -> dict[str, Any]:
    """The entry's members, without null, empty texts and empty lists: some serializers write absent members so."""
    if not isinstance(entry, dict):
        raise _Unusable("not an object")
    why = json_error(entry)
    if why is not None:
        raise _Unusable(why)
    return {member: value for member, value in entry.items() if value not in _ABSENT}


def _with_certificate(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The entry with the key members of its first certificate."""
    chain = entry["x5c"]
    if not isinstance(chain, list) or not isinstance(chain[0], str):
        raise _Unusable("its x5c is not a list of texts")
    members = members_of(chain[0])
    if any(entry.get(name, members[name]) != members[name] for name in ("kty", "crv") if name in members):
        raise _Unusable("the key of its certificate is of another kty or crv")
    return {**entry, **members}


def _rsa(entry: Mapping[str, Any]) -> tuple[dict[str, str], frozenset[str]]:
    modulus, exponent = _number(entry, "n"), _number(entry, "e")
    if modulus.bit_length() not in _RSA_BITS or exponent.bit_length() > _RSA_EXPONENT_BITS:
        raise _Unusable(
            f"its n must have {_RSA_BITS.start} to {_RSA_BITS.stop - 1} bits and its e at most {_RSA_EXPONENT_BITS}"
        )
    return {"kty": "RSA", "n": _encode_number(modulus), "e": _encode_number(exponent)}, RSA_ALGORITHMS


def _okp(entry: Mapping[str, Any]) -> tuple[dict[str, str], frozenset[str]]:
    if entry.get("crv") != "Ed25519":
        raise _Unusable(_UNSUPPORTED_KEY, harmless=True)
    data = _octets(entry, "x")
    if len(data) != ED25519_BYTES:
        raise _Unusable(f"its x does not have {ED25519_BYTES} bytes")
    if int.from_bytes(data, "little") % _ED25519_SIGN in _ED25519_WEAK:
        raise _Unusable("its x is a point under which anyone can sign")
    return {"kty": "OKP", "crv": "Ed25519", "x": _encoded(data)}, ED25519_ALGORITHMS


def _ec(entry: Mapping[str, Any]) -> tuple[dict[str, str], frozenset[str]]:
    curve = entry.get("crv")
    if entry.get("kty") != "EC" or not isinstance(curve, str) or curve not in _COORDINATE_BYTES:
        raise _Unusable(_UNSUPPORTED_KEY, harmless=True)
    size = _COORDINATE_BYTES[curve]
    x, y = _number(entry, "x"), _number(entry, "y")
    if max(x.bit_length(), y.bit_length()) > 8 * size:
        raise _Unusable("its coordinates are too long for its curve")
    fitting = frozenset(name for name, its_curve in CURVE_OF.items() if its_curve == curve)
    return {"kty": "EC", "crv": curve, "x": _encode_number(x, size), "y": _encode_number(y, size)}, fitting


def _number(entry: Mapping[str, Any], member: str) -> int:
    return int.from_bytes(_octets(entry, member), "big")


def _octets(entry: Mapping[str, Any], member: str) -> bytes:
    text = entry.get(member)
    if not isinstance(text, str):
        raise _Unusable(f"no {member}" if text is None else f"its {member} is not a text")
    data = text.encode("ascii").translate(_TO_URL_ALPHABET, _BLANKS)
    return decode_base64url(data.rstrip(b"="))


def _encode_number(number: int, size: int = 0) -> str:
    """A number in JOSE's one canonical form, with at least ``size`` bytes."""
    return _encoded(number.to_bytes(max(size, (number.bit_length() + 7) // 8, 1), "big"))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
