"""The way in: from a request to who is calling, or why nobody may know."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.errors import AuthError, TokenRequired

from .access import STREAM_CALL, Access, Headers, Source, bearer, check_origin, find_credential
from .principal import Principal
from .tokens import TokenVerifier


def _not_told(_outcome: str) -> None: ...


def _no_origin(_origin: str) -> bool:
    return False


class Authenticator:
    """Puts token sources, verification and public rules together.

    ``cookie_name``: the cookie that may carry a token (``None`` = none). ``stream_grace``: how many seconds
    late a token may be when a stream is opened. ``allowed_origin``: whether a page of this origin may act
    with a cookie. ``on_token`` hears what came of each request: ``ok``, ``cached`` (verified before), ``late``, or the
    error's code, whether or not the call was open all the same.
    """

    def __init__(
        self,
        verifier: TokenVerifier,
        *,
        cookie_name: str | None = None,
        stream_grace: float = 3600.0,
        allowed_origin: Callable[[str], bool] = _no_origin,
        on_token: Callable[[str], None] = _not_told,
    ) -> None:
        self._verifier = verifier
        self._cookie_name = cookie_name
        self._stream_grace = stream_grace
        self._allowed_origin = allowed_origin
        self._on_token = on_token

    def recall(self, headers: Headers) -> Principal | None:
        """Who is calling, if ``Authorization`` says so with a token that was verified before; nearly every request. For
        all others ask ``identify``."""
        values = headers.getall("Authorization", ())
        # Of several, ``identify`` says what is wrong with them.
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
    ) -> Principal | None:
        """Who is calling, whom ``recall`` does not know; ``None`` on a call that is open and has no usable token.

        ``access`` holds the rules the request is served under (a reload makes a new one), ``path`` is the
        canonical path, ``query`` the raw query, ``form`` the values of ``access_token`` in a form body (read
        for POST leave only), ``gated`` whether the call needs a place in a room. Raises ``TokenRequired``,
        ``TokenExpired``, ``TokenInvalid``, ``CsrfRejected`` or ``AuthUnavailable``. Only a stream can get a
        principal that is ``late``: serve it to somebody waiting, and refuse others with ``TokenExpired``.
        """
        try:
            credential = find_credential(
                method, path, headers, query=query, form=form, cookie_name=self._cookie_name
            )
            if credential is None:
                if not access.is_open(method, path, gated=gated):
                    raise TokenRequired
                self._on_token(TokenRequired.code)
                return None
            check_origin(method, path, credential, headers, self._allowed_origin)
            # What came in the header is not known, or it would have been recalled.
            in_header = credential.source is Source.HEADER
            principal = None if in_header else self._verifier.cached(credential.token)
            if principal is not None:
                self._on_token("cached")
                return principal
            grace = self._stream_grace if (method, path) == STREAM_CALL else 0.0
            principal = await self._verifier.check(credential.token, grace=grace)
            self._on_token("late" if principal.late else "ok")
        except AuthError as error:
            self._on_token(error.code)
            if access.is_open(method, path, gated=gated):
                return None
            raise
        return principal
