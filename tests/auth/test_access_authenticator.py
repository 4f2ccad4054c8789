from __future__ import annotations

from typing import Any

import pytest
from aiohttp import ClientSession
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.auth.access import LEAVE_CALL, STATUS_CALL, STREAM_CALL, Access, Authenticator
from gateway.auth.csrf import NO_ORIGINS, Headers
from gateway.auth.discovery import http_fetch
from gateway.auth.jwks import Jwks
from gateway.auth.tokens import LEEWAY_SECONDS, Principal, TokenVerifier
from gateway.errors import AuthError, AuthUnavailable, CsrfRejected, TokenExpired, TokenInvalid, TokenRequired
from tests.auth.attacks import NOW, forger, good
from tests.auth.rig import STILL
from tests.support.tokens import Issuer, serving

PRIVATE = ("GET", "/api/v1/user/me")
PUBLIC = ("GET", "/api/v1/products")


class PublicProducts:
    def opens(self, method: str, path: str) -> bool:
        return (method, path) == PUBLIC


ACCESS = Access([PublicProducts()])


def headers(**lines: str) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict((name.replace("_", "-"), value) for name, value in lines.items()))


def bearer(token: str) -> CIMultiDictProxy[str]:
    return headers(Authorization=f"Bearer {token}")


@pytest.fixture
def authenticator(verifier: TokenVerifier) -> Authenticator:
    return Authenticator(verifier, cookie_name="AUTH", stream_grace=3600)


class Shop:
    """CORS allows one origin to act with credentials; none is the gateway's own."""

    def is_own(self, origin: str, /) -> bool:
        return False

    def may_act(self, origin: str, /) -> bool:
        return origin == "https://shop.example"


@pytest.fixture
def tokens(issuer: Issuer) -> dict[str, str]:
    return {
        "good": good(issuer),
        "expired": good(issuer, exp=NOW - LEEWAY_SECONDS),
        "late": good(issuer, exp=NOW - 1800),
        "too late": good(issuer, exp=NOW - 7200),
        "forged": good(forger(issuer)),
    }


Outcome = str | type[AuthError] | None


async def outcome(
    authenticator: Authenticator, method: str, path: str, headers: Headers, **options: Any
) -> Outcome:
    """What came of it: the user ("late" if the token was), ``None`` for nobody, or the class of the refusal."""
    try:
        principal: Principal | None = authenticator.from_cache(headers)
        if principal is None:
            options = {"origins": Shop()} | options
            principal = await authenticator.identify(ACCESS, method, path, headers, **options)
    except AuthError as refusal:
        return type(refusal)
    if principal is None:
        return None
    return "late" if principal.late else principal.user_id


@pytest.mark.parametrize(
    ("call", "gated", "token", "expected"),
    [
        (PRIVATE, False, "good", "user-1"),
        (PRIVATE, False, "expired", TokenExpired),
        (PRIVATE, False, "late", TokenExpired),
        (PRIVATE, False, "forged", TokenInvalid),
        (PRIVATE, False, None, TokenRequired),
        (PUBLIC, False, "good", "user-1"),
        (PUBLIC, False, "expired", None),
        (PUBLIC, False, "forged", None),
        (PUBLIC, False, None, None),
        (PUBLIC, True, "good", "user-1"),
        (PUBLIC, True, "expired", TokenExpired),
        (PUBLIC, True, "forged", TokenInvalid),
        (PUBLIC, True, None, TokenRequired),
        (STATUS_CALL, False, "late", TokenExpired),
        (LEAVE_CALL, False, "late", TokenExpired),
        (STREAM_CALL, False, "good", "user-1"),
        (STREAM_CALL, False, "late", "late"),
        (STREAM_CALL, False, "too late", TokenExpired),
        (STREAM_CALL, False, "forged", TokenInvalid),
        (STREAM_CALL, False, None, TokenRequired),
    ],
)
async def test_who_may_call_what(
    authenticator: Authenticator,
    tokens: dict[str, str],
    call: tuple[str, str],
    gated: bool,
    token: str | None,
    expected: Outcome,
) -> None:
    lines = headers() if token is None else bearer(tokens[token])
    for _ in range(2):  # the second time from memory
        assert await outcome(authenticator, *call, lines, gated=gated) == expected


async def test_a_token_may_come_by_query_form_and_cookie(
    authenticator: Authenticator, tokens: dict[str, str]
) -> None:
    token = tokens["good"]
    cookie = headers(Cookie=f"AUTH={token}")
    assert await outcome(authenticator, *STREAM_CALL, headers(), query=f"access_token={token}") == "user-1"
    assert await outcome(authenticator, *LEAVE_CALL, headers(), form=[token]) == "user-1"
    assert await outcome(authenticator, *STATUS_CALL, cookie) == "user-1"
    assert await outcome(authenticator, *PRIVATE, cookie) is TokenRequired


async def test_the_header_wins_even_when_it_is_bad(
    authenticator: Authenticator, tokens: dict[str, str]
) -> None:
    lines = headers(Authorization=f"Bearer {tokens['forged']}", Cookie=f"AUTH={tokens['good']}")
    assert await outcome(authenticator, *STATUS_CALL, lines) is TokenInvalid


async def test_a_leave_by_cookie_is_refused_from_elsewhere_even_with_a_known_token(
    authenticator: Authenticator, tokens: dict[str, str]
) -> None:
    cookie = f"AUTH={tokens['good']}"
    assert await outcome(authenticator, *STATUS_CALL, headers(Cookie=cookie)) == "user-1"
    assert await outcome(authenticator, *LEAVE_CALL, headers(Cookie=cookie)) is CsrfRejected
    own = headers(Cookie=cookie, Origin="https://shop.example")
    assert await outcome(authenticator, *LEAVE_CALL, own) == "user-1"
    same = headers(Cookie=cookie, Sec_Fetch_Site="same-origin")
    assert await outcome(authenticator, *LEAVE_CALL, same) == "user-1"


async def test_several_authorization_headers_make_a_public_call_anonymous(
    authenticator: Authenticator, tokens: dict[str, str]
) -> None:
    line = ("Authorization", f"Bearer {tokens['good']}")
    lines = CIMultiDictProxy(CIMultiDict([line, line]))
    assert await outcome(authenticator, *PRIVATE, lines) is TokenInvalid
    assert await outcome(authenticator, *PUBLIC, lines) is None


async def test_by_default_no_origin_is_allowed_and_no_cookie_counts(
    verifier: TokenVerifier, tokens: dict[str, str]
) -> None:
    cookie = headers(Cookie=f"AUTH={tokens['good']}", Origin="https://shop.example")
    assert await outcome(Authenticator(verifier), *LEAVE_CALL, cookie) is TokenRequired
    with_cookie = Authenticator(verifier, cookie_name="AUTH")
    assert await outcome(with_cookie, *LEAVE_CALL, cookie, origins=NO_ORIGINS) is CsrfRejected


@pytest.mark.parametrize(
    ("call", "lines", "expected"),
    [
        (PRIVATE, {}, "user-1"),
        (("POST", "/api/v1/orders"), {}, CsrfRejected),
        (("POST", "/api/v1/orders"), {"Sec_Fetch_Site": "same-origin"}, "user-1"),
        (("POST", "/api/v1/orders"), {"Sec_Fetch_Site": "cross-site"}, CsrfRejected),
        (PUBLIC, {"Upgrade": "websocket"}, None),
        (PUBLIC, {"Upgrade": "websocket", "Origin": "https://shop.example"}, "user-1"),
    ],
)
async def test_with_cookies_on_all_calls_each_unsafe_one_must_come_from_an_own_page(
    verifier: TokenVerifier,
    tokens: dict[str, str],
    call: tuple[str, str],
    lines: dict[str, str],
    expected: Outcome,
) -> None:
    authenticator = Authenticator(verifier, cookie_name="AUTH", cookie_everywhere=True)
    for _ in range(2):  # the second time from memory
        asked = headers(Cookie=f"AUTH={tokens['good']}", **lines)
        assert await outcome(authenticator, *call, asked) == expected
    # A token in the header is no cookie, wherever the request comes from.
    asked = headers(Authorization=f"Bearer {tokens['good']}", Sec_Fetch_Site="cross-site")
    assert await outcome(authenticator, *call, asked) == "user-1"


async def test_without_keys_public_calls_go_on(issuer: Issuer) -> None:
    async def away(_uri: str) -> bytes:
        raise OSError

    async with Jwks("http://127.0.0.1:1/", ("RS256",), away, timing=STILL).running() as jwks:
        authenticator = Authenticator(TokenVerifier(jwks))
        assert await outcome(authenticator, *PRIVATE, bearer(issuer.token())) is AuthUnavailable
        assert await outcome(authenticator, *PUBLIC, bearer(issuer.token())) is None
        assert await outcome(authenticator, *PRIVATE, headers()) is TokenRequired


async def test_all_of_it_works_over_a_real_auth_server() -> None:
    issuer = Issuer()
    async with serving(issuer) as server, ClientSession() as session:
        jwks = Jwks(server.uri, ("RS256",), http_fetch(session), timing=STILL)
        async with jwks.running():
            authenticator = Authenticator(TokenVerifier(jwks))
            old = issuer.token("old")
            assert await outcome(authenticator, *PRIVATE, bearer(old)) == "old"
            issuer.rotate()
            assert await outcome(authenticator, *PRIVATE, bearer(issuer.token("new"))) == "new"
            server.status = 500
            assert await outcome(authenticator, *PRIVATE, bearer(old)) == "old"
            assert await outcome(authenticator, *PRIVATE, bearer(issuer.token("another"))) == "another"
    assert server.requests == 2
