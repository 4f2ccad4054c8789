"""Calls that another proxy describes: both gateways decide and answer in the same way."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.fast_path.executor import _PLAIN_REQUEST_LINE
from tests.fast_path.rig import Case, Outcome, Pair, one, paired, request
from tests.hostile import calls
from tests.hostile.lenient.spellings import spellings
from tests.support.gateway import Gateways
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="package")

ROUTES = """
routes: []
gates:
  - {calls: [POST /buy, GET /sale/**, COPY /sale/**], renews: [GET /cart]}
  - {room: full, calls: [POST /full]}
  - {room: observed, calls: [POST /observed]}
  - {room: shop, calls: [GET /shop/**, POST /shop/**]}
  - {room: paged, calls: ["/paged/**"]}
  - {room: busy, calls: ["/busy/**"]}
  - {room: "named-{id}", calls: ["GET /named/{id}"]}
rooms:
  default: {bypass: [{name: staff, claim: role, values: [staff]}]}
  full: {capacity: 0, lineup: implicit}
  observed: {mode: observe}
  shop: {identity: visitor}
  paged: {identity: either, page: {}, capacity: 100}
  busy: {page: {}, capacity: 0}
access: {public: [GET /open/**, GET /, "OPTIONS /open/**"]}
cors:
  cors-configurations:
    '[/cors/**]': {allowedOrigins: [https://tickets.example.com], allowedMethods: [GET, POST], allowCredentials: true}
"""
ASK = "/api/v1/queue/authorize"
FAMILIES = ((b"X-Forwarded-Method", b"X-Forwarded-Uri"), (b"X-Original-Method", b"X-Original-URI"))
CODES = ("", "?codes=nginx", "?codes=page")
WRONG_CODES = (
    "?codes=",
    "?codes=other",
    "?codes=nginx&codes=nginx",
    "?codes=page&codes=nginx",
    "?%63odes=page",
    "?",
)
DESCRIBED = (
    ("GET", "/open/a?b=c"),
    ("POST", "/open/a"),
    ("GET", "/"),
    ("GET", "/private"),
    ("POST", "/buy"),
    ("POST", "/buy?x=1"),
    ("GET", "/sale/a"),
    ("GET", "/cart"),
    ("POST", "/full"),
    ("POST", "/observed"),
    ("GET", "/busy/x"),
    ("HEAD", "/busy/x"),
    ("GET", "/cors/a"),
    ("OPTIONS", "/open/a"),
    ("OPTIONS", "/private"),
    ("DELETE", "/named/7"),
    ("GET", "/named/7"),
    ("PROPFIND", "/private"),
    ("TRACE", "/open/a"),
    ("CONNECT", "/open/a"),
    ("PRI", "*"),
    ("GET", "/api/v1/queue/status"),
    ("GET", "/API/v1/queue/authorize"),
    ("GET", "/actuator/health"),
    ("GET", "/metrics"),
)
HTML = b"Accept: text/html\r\nSec-Fetch-Dest: document\r\nAccept-Encoding: identity\r\n"
# A page has a nonce; a new visitor's cookie is drawn, and goes into the head and its age into the log.
RANDOM = re.compile(
    rb"(?<=nonce=\")[^\"]+|(?<=nonce-)[^' ]+|(?<=: visitor=)[^;]+|(?<=: __Host-visitor=)[^;]+"
)


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def asked(package_gateways: Gateways) -> AsyncIterator[Pair]:
    """Gateways that believe this machine's proxies, sign, and give out passes. ``inside`` is in room ``default``, and
    ``waiting`` in line in room ``busy``."""
    settings = {
        "redis_timeout_seconds": "10",
        "identity_hmac_secret": "a-secret-of-the-tests",
        "jwt_cookie_name": "session",
        "jwt_cookie_calls": "all",
        "pass": "true",
    }
    async with paired(package_gateways, ROUTES, trusted_proxies="127.0.0.0/8", **settings) as pair:
        for side in (pair.fast, pair.plain):
            side.random = RANDOM
        for name, room in (("inside", "default"), ("waiting", "busy"), ("inside", "observed")):
            await pair.outcomes(one(f"POST /api/v1/queue/lineup?room={room}", pair.bearer(name)))
        yield pair


def described(
    method: str | bytes, address: str | bytes, *headers: bytes, family: int = 0, query: str = ""
) -> Case:
    """A question about the call ``method address``."""
    values = [each.encode("latin-1") if isinstance(each, str) else each for each in (method, address)]
    lines = [b"%b: %b\r\n" % pair for pair in zip(FAMILIES[family], values, strict=True)]
    return one(f"GET {ASK}{query}", *lines, *headers)


def status_of(outcome: Outcome) -> int:
    return int(outcome.got[9:12])


def fast_calls(pair: Pair) -> float:
    """How many questions were answered without aiohttp."""
    found = re.search(
        r'^gateway_fast_path_requests_total\{route="queue\.authorize"\} (\S+)$', pair.fast.exposition, re.M
    )
    return float(found[1]) if found else 0.0


def callers(pair: Pair) -> list[bytes]:
    return [
        b"",
        pair.bearer("inside"),
        pair.bearer("waiting"),
        pair.bearer("nobody"),
        pair.bearer("boss", role="staff"),
        pair.bearer("inside", exp=1),
        b"Authorization: Bearer ey.x.y\r\n",
        b"Authorization: Basic YTpi\r\n",
        pair.bearer("inside") * 2,
        b"Cookie: session=%b\r\n" % pair.gateways.issuer.token("inside").encode(),
    ]


@pytest.mark.parametrize("codes", CODES)
async def test_every_call_of_every_caller(asked: Pair, codes: str) -> None:
    before = fast_calls(asked)
    every = enumerate(product(DESCRIBED, callers(asked)))
    cases = [described(*call, who, family=number % 2, query=codes) for number, (call, who) in every]
    outcomes = await asked.compare_all(cases)
    assert {200, 401, 403}.issubset(map(status_of, outcomes)) or codes == "?codes=page"
    # Rooms that a call names are looked for, and passes wait for their key; all else is plain.
    assert fast_calls(asked) - before > len(cases) * 0.9
    assert asked.fast.counted == asked.plain.counted


async def test_known_callers_are_served_without_aiohttp_and_pass(asked: Pair) -> None:
    before = fast_calls(asked)
    outcome = await asked.compare(described("POST", "/buy", asked.bearer("inside")))
    assert fast_calls(asked) == before + 1
    assert status_of(outcome) == 200
    for name in (
        b"X-User-Id: inside",
        b"X-Queue-Room: default",
        b"X-Gateway-Signature: t=",
        b"X-Queue-Pass: ",
    ):
        assert b"\r\n" + name in outcome.got


async def test_pages(asked: Pair) -> None:
    calls_of_pages = (("GET", "/busy/x"), ("HEAD", "/busy/x"), ("POST", "/busy/x"), ("GET", "/buy"))
    for who in (b"", asked.bearer("waiting"), asked.bearer("newcomer")):
        outcomes = await asked.compare_all(
            [
                described(*call, who, HTML, *more, family=codes == "?codes=page", query=codes)
                for call, codes, more in product(
                    calls_of_pages,
                    CODES,
                    [(), (b"Accept-Language: ko\r\n",), (b"Sec-Purpose: prefetch\r\n",)],
                )
            ]
        )
        assert outcomes
    page = await asked.compare(
        described("GET", "/busy/x", asked.bearer("waiting"), HTML, query="?codes=page")
    )
    assert (status_of(page), b"<html" in page.got) == (503, True)


async def test_visitors(asked: Pair) -> None:
    """The cookies are those of each gateway, so only callers without one, or with a forged one, can be compared."""
    cookies = (b"", b"Cookie: visitor=x\r\n", b"Cookie: visitor=a.b.c; visitor=d\r\n")
    origins = (
        b"",
        b"Origin: https://evil.example\r\n",
        b"Sec-Fetch-Site: cross-site\r\n",
        b"Sec-Fetch-Site: none\r\n",
    )
    secure = (b"", b"X-Forwarded-Proto: https\r\n")
    addresses = (("GET", "/shop/a"), ("POST", "/shop/a"), ("GET", "/paged/a"))
    await asked.compare_all(
        [
            described(*call, *more, query=codes)
            for call, codes, *more in product(addresses, CODES[1:], cookies, origins, secure, (b"", HTML))
        ]
    )


@pytest.mark.parametrize("user", ["", "nobody"])
async def test_hostile_spellings_of_the_described_address(asked: Pair, user: str) -> None:
    who = asked.bearer(user) if user else b""
    addresses = [*spellings(("/buy",))[::3], *spellings(("/sale/a",))[::7]]
    addresses += [
        "",
        " ",
        "buy",
        "//buy",
        "http://elsewhere/buy",
        "/a/../buy",
        "/buy#x",
        "/a b",
        "*",
        "/\\buy",
    ]
    await asked.compare_all(
        [described("POST", address, who, family=number % 2) for number, address in enumerate(addresses)]
    )


@pytest.mark.parametrize("path", ["/buy", "/sale/a", "/open/a"])
async def test_hostile_spellings_below_ext(asked: Pair, path: str) -> None:
    who = asked.bearer("nobody")
    targets = spellings((path,))
    offered = [
        each
        for each in targets
        if _PLAIN_REQUEST_LINE.fullmatch(f"POST {ASK}/ext{each} HTTP/1.1\r\n".encode())
    ]
    assert offered
    await asked.compare_all([one(f"POST {ASK}/ext{each}", who) for each in [*offered, *targets[::15]]])


async def test_spellings_of_the_question_itself(asked: Pair) -> None:
    forms = [form.format("authorize", "AUTHORIZE", "%61uthorize") for form in calls.SPELLINGS]
    lines = (b"X-Forwarded-Method: GET\r\n", b"X-Forwarded-Uri: /open/a\r\n")
    targets = [*forms, f"{ASK}/", f"{ASK}/x", f"{ASK}/ext", f"{ASK}/ext/", f"{ASK}/EXT/open/a", f"{ASK}.json"]
    await asked.compare_all([one(f"GET {target}", *lines) for target in targets])
    await asked.compare_all([one(f"GET {target}") for target in targets])


@pytest.mark.parametrize("codes", [*CODES, *WRONG_CODES])
async def test_descriptions_that_are_none(asked: Pair, codes: str) -> None:
    method, address = b"X-Forwarded-Method: GET\r\n", b"X-Forwarded-Uri: /open/a\r\n"
    other_method, other_address = b"X-Original-Method: GET\r\n", b"X-Original-URI: /open/a\r\n"
    descriptions = [
        [],
        [method],
        [address],
        [other_method],
        [other_address],
        [method, other_address],
        [method, address, other_address],
        [method, address, other_method],
        [method, address, other_method, other_address],
        [method, method, address],
        [method, address, address],
        [method, address, b"x-forwarded-uri: /buy\r\n"],
        [b"X-Forwarded-Method: \r\n", address],
        [b"X-Forwarded-Method: get\r\n", address],
        [b"X-Forwarded-Method: GET,POST\r\n", address],
        [b"X-Forwarded-Method:  GET \r\n", address],
        [method, b"X-Forwarded-Uri: \r\n"],
        [method, b"X-Forwarded-Uri: /\xff\r\n"],
        [b"X_Forwarded_Method: GET\r\n", b"X_Forwarded_Uri: /open/a\r\n"],
        [method, address, b"X-User-Id: admin\r\n", b"X-Queue-Room: vip\r\n", b"X_User_Id: admin\r\n"],
        [method, address, b"Via: 1.1 gateway-server\r\n" * 4],
        [method, address, b"Upgrade: websocket\r\nConnection: Upgrade\r\n"],
        [method, address, b"Expect: 100-continue\r\n"],
        [method, address, b"Sec-Purpose: prefetch\r\n"],
    ]
    for who in (b"", asked.bearer("inside")):
        await asked.compare_all([one(f"GET {ASK}{codes}", *lines, who) for lines in descriptions])


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "COPY"]
)
async def test_below_ext_the_path_and_the_method_are_the_call(asked: Pair, method: str) -> None:
    targets = [
        "/buy",
        "/buy?x=1",
        "/sale/a",
        "/open/a?codes=nginx",
        "/private",
        "/busy/x",
        "/full",
        "/cors/a",
        "/",
    ]
    targets += ["/api/v1/queue/status", "/actuator/health", "/shop/a"]
    extra = (
        (),
        (HTML,),
        (b"X-Forwarded-Uri: /open/a\r\n",),
        (b"X-Original-Method: GET\r\n",),
        (b"Origin: https://tickets.example.com\r\n",),
        (b"Origin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n",),
        (b"Destination: /sale/b\r\n",),
    )
    for who in (b"", asked.bearer("inside"), asked.bearer("waiting"), asked.bearer("nobody")):
        await asked.compare_all(
            [
                one(f"{method} {ASK}/ext{target}", who, *more)
                for target, more in [*product(targets, extra[:2]), *product(targets[1:7:2], extra[2:])]
            ]
        )


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "OPTIONS"])
async def test_other_methods_of_the_question(asked: Pair, method: str) -> None:
    lines = (b"X-Forwarded-Method: GET\r\n", b"X-Forwarded-Uri: /open/a\r\n")
    await asked.compare_all([one(f"{method} {ASK}{codes}", *lines) for codes in CODES])


async def test_questions_with_a_body(asked: Pair) -> None:
    lines = (b"X-Forwarded-Method: POST\r\n", b"X-Forwarded-Uri: /buy\r\n", asked.bearer("inside"))
    await asked.compare_all(
        [
            one(f"GET {ASK}", *lines, body=b"x" * 100),
            one(f"GET {ASK}", *lines, b"Content-Length: 0\r\n"),
            one(f"GET {ASK}", *lines, b"Transfer-Encoding: chunked\r\n", body=b"0\r\n\r\n"),
            one(f"POST {ASK}/ext/buy", asked.bearer("inside"), body=b"x" * 100),
        ]
    )


async def test_several_questions_on_one_connection(asked: Pair) -> None:
    first = described("POST", "/buy", asked.bearer("inside")).sent[0]
    second = described("POST", "/buy", family=1).sent[0]
    third = request("GET /open/a")
    await asked.compare_all(
        [
            Case((first, second), answers=2, methods=(b"GET", b"GET")),
            Case((first + second + third,), answers=3, methods=(b"GET",) * 3),
            Case((first[:40], first[40:]), answers=1, methods=(b"GET",)),
            Case((first.replace(b"Host: h", b"Connection: close\r\nHost: h"),)),
            Case((first.replace(b"Host: h\r\n", b""),)),
            Case((first.replace(b"Host: h", b"Host: h\r\nHost: h"),)),
            Case((first.replace(b"HTTP/1.1", b"HTTP/1.0"),)),
        ]
    )


async def test_only_trusted_proxies_may_ask(package_gateways: Gateways) -> None:
    async with paired(package_gateways, ROUTES, trusted_proxies="192.0.2.1") as pair:
        cases = [
            described(*call, query=codes) for call, codes in product(DESCRIBED[:6], [*CODES, "?codes=x"])
        ]
        cases += [one(f"GET {ASK}/ext/open/a"), one(f"GET {ASK}"), described("GET", "/open/a", HTML)]
        outcomes = await pair.compare_all(cases)
        assert set(map(status_of, outcomes)) == {403}
        assert fast_calls(pair) > 0


async def test_while_redis_is_away(tmp_path: Path) -> None:
    with RedisServer() as server:
        async with (
            Gateways(tmp_path, server.url) as gateways,
            paired(gateways, ROUTES, trusted_proxies="127.0.0.1") as pair,
        ):
            server.kill()
            for side in (pair.fast, pair.plain):
                side.random = re.compile(rb"(?<=Retry-After: )\d+")
                await eventually(lambda side=side: "gateway_redis_up 0.0" in side.exposition)
            addresses = (("POST", "/buy"), ("GET", "/cart"), ("POST", "/observed"), ("GET", "/open/a"))
            cases = [
                described(*call, pair.bearer("inside"), query=codes)
                for call, codes in product(addresses, CODES)
            ]
            cases.append(one(f"POST {ASK}/ext/buy", pair.bearer("inside")))
            outcomes = await pair.compare_all(cases)
            assert status_of(outcomes[0]) == 503
            assert status_of(outcomes[-1]) == 403
