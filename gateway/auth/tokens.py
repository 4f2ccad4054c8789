"""Turns a token into a principal: verifies it once against the keys, then caches the result by the token's hash."""

from __future__ import annotations

import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, NamedTuple, TypeGuard

from gateway.auth.claims import NO_CLAIMS, Claims, WantedClaims, claims_of
from gateway.auth.encoding import decode_base64url, decode_object
from gateway.auth.jwks import Jwks
from gateway.errors import TokenExpired, TokenInvalid


@dataclass(frozen=True, slots=True)
class Principal:
    """A verified caller.

    ``user_id`` is the token's ``sub``: 1 to 255 UTF-8 bytes that a header can carry unchanged.
    ``user_type`` is the configured claim, "" when absent. ``expires_at`` is the token's ``exp`` in
    epoch seconds. ``late``: the token has expired and was accepted only because of a grace time. A late
    principal may *watch* its place in line and do nothing else. ``claims``: those that rules of rooms ask for.
    """

    user_id: str
    user_type: str
    expires_at: float
    late: bool = False
    claims: Claims = NO_CLAIMS


_log = logging.getLogger(__name__)

LEEWAY_SECONDS: Final = 60.0
MAX_TOKEN_CHARS: Final = 8168
"""What fits behind ``Authorization: Bearer`` in a header line of 8,190 bytes, the longest that the gateway reads."""
MAX_NAME_BYTES: Final = 255
_TOKEN_CACHE_SIZE: Final = 65_536  # about 30 MB at most
_HEADER_CACHE_SIZE: Final = 256
_MAX_TIMESTAMP: Final = 253_402_300_799  # the end of the year 9999; a time in milliseconds is beyond it
# Line breaks and other control characters; two blanks in a row, which some servers collapse; blanks at the ends, and
# the other characters that Java, JavaScript and others trim there.
_UNSAFE_NAME: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029]|\s\s|\A[\s\u180e\ufeff]|[\s\u180e\ufeff]\Z"
)
# Many characters end in one of these bytes in UTF-8. Servers that read headers as ISO-8859-1 take the byte for a blank.
_BLANK_LAST_BYTES: Final = frozenset({0x85, 0xA0})


class TokenVerifier:
    """Verifies JWTs against ``jwks``. Caches a valid token until it expires or the keys change.

    ``issuer`` and ``audience``: compared with ``iss`` and ``aud`` unless ``None`` or "". If there are several
    audiences, a token needs one of them.
    ``user_type_claim``: the claim that becomes ``Principal.user_type``. ``cache_size``: how many tokens the cache
    holds; the least recently used one is evicted first. ``clock``: returns epoch seconds.
    """

    def __init__(
        self,
        jwks: Jwks,
        *,
        issuer: str | None = None,
        audience: str | Sequence[str] | None = None,
        user_type_claim: str = "userType",
        cache_size: int = _TOKEN_CACHE_SIZE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._jwks = jwks
        self._user_type_claim = user_type_claim
        self._cache_size = cache_size
        self._clock = clock
        # SHA-256 of the token → principal, and the generation of the keys that verified it. With the hash, a memory
        # dump reveals no token. With the generation, a change of keys need not clear 65,536 entries at once.
        self._verified: OrderedDict[bytes, tuple[Principal, int]] = OrderedDict()
        self._headers: dict[bytes, tuple[str | None, str]] = {}
        self._last_hashed = "", b""
        self._logged_reasons: set[str] = set()
        """Reasons for refusing a ``sub`` that have been logged as a warning already."""
        self._wanted_claims: WantedClaims = {}
        self.set_expected(issuer, audience)

    def set_wanted_claims(self, wanted: WantedClaims) -> None:
        """Set the claims that principals get from now on, and clear the cache if they are other ones than before."""
        if wanted != self._wanted_claims:
            self._wanted_claims = wanted
            self._verified.clear()

    def set_expected(self, issuer: str | None, audience: str | Sequence[str] | None) -> None:
        """Set the issuer and audience that tokens must have from now on, and clear the cache."""
        self._issuer = issuer
        self._audiences = (audience,) if isinstance(audience, str) else tuple(audience or ())
        self._verified.clear()
        self._headers.clear()

    def cached(self, token: str) -> Principal | None:
        """The principal, if this token was verified before and is still valid. Takes about a microsecond."""
        if len(token) > MAX_TOKEN_CHARS or not token.isascii():
            return None
        digest = sha256(token.encode()).digest()
        self._last_hashed = token, digest
        found = self._verified.get(digest)
        if found is None:
            return None
        principal, generation = found
        if generation != self._jwks.generation or self._clock() >= principal.expires_at + LEEWAY_SECONDS:
            del self._verified[digest]
            return None
        self._verified.move_to_end(digest)
        return principal

    async def check(self, token: str, *, grace: float = 0.0) -> Principal:
        """Verify a token that is not in the cache, and return its principal.

        A token that expired less than ``grace`` seconds ago (leeway not counted) gives a principal with
        ``late=True`` instead of ``TokenExpired``. Raises ``TokenInvalid`` for anything else that is wrong with it
        and ``AuthUnavailable`` if there are no keys to verify it with.
        """
        parts = _split(token)
        kid, algorithm = self._header(parts)
        key = self._jwks.known_key(kid, algorithm) or await self._jwks.key(kid, algorithm)
        generation = self._jwks.generation
        if not key.verify(parts.signing_input, parts.signature):
            successor = await self._jwks.successor(key) if kid is None else None
            generation = self._jwks.generation
            if successor is None or not successor.verify(parts.signing_input, parts.signature):
                raise TokenInvalid("signature")
        return self._accept(token, parts, kid, algorithm, generation, grace)

    def check_at_once(self, token: str, *, grace: float = 0.0) -> Principal | None:
        """``check`` without waiting: None if that needs keys that are not known yet. Raises the errors of ``check``."""
        parts = _split(token)
        kid, algorithm = self._header(parts)
        key = self._jwks.known_key(kid, algorithm)
        if key is None:
            return None
        if not key.verify(parts.signing_input, parts.signature):
            if kid is None:
                return None
            raise TokenInvalid("signature")
        return self._accept(token, parts, kid, algorithm, self._jwks.generation, grace)

    def _header(self, parts: _Parts) -> tuple[str | None, str]:
        return self._headers.get(parts.head) or _read_header(parts.head, self._jwks.algorithms)

    def _accept(
        self, token: str, parts: _Parts, kid: str | None, algorithm: str, generation: int, grace: float
    ) -> Principal:
        """Check the claims of a token with a good signature, and cache it."""
        self._cache_header(parts.head, kid, algorithm)
        try:
            claims = decode_object(decode_base64url(parts.body))
        except ValueError:
            raise TokenInvalid("claims are not a JSON object") from None
        # Some serializers write an absent claim as null.
        claims = {name: value for name, value in claims.items() if value is not None}
        principal = self._principal(claims, grace)
        if not principal.late:
            self._cache_principal(token, principal, generation)
        return principal

    def _principal(self, claims: Mapping[str, Any], grace: float) -> Principal:
        """Check the claims ``iss``, ``aud``, ``nbf``, ``sub`` and ``exp``, and return the principal."""
        if self._issuer and claims.get("iss") != self._issuer:
            raise TokenInvalid("iss")
        if any(self._audiences) and not _has_audience(claims.get("aud"), self._audiences):
            raise TokenInvalid("aud")
        now = self._clock()
        if "nbf" in claims and now + LEEWAY_SECONDS < _instant(claims, "nbf"):
            raise TokenInvalid("not valid yet")
        expires_at = _instant(claims, "exp")
        user_id = claims.get("sub")
        if not _is_name(user_id):
            self._log_refused_sub(user_id)
            raise TokenInvalid("sub")
        overdue = now - expires_at - LEEWAY_SECONDS
        if overdue >= 0 and overdue >= grace:
            raise TokenExpired
        user_type = claims.get(self._user_type_claim)
        return Principal(
            user_id,
            user_type if _is_name(user_type) else "",
            expires_at,
            late=overdue >= 0,
            claims=claims_of(claims, self._wanted_claims) if self._wanted_claims else NO_CLAIMS,
        )

    def _log_refused_sub(self, sub: object) -> None:
        """Log why the ``sub`` of a token with a good signature is refused. The response does not say why."""
        why = _name_error(sub) if isinstance(sub, str) else "it is no text"
        level = logging.DEBUG if why in self._logged_reasons else logging.WARNING
        self._logged_reasons.add(why)
        _log.log(
            level,
            "a token with a good signature is refused for its sub: %s (further ones are logged quietly)",
            why,
        )

    def _cache_principal(self, token: str, principal: Principal, generation: int) -> None:
        hashed, digest = self._last_hashed
        # Nearly always the token that ``cached`` has just hashed, so it need not be hashed again.
        if hashed is not token:
            digest = sha256(token.encode()).digest()
        self._verified[digest] = (principal, generation)
        if len(self._verified) > self._cache_size:
            self._verified.popitem(last=False)

    def _cache_header(self, head: bytes, kid: str | None, algorithm: str) -> None:
        # Only headers of tokens with a good signature get here, so there are few unless the auth server makes many.
        if head not in self._headers:
            if len(self._headers) >= _HEADER_CACHE_SIZE:
                self._headers.clear()
            self._headers[head] = (kid, algorithm)


class _Parts(NamedTuple):
    """The encoded header, the encoded claims, the signed bytes, and the decoded signature."""

    head: bytes
    body: bytes
    signing_input: bytes
    signature: bytes


def _split(token: str) -> _Parts:
    if len(token) > MAX_TOKEN_CHARS:
        raise TokenInvalid("too long")
    if not token.isascii():
        raise TokenInvalid("not ASCII")
    parts = token.encode().split(b".")
    if len(parts) != 3:
        raise TokenInvalid("not three parts")
    head, body, signature = parts
    try:
        return _Parts(head, body, head + b"." + body, decode_base64url(signature))
    except ValueError:
        raise TokenInvalid("the signature is not base64url") from None


def _read_header(encoded: bytes, algorithms: tuple[str, ...]) -> tuple[str | None, str]:
    """``kid`` (None if absent) and ``alg``. Other members of the header are ignored, except two that are refused:
    ``crit``, which demands that extensions are understood, and ``b64: false``, which changes what is signed."""
    try:
        header = decode_object(decode_base64url(encoded))
    except ValueError:
        raise TokenInvalid("the header is not a JSON object") from None
    if "crit" in header:
        raise TokenInvalid("crit")
    if header.get("b64", True) is not True:
        raise TokenInvalid("b64")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise TokenInvalid("alg is not allowed")
    if "kid" not in header:
        return None, algorithm
    kid = header["kid"]
    if not isinstance(kid, str) or not kid:
        raise TokenInvalid("the kid is not a text, or empty")
    return kid, algorithm


def _instant(claims: Mapping[str, Any], name: str) -> float:
    """A NumericDate claim, in epoch seconds. Refuses ``true``, which Python counts as a number, and NaN."""
    value = claims.get(name)
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not -_MAX_TIMESTAMP <= value <= _MAX_TIMESTAMP
    ):
        raise TokenInvalid(name)
    return float(value)


def _has_audience(audience: object, wanted: Sequence[str]) -> bool:
    given = audience if isinstance(audience, list) else (audience,)
    return any(each in given for each in wanted)


def _is_name(value: object) -> TypeGuard[str]:
    """Whether a header can carry the claim unchanged: 1 to 255 UTF-8 bytes, no control characters.

    Also refuses what some servers drop or collapse, because " admin" would reach the service as "admin": blanks of any
    kind at either end, two blanks in a row, and a last byte that is a blank in ISO-8859-1.
    """
    return isinstance(value, str) and not _name_error(value)


def _name_error(name: str) -> str:
    """Why a header cannot carry ``name`` unchanged, as a text for the log; empty if it can."""
    if not name:
        return "it is empty"
    if _UNSAFE_NAME.search(name) is not None:
        return "it has a control character, two blanks in a row, or a blank at an end"
    try:
        data = name.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return "it is no Unicode text"
    if len(data) > MAX_NAME_BYTES:
        return f"it is longer than {MAX_NAME_BYTES} bytes"
    if data[-1] in _BLANK_LAST_BYTES:
        return f"its last byte in UTF-8 is {data[-1]:02X}, which some servers take for a blank and drop"
    return ""
