"""Decides which calls need a token, finds the token in a request, and identifies the caller. The policy is pure."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from multidict import istr

from gateway.auth.cookies import cookie_values
from gateway.auth.csrf import NO_ORIGINS, Headers, Origins, check_csrf
from gateway.auth.tokens import Principal, TokenVerifier
from gateway.auth.visitors import Identity
from gateway.errors import AuthError, TokenExpired, TokenInvalid, TokenRequired
from gateway.query import values_of

QUEUE_PATH: Final = "/api/v1/queue"
STATUS_CALL: Final = ("GET", QUEUE_PATH + "/status")
STREAM_CALL: Final = ("GET", QUEUE_PATH + "/stream")
LEAVE_CALL: Final = ("POST", QUEUE_PATH + "/leave")
TOKEN_PARAMETER: Final = "access_token"  # noqa: S105

_AUTHORIZATION: Final = istr("Authorization")
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
        if gated or is_queue_call(path):
            return False
        return any(rule.opens(method, path) for rule in self.public)


def is_queue_call(path: str) -> bool:
    """Whether a canonical path is one of the queue API's."""
    return path == QUEUE_PATH or path.startswith(QUEUE_PATH + "/")


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
    authorization = headers.getall(_AUTHORIZATION, ())
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


class _Call(NamedTuple):
    """One call, as ``Authenticator.identify`` gets it."""

    access: Access
    method: str
    path: str
    headers: Headers
    query: str
    form: Sequence[str]
    gated: bool
    identity: Identity
    place_is_enough: bool
    origins: Origins

    @property
    def is_for_visitors(self) -> bool:
        """Whether the call is about a place that a visitor may have too."""
        return self.identity != "token" and (self.gated or is_queue_call(self.path))

    @property
    def needs_token(self) -> bool:
        """Whether the call is refused without a token."""
        if self.is_for_visitors and (self.place_is_enough or is_queue_call(self.path)):
            return False
        if self.is_for_visitors:
            # The gate matches more calls than it lists. Where it lists none, a place is needed beside the token.
            return not self.access.is_open(self.method, self.path)
        return not self.access.is_open(self.method, self.path, gated=self.gated)

    def names_a_user(self, found: Credential | Principal | None, error: AuthError) -> bool:
        """Whether a call that needs no token is refused for a bad one all the same, since without it another one's
        place would count: that of the visitor, where users have places too.

        A token in a cookie that has expired or is no good counts as none: browsers send it without being asked.
        """
        if not (self.is_for_visitors and self.identity == "either"):
            return False
        if not isinstance(error, TokenExpired | TokenInvalid):
            return True
        if isinstance(found, Credential):
            return found.source is not TokenSource.COOKIE
        return bool(self.headers.getall(_AUTHORIZATION, ()))


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
        values = headers.getall(_AUTHORIZATION, ())
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
        identity: Identity = "token",
        place_is_enough: bool = False,
        origins: Origins = NO_ORIGINS,
    ) -> Principal | None:
        """The caller; ``None`` if the call needs no token and has no usable one. Call it if ``from_cache`` is ``None``.

        ``access`` holds the rules the request is served under (a reload makes a new one), ``path`` is the
        canonical path, ``query`` the raw query, ``form`` the values of ``access_token`` in a form body (read
        for POST leave only), ``gated`` whether the call needs a place in a room, ``identity`` who may have a place
        there, ``place_is_enough`` whether a visitor's place stands for the token, ``origins`` what the origins of pages
        mean for it. Raises ``TokenRequired``, ``TokenExpired``,
        ``TokenInvalid``, ``CsrfRejected`` or ``AuthUnavailable``. Only a stream call can return a principal that is
        ``late``: the caller serves it if the user is waiting in line, and otherwise raises ``TokenExpired``.
        """
        call = _Call(access, method, path, headers, query, form, gated, identity, place_is_enough, origins)
        found: Credential | Principal | None = None
        try:
            found = self._find(call)
            if not isinstance(found, Credential):
                return found
            principal = await self._verifier.check(found.token, grace=self._grace(call))
            self._on_token("late" if principal.late else "ok")
        except AuthError as error:
            if self._is_refused(call, found, error):
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
        identity: Identity = "token",
        place_is_enough: bool = False,
        origins: Origins = NO_ORIGINS,
    ) -> Principal | None:
        """``identify`` without waiting, for calls that do not leave. Raises its errors. Raises MustWait, before
        anything has been counted, if that needs keys that are not known yet, or if the principal would be late."""
        call = _Call(access, method, path, headers, query, (), gated, identity, place_is_enough, origins)
        found: Credential | Principal | None = None
        try:
            found = self._find(call)
            if not isinstance(found, Credential):
                return found
            principal = self._verifier.check_at_once(found.token, grace=self._grace(call))
            if principal is None or principal.late:
                raise MustWait
            self._on_token("ok")
        except AuthError as error:
            if self._is_refused(call, found, error):
                raise
            return None
        return principal

    def _grace(self, call: _Call) -> float:
        return self._stream_grace if (call.method, call.path) == STREAM_CALL else 0.0

    def _is_refused(self, call: _Call, found: Credential | Principal | None, error: AuthError) -> bool:
        """Counts ``error``. Returns False if the call goes on without a token."""
        self._on_token(error.code)
        # TokenRequired is raised only if the call needs a token.
        return isinstance(error, TokenRequired) or call.needs_token or call.names_a_user(found, error)

    def _find(self, call: _Call) -> Credential | Principal | None:
        """The token to check; or the caller, if that is decided without checking one."""
        credential = find_credential(
            call.method,
            call.path,
            call.headers,
            query=call.query,
            form=call.form,
            cookie_name=self._cookie_name,
            cookie_everywhere=self._cookie_everywhere,
        )
        if credential is None:
            if call.needs_token:
                raise TokenRequired
            self._on_token(TokenRequired.code)
            return None
        if credential.source is TokenSource.COOKIE:
            check_csrf(call.method, call.headers, call.origins)
        # A token in the header is not in the cache: ``from_cache`` would have found it.
        in_header = credential.source is TokenSource.HEADER
        principal = None if in_header else self._verifier.cached(credential.token)
        if principal is None:
            return credential
        self._on_token("cached")
        return principal
