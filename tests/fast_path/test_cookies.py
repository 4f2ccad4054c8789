"""Cookies that say who calls: both gateways check where the request comes from, and keep their own from services."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import product

import pytest
import pytest_asyncio

from tests.fast_path.rig import Pair, one, paired
from tests.fast_path.routes import ROUTES_WITH_RULES
from tests.support.gateway import Gateways

pytestmark = pytest.mark.asyncio(loop_scope="package")

CALLS = (
    "GET /private/a",
    "POST /private/a",
    "DELETE /private/a",
    "GET /open/a",
    "POST /open/a",
    "POST /api/v1/reservations",
    "GET /tickets/gated",
    "POST /tickets/renews",
    "GET /api/v1/queue/status",
    "POST /api/v1/queue/lineup?room=nowhere",
    "POST /api/v1/queue/leave",
    "DELETE /api/v1/queue/waiting-token",
)
PAGES = (
    b"",
    b"Sec-Fetch-Site: same-origin\r\n",
    b"Sec-Fetch-Site: none\r\n",
    b"Sec-Fetch-Site: cross-site\r\n",
    b"Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site\r\n",
    b"Origin: http://h\r\n",
    b"Origin: https://h\r\n",
    b"Origin: https://evil.example\r\n",
    b"Origin: null\r\n",
    b"Origin: https://tickets.example.com\r\nSec-Fetch-Site: cross-site\r\n",
    b"Origin: https://h\r\nX-Forwarded-Proto: https\r\n",
    b"Origin: https://shop.example\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\n",
)


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def by_cookie(package_gateways: Gateways) -> AsyncIterator[Pair]:
    """Gateways where the cookie ``session`` counts on every call, behind a trusted proxy, with passes."""
    # A busy machine must not take Redis for away at one gateway and not at the other.
    settings = {
        "redis_timeout_seconds": "10",
        "jwt_cookie_name": "session",
        "jwt_cookie_calls": "all",
        "pass": "true",
    }
    async with paired(package_gateways, ROUTES_WITH_RULES, trusted_proxies="127.0.0.0/8", **settings) as pair:
        yield pair


@pytest.mark.parametrize("call", CALLS)
async def test_where_requests_come_from(by_cookie: Pair, call: str) -> None:
    issuer = by_cookie.gateways.issuer
    good, bad = issuer.token("somebody"), issuer.token("somebody", exp=1)
    cookies = (
        b"",
        *(b"Cookie: a=b; session=%b\r\n" % token.encode() for token in (good, bad)),
        b"Cookie: session=%b; session=x\r\n" % good.encode(),
        b"Cookie: session=%b\r\n" % good.encode() + by_cookie.bearer("another"),
    )
    await by_cookie.compare_all([one(call, *each) for each in product(cookies, PAGES)])


@pytest.mark.parametrize(
    "line",
    [
        b"Cookie: queue-pass=ey; a=b\r\n",
        b"Cookie: queue-pass=ey\r\n",
        b"COOKIE: a=b; queue-pass-vip=ey;c=d\r\nCookie: queue-pass=ey\r\nCookie: e=f\r\n",
        b"Cookie: a=b\r\n",
    ],
)
async def test_services_see_no_pass(by_cookie: Pair, line: bytes) -> None:
    for call in ("GET /open/a", "POST /open/a", "GET /private/a", "GET /edited/a/b"):
        outcome = await by_cookie.compare(one(call, line, by_cookie.bearer()))
        assert b"queue-pass" not in outcome.seen[0][0]
