"""Headers that tell a service who the caller is, and headers that a client may not send. Pure, on raw headers.

A user id outside ASCII is sent as its UTF-8 bytes, without percent-encoding. So the header holds exactly the signed
``sub``, byte for byte, and an id with a "%" in it stays unchanged. Services that read headers as ISO-8859-1 (the
servlet default) decode again: ``new String(id.getBytes(ISO_8859_1), UTF_8)``.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Final

from gateway.auth.mac import hmac_sha256
from gateway.auth.tokens import Principal

RawHeader = tuple[bytes, bytes]
RawHeaders = Sequence[RawHeader]

USER_ID: Final = b"X-User-Id"
USER_TYPE: Final = b"X-User-Type"
SIGNATURE: Final = b"X-Gateway-Signature"
VISITOR_ID: Final = b"X-Visitor-Id"
PASS: Final = b"X-Queue-Pass"
ROOM: Final = b"X-Queue-Room"

# CGI, WSGI and their successors turn "-" into "_"; others take any sign for a separator or drop it. So names are
# compared by their letters and digits alone, in lower case.
_LOWER: Final = bytes.maketrans(string.ascii_uppercase.encode(), string.ascii_lowercase.encode())
_SEPARATORS: Final = bytes(set(range(256)) - set((string.ascii_letters + string.digits).encode()))


def _letters(name: bytes) -> bytes:
    return name.translate(_LOWER, _SEPARATORS)


# Never sent to a service, whether a client or a filter set them.
_IDENTITY_HEADERS: Final = frozenset(
    map(
        _letters,
        (
            USER_ID,
            USER_TYPE,
            VISITOR_ID,
            SIGNATURE,
            PASS,
            ROOM,
            b"X-HTTP-Method",
            b"X-HTTP-Method-Override",
            b"X-Method-Override",
            b"X-Original-URL",
            b"X-Rewrite-URL",
        ),
    )
)
# Some services take the path, a path prefix to cut off, or the method from one of these. Such a service would serve
# another call than the one that the gateway checked, or let it pass unchecked, as oauth2-proxy did by X-Forwarded-Uri.
# Even trusted proxies may not send these, because most forward headers that they don't set themselves.
# X-Forwarded-Prefix has a rule of its own, since services put it before their links. A route's filters may set these,
# because a service may need one to know where it is mounted.
_OVERRIDE_HEADERS: Final = frozenset(
    map(
        _letters,
        (
            # The prefix: gunicorn, mod_wsgi, Daphne, Pyramid, Plack, Connexion, ReverseProxied of Flask's snippets.
            b"Script-Name",
            b"X-Script-Name",
            b"X-Forwarded-Script-Name",
            b"X-Forwarded-Path",
            b"X-Traversal-Path",
            b"X-VHM-Root",
            b"Daphne-Root-Path",
            # The path: gunicorn, PHP behind IIS, Next.js, Astro, services made to run behind NGINX, Traefik or Envoy.
            b"Path-Info",
            b"X-Path-Info",
            b"X-Astro-Path",
            b"X-Envoy-Original-Path",
            b"X-Forwarded-Uri",
            b"X-Forwarded-Url",
            b"X-Invoke-Path",
            b"X-Matched-Path",
            b"X-Original-Path",
            b"X-Original-Uri",
            b"X-Replaced-Path",
            b"X-Request-Uri",
            # The method: the same services.
            b"X-Envoy-Original-Method",
            b"X-Forwarded-Method",
            b"X-Original-Method",
            b"X-Override-Method",
        ),
    )
)
_RESERVED: Final = _IDENTITY_HEADERS | _OVERRIDE_HEADERS
_CONNECTION: Final = b"connection"

# Cache of results by the exact bytes of a name. Clients use few names; a client that invents many only empties it.
_suspicious_names: dict[bytes, bool] = {}
_MAX_CACHED_NAMES: Final = 1024
_MAX_CACHED_NAME_BYTES: Final = 64


def is_reserved(name: bytes) -> bool:
    """Whether a service could read this header as one that no client may set."""
    return _letters(name) in _RESERVED


def strip_identity(headers: RawHeaders, *, of_route: bool = False) -> RawHeaders:
    """The client's headers without the reserved ones, in any spelling and number. ``of_route``: the headers are those
    that a route's filters have produced; these may name another call, but not another caller.

    Reserved names inside ``Connection`` are removed too, so that a client can't make a later step remove a header that
    the gateway sets. Returns the same object if there is nothing to remove.
    """
    suspicious_names = _suspicious_names
    for name, value in headers:
        suspicious = suspicious_names.get(name)
        if suspicious is None:
            suspicious = _classify_name(name)
        if suspicious and _must_change(name, value):
            return _stripped(headers, _IDENTITY_HEADERS if of_route else _RESERVED)
    return headers


def identity_headers(principal: Principal | None, visitor: str | None = None) -> tuple[RawHeader, ...]:
    """The headers that tell a service who the caller is: the user, and the visitor whose place counts; none without
    either."""
    known = () if visitor is None else ((VISITOR_ID, visitor.encode()),)
    if principal is None:
        return known
    return (USER_ID, principal.user_id.encode()), (USER_TYPE, principal.user_type.encode()), *known


def signature(
    secret: str, t: int, method: str, target: str, user: str, user_type: str, visitor: str | None = None
) -> str:
    """HMAC-SHA256 in hex over the values, one per line. There is a line for the visitor only if there is one.

    ``t``: epoch seconds. ``target``: path and query as the service sees them. No value can hold a line break (the HTTP
    parser and the checks of tokens and cookies refuse it), so two different calls never have the same signed text.
    """
    text = f"{t}\n{method}\n{target}\n{user}\n{user_type}"
    if visitor is not None:
        text = f"{text}\n{visitor}"
    return hmac_sha256(secret.encode(), text.encode("utf-8", "surrogateescape")).hex()


def signature_header(
    secret: str, t: int, method: str, target: str, principal: Principal | None, visitor: str | None = None
) -> RawHeader:
    """``X-Gateway-Signature`` for a call to a service; user and type are empty without a principal."""
    user, user_type = (principal.user_id, principal.user_type) if principal else ("", "")
    signed = signature(secret, t, method, target, user, user_type, visitor)
    return SIGNATURE, f"t={t},v1={signed}".encode()


def _classify_name(name: bytes) -> bool:
    suspicious = _letters(name) in _RESERVED or name.lower() == _CONNECTION
    if len(name) <= _MAX_CACHED_NAME_BYTES:
        if len(_suspicious_names) >= _MAX_CACHED_NAMES:
            _suspicious_names.clear()
        _suspicious_names[name] = suspicious
    return suspicious


def _must_change(name: bytes, value: bytes) -> bool:
    return name.lower() != _CONNECTION or any(map(is_reserved, value.split(b",")))


def _stripped(headers: RawHeaders, reserved: frozenset[bytes]) -> list[RawHeader]:
    kept = []
    for name, value in headers:
        if name.lower() == _CONNECTION:
            options = [option.strip() for option in value.split(b",") if not is_reserved(option)]
            if options:
                kept.append((name, b", ".join(options)))
        elif _letters(name) not in reserved:
            kept.append((name, value))
    return kept
