"""Visitors: both gateways give, check and keep the cookie alike, and tell services the same."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from itertools import product

import pytest
import pytest_asyncio

from gateway.auth.visitors import VisitorCookies
from tests.fast_path.rig import Pair, one, paired
from tests.fast_path.routes import ROUTES_WITH_RULES
from tests.support.gateway import Gateways

pytestmark = pytest.mark.asyncio(loop_scope="package")

SECRET = "a-secret-of-the-tests-of-the-fast-path"
ROUTES = ROUTES_WITH_RULES.replace(
    "rooms:\n", "rooms:\n  default: {identity: visitor, capacity: 2}\n  vip: {identity: either}\n"
)
CALLS = (
    "POST /api/v1/reservations",
    "GET /tickets/gated",
    "HEAD /tickets/gated",
    "GET /tickets/gated.admin",
    "HEAD /tickets/gated.admin",
    "GET /tickets/Gated",
    "POST /tickets/vip.php/report",
    "GET /tickets/renews",
    "POST /tickets/renews",
    "POST /tickets/vip",
    "GET /open/a",
    "GET /private/a",
    "GET /api/v1/queue/status",
    "GET /api/v1/queue/status?room=vip",
    "GET /api/v1/queue/status?room=nowhere",
    "GET /api/v1/queue/status?room=a&room=b",
    "POST /api/v1/queue/lineup?room=full",
    "GET /api/v1/queue/stream?room=nowhere",
    "DELETE /api/v1/queue/waiting-token",
)
PAGES = (
    b"",
    b"Sec-Fetch-Site: same-origin\r\n",
    b"Sec-Fetch-Site: cross-site\r\n",
    b"Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n",
    b"Origin: https://evil.example\r\n",
    b"Origin: https://h\r\nX-Forwarded-Proto: https\r\n",
)
NEW = re.compile(rb"(?<=visitor=)[A-Za-z0-9_-]{22}\.\d+\.[A-Za-z0-9_-]{43}")


def cookie(*, secure: bool = False, age: float = 0.0, secret: str = SECRET) -> bytes:
    jar = VisitorCookies((secret,), clock=lambda: time.time() - age)
    return jar.new(secure=secure).partition(";")[0].encode()


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def visited(package_gateways: Gateways) -> AsyncIterator[Pair]:
    """Gateways whose default room is for visitors, and ``vip`` for either."""
    # A busy machine must not take Redis for away at one gateway and not at the other.
    settings = {
        "redis_timeout_seconds": "10",
        "visitor_secrets": SECRET,
        "identity_hmac_secret": "a-secret-of-the-tests",
        "pass": "true",
    }
    async with paired(package_gateways, ROUTES, trusted_proxies="127.0.0.0/8", **settings) as pair:
        for side in (pair.fast, pair.plain):
            side.random = NEW
            await side.gateway.keys_known()
        yield pair


@pytest.mark.parametrize("call", CALLS)
async def test_cookies(visited: Pair, call: str) -> None:
    good, secure = cookie(), cookie(secure=True)
    cookies = {
        "none": b"",
        "good": good,
        "of TLS": secure,
        "both": good + b"; " + secure,
        "two": good + b"; " + cookie(),
        "stale": cookie(age=50_000),
        "expired": cookie(age=90_000),
        "forged": cookie(secret="a-secret-of-a-stranger"),
        "among others": b"a=b; " + good + b"; c=d",
    }
    lines = [b"Cookie: " + each + b"\r\n" if each else b"" for each in cookies.values()]
    tokens = (b"", visited.bearer("somebody"), b"Authorization: Bearer x.y.z\r\n")
    for token in tokens:
        await visited.compare_all([one(call, *each, token) for each in product(lines, PAGES)])


async def test_a_visitor_comes_in(visited: Pair) -> None:
    own = b"Sec-Fetch-Site: same-origin\r\n"
    ann, bob, cid = (b"Cookie: " + cookie() + b"\r\n" for _ in range(3))
    for visitor, state in ((ann, b"ALLOWED_IN"), (bob, b"ALLOWED_IN"), (cid, b"WAITING")):
        outcome = await visited.compare(one("POST /api/v1/queue/lineup", own, visitor))
        assert b'"state":"%b"' % state in outcome.got
    for call in ("POST /api/v1/reservations", "GET /tickets/gated"):
        for visitor, status in ((ann, b"200"), (bob, b"200"), (cid, b"429")):
            outcome = await visited.compare(one(call, own, visitor, b"X-Visitor-Id: forged\r\n"))
            assert outcome.got[9:12] == status
            if status == b"200":
                head = outcome.seen[0][0]
                assert b"\r\nX-Visitor-Id: " + visitor[16:38] + b"\r\n" in head
                assert b"forged" not in head
                assert b"Cookie" not in head
        with_token = await visited.compare(one(call, own, ann, visited.bearer("kim")))
        assert b"\r\nX-User-Id: kim\r\n" in with_token.seen[0][0]
    # A lineup with both: the visitor's place becomes the user's.
    dan = b"Cookie: " + cookie() + b"\r\n"
    for who in ((dan,), (dan, visited.bearer("dan")), (dan, visited.bearer("dan")), (dan,)):
        await visited.compare(one("POST /api/v1/queue/lineup?room=vip", own, *who))
        await visited.compare(one("GET /api/v1/queue/status?room=vip", own, *who))
    for purpose in (b"prefetch", b"prefetch;prerender", b"none"):
        lines = (own, ann, b"Sec-Purpose: %b\r\n" % purpose)
        for call in ("GET /tickets/gated", "GET /tickets/renews", "POST /api/v1/queue/lineup"):
            await visited.compare(one(call, *lines))
