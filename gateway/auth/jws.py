"""Reads compact JWS that gateways have signed, and checks them against published keys. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gateway.auth.encoding import decode_base64url, decode_object

if TYPE_CHECKING:
    from gateway.auth.key_set import KeySet

MAX_CHARS: Final = 8192


class InvalidJws(ValueError):
    """The text is no JWS, or its signature is not good. The message does not quote it."""


class Jws(NamedTuple):
    """A JWS with JSON objects as header and payload. Nothing of it is verified yet."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signing_input: bytes
    signature: bytes


def parse_jws(text: str) -> Jws:
    """Reads a compact JWS. Raises InvalidJws."""
    try:
        return _parts(text)
    except ValueError:
        raise InvalidJws("it is no compact JWS") from None


def _parts(text: str) -> Jws:
    data = text.encode("ascii")
    if len(data) > MAX_CHARS:
        raise ValueError("too long")
    signing_input, _, signature = data.rpartition(b".")
    header, claims = (decode_object(decode_base64url(part)) for part in signing_input.split(b"."))
    return Jws(header, claims, signing_input, decode_base64url(signature))


def verify_jws(jws: Jws, keys: KeySet, *, typ: str, algorithm: str = "ES256") -> None:
    """Raises InvalidJws unless the signature is that of the key that the header names, and the header says ``typ``.
    Times are not checked."""
    if jws.header.get("typ") != typ:
        raise InvalidJws(f"its typ is not {typ}")
    if jws.header.get("alg") != algorithm or "crit" in jws.header:
        raise InvalidJws(f"its alg is not {algorithm}")
    kid = jws.header.get("kid")
    key = keys.keys.get(kid, {}).get(algorithm) if isinstance(kid, str) else None
    if key is None:
        raise InvalidJws("its key is not among the published ones")
    if not key.verify(jws.signing_input, jws.signature):
        raise InvalidJws("its signature is not that of its key")
