"""Decides which calls need a token, finds the token in a request, and identifies the caller. The policy is pure."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from gateway.auth.cookies import cookie_values
from gateway.auth.csrf import NO_ORIGINS, Headers, Origins, check_csrf
from gateway.auth.tokens import Principal, TokenVerifier
from gateway.errors import AuthError, TokenInvalid, TokenRequired
from gateway.query import values_of

QUEUE_PATH: Final = "/api/v1/queue"
STATUS_CALL: Final = ("GET", QUEUE_PATH + "/status")
STREAM_CALL: Final = ("GET", QUEUE_PATH + "/stream")
LEAVE_CALL: Final = ("POST", QUEUE_PATH + "/leave")
TOKEN_PARAMETER: Final = "access_token"  # noqa: S105

_COOKIE_CALLS: Final = frozenset({STATUS_CALL, STREAM_CALL, LEAVE_CALL})
_MAX_QUERY_FIELDS: Final = 100


class TokenSource(enum.Enum):
    """Where a token was found."""

    HEADER = "header"
    FORM = "form"
    QUERY = "query"
    COOKIE = "cookie"


class Credential(NamedTuple):
    """The one token that counts for a call, and its source. ``repr`` does not show the token."""

    token: str
    source: TokenSource

    def __repr__(self) -> str:
        return f"Credential({self.source})"


class CallRule(Protocol):
    """A public rule. ``opens``: whether the call needs no token. ``path`` is canonical; a GET rule opens HEAD."""

    def opens(self, method: str, path: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Access:
    """The calls that need no token: those that a rule in ``public`` opens, except calls of the queue API."""

    public: Sequence[CallRule]

    def is_open(self, method: str, path: str, *, gated: bool = False) -> bool:
        """Whether the call needs no token. A gated call always needs one, even if a public rule opens it."""
        if gated or path == QUEUE_PATH or path.startswith(QUEUE_PATH + "/"):
            return False
        return any(rule.opens(method, path) for rule in self.public)


def find_credential(
    method: str,
    path: str,
    headers: Headers,
    *,
    query: str = "",
    form: Sequence[str] = (),
    cookie_name: str | None = None,
    cookie_everywhere: bool = False,
) -> Credential | None:
    """The token that counts for this call, or ``None`` if it has none.

    ``query`` is the raw query without "?", ``form`` all values of the body's ``access_token`` fields,
    ``cookie_name`` the cookie that may carry a token (``None`` or "": no cookie may), on three calls of the queue or
    (``cookie_everywhere``) on every call. Raises ``TokenInvalid`` if one source holds several tokens, because the
    service might use another one than the gateway does. Raises ``BadRequest`` if the query is needed and malformed.
    """
    authorization = headers.getall("Authorization", ())
    if authorization:
        token = bearer(authorization)
        if token is not None:
            return Credential(token, TokenSource.HEADER)
    call = (method, path)
    if call not in _COOKIE_CALLS and not cookie_everywhere:
        return None
    if call == LEAVE_CALL and (token := _single(form)):
        return Credential(token, TokenSource.FORM)
    if call == STREAM_CALL and (token := _single(_query_values(query))):
        return Credential(token, TokenSource.QUERY)
    if cookie_name and (token := _single(cookie_values(headers.getall("Cookie", ()), cookie_name))):
        return Credential(token, TokenSource.COOKIE)
    return None


def bearer(values: Sequence[str]) -> str | None:
    """The token in the values of ``Authorization``, or ``None``. Raises ``TokenInvalid`` for several values."""
    if len(values) > 1:
        raise TokenInvalid("several Authorization headers")
    scheme, _, rest = values[0].strip(" \t").partition(" ")
    return rest.strip(" ") if scheme.lower() == "bearer" else None


def _single(values: Sequence[str]) -> str | None:
    if len(values) > 1:
        raise TokenInvalid("several tokens in one place")
    return values[0] if values else None


def _query_values(query: str) -> list[str]:
    if query.count("&") >= _MAX_QUERY_FIELDS:
        raise TokenInvalid("too many fields in the query")
    return values_of(query, TOKEN_PARAMETER)


def _ignore_outcome(_outcome: str) -> None: ...


class MustWait(Exception):
    """Identifying the caller has to wait for keys."""


class Authenticator:
    """Identifies the caller of a request: combines token sources, verification and public rules.

    ``cookie_name``: the cookie that may carry a token (``None``: no cookie may), on three calls of the queue or
    (``cookie_everywhere``) on every call. ``stream_grace``: for how many seconds an expired token may still open a
    stream. ``on_token`` is called once per request with the outcome: ``ok``, ``cached`` (verified before), ``late`` or
    the error's code. It gets the error's code even if the call needs no token and goes on.
    """

    def __init__(
        self,
        verifier: TokenVerifier,
        *,
        cookie_name: str | None = None,
        cookie_everywhere: bool = False,
        stream_grace: float = 3600.0,
        on_token: Callable[[str], None] = _ignore_outcome,
    ) -> None:
        self._verifier = verifier
        self._cookie_name = cookie_name
        self._cookie_everywhere = cookie_everywhere
        self._stream_grace = stream_grace
        self._on_token = on_token

    def from_cache(self, headers: Headers) -> Principal | None:
        """The caller, if ``Authorization`` holds a token that was verified before. Nearly every request does. If this
        returns ``None``, call ``identify``."""
        values = headers.getall("Authorization", ())
        # If there are several values, ``identify`` raises the error.
        token = bearer(values) if len(values) == 1 else None
        principal = self._verifier.cached(token) if token is not None else None
        if principal is not None:
            self._on_token("cached")
        return principal

    async def identify(
        self,
        access: Access,
        method: str,
        path: str,
        headers: Headers,
        *,
        query: str = "",
        form: Sequence[str] = (),
        gated: bool = False,
        origins: Origins = NO_ORIGINS,
    ) -> Principal | None:
        """The caller; ``None`` if the call needs no token and has no usable one. Call it if ``from_cache`` is ``None``.

        ``access`` holds the rules the request is served under (a reload makes a new one), ``path`` is the
        canonical path, ``query`` the raw query, ``form`` the values of ``access_token`` in a form body (read
        for POST leave only), ``gated`` whether the call needs a place in a room, ``origins`` what the origins of pages
        mean for it. Raises ``TokenRequired``, ``TokenExpired``, ``TokenInvalid``, ``CsrfRejected`` or
        ``AuthUnavailable``. Only a stream call can return a
        principal that is ``late``: the caller serves it if the user is waiting in line, and otherwise raises
        ``TokenExpired``.
        """
        try:
            found = self._find(
                access, method, path, headers, query=query, form=form, gated=gated, origins=origins
            )
            if not isinstance(found, Credential):
                return found
            grace = self._stream_grace if (method, path) == STREAM_CALL else 0.0
            principal = await self._verifier.check(found.token, grace=grace)
            self._on_token("late" if principal.late else "ok")
        except TokenRequired as error:
            # Raised only if the call is not open.
            self._on_token(error.code)
            raise
        except AuthError as error:
            self._on_token(error.code)
            if not access.is_open(method, path, gated=gated):
                raise
            return None
        return principal

    def identify_at_once(
        self,
        access: Access,
        method: str,
        path: str,
        headers: Headers,
        *,
        query: str = "",
        gated: bool = False,
        origins: Origins = NO_ORIGINS,
    ) -> Principal | None:
        """``identify`` without waiting, for calls that do not leave. Raises its errors. Raises MustWait, before
        anything has been counted, if that needs keys that are not known yet, or if the principal would be late."""
        try:
            found = self._find(access, method, path, headers, query=query, gated=gated, origins=origins)
            if not isinstance(found, Credential):
                return found
            grace = self._stream_grace if (method, path) == STREAM_CALL else 0.0
            principal = self._verifier.check_at_once(found.token, grace=grace)
            if principal is None or principal.late:
                raise MustWait
            self._on_token("ok")
        except TokenRequired as error:
            # Raised only if the call is not open.
            self._on_token(error.code)
            raise
        except AuthError as error:
            self._on_token(error.code)
            if not access.is_open(method, path, gated=gated):
                raise
            return None
        return principal

    def _find(
        self,
        access: Access,
        method: str,
        path: str,
        headers: Headers,
        *,
        query: str = "",
        form: Sequence[str] = (),
        gated: bool = False,
        origins: Origins,
    ) -> Credential | Principal | None:
        """The token to check; or the caller, if that is decided without checking one."""
        credential = find_credential(
            method,
            path,
            headers,
            query=query,
            form=form,
            cookie_name=self._cookie_name,
            cookie_everywhere=self._cookie_everywhere,
        )
        if credential is None:
            if not access.is_open(method, path, gated=gated):
                raise TokenRequired
            self._on_token(TokenRequired.code)
            return None
        if credential.source is TokenSource.COOKIE:
            check_csrf(method, headers, origins)
        # A token in the header is not in the cache: ``from_cache`` would have found it.
        in_header = credential.source is TokenSource.HEADER
        principal = None if in_header else self._verifier.cached(credential.token)
        if principal is None:
            return credential
        self._on_token("cached")
        return principal
