"""``/api/v1/queue/authorize``: the same decision as in person, for a call that a trusted proxy describes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.auth.identity import signature
from gateway.context import CONFIGURATION, ROOMS
from gateway.routing.spec.loader import parse
from tests.support.gateway import Answer, Gateways, Running

pytestmark = pytest.mark.redis

ROUTES = """
routes: []
gates:
  - {calls: [POST /buy, GET /sale/**], renews: [GET /cart]}
  - {room: shop, calls: [GET /shop/**]}
  - {room: paged, calls: ["/paged/**"]}
rooms:
  default: {bypass: [{name: staff, claim: role, values: [staff]}]}
  shop: {identity: visitor}
  paged: {identity: either, page: {}, capacity: 1}
access: {public: [GET /open/**, GET /]}
"""
ASK = "/api/v1/queue/authorize"
SECRET = "s" * 32


@pytest.fixture
async def gateway(gateways: Gateways) -> Running:
    return await gateways.start(
        ROUTES,
        trusted_proxies="127.0.0.1",
        identity_hmac_secret=SECRET,
        jwt_cookie_name="t",
        jwt_cookie_calls="all",
    )


async def ask(
    gateway: Running,
    method: str,
    address: str,
    *,
    user: str | None = None,
    codes: str = "",
    family: str = "Forwarded",
    headers: Mapping[str, str] | None = None,
    **claims: Any,
) -> Answer:
    caller = gateway.nobody if user is None else gateway.user(user, **claims)
    names = (
        ("X-Forwarded-Method", "X-Forwarded-Uri")
        if family == "Forwarded"
        else ("X-Original-Method", "X-Original-URI")
    )
    query = f"?codes={codes}" if codes else ""
    return await caller(
        "GET", ASK + query, headers=dict(zip(names, (method, address), strict=True)) | dict(headers or {})
    )


@pytest.mark.parametrize("family", ["Forwarded", "Original"])
async def test_the_decision_is_that_of_the_call_in_person(gateway: Running, family: str) -> None:
    async def status(method: str, address: str, user: str | None = None) -> int:
        return (await ask(gateway, method, address, user=user, family=family)).status

    assert await status("GET", "/open/a?b=c") == 200
    assert await status("POST", "/open/a") == 401
    assert await status("GET", "/private") == 401
    assert await status("GET", "/private", "a") == 200
    assert await status("POST", "/buy", "a") == 403
    await gateway.user("a").lineup()
    await gateway.user("b").lineup()
    assert await status("POST", "/buy", "a") == 200
    assert await status("POST", "/buy", "b") == 429
    assert await status("GET", "/cart", "b") == 200
    for spelling in ("/BUY", "/buy/", "/buy.json", "/%62uy", "/buy;x=1"):
        assert await status("POST", spelling, "b") in (400, 429), spelling
    for ambiguous in ("/a/../buy", "/a%2fbuy", "//buy", "/buy#x", "buy", "/a b", "http://elsewhere/buy"):
        assert await status("POST", ambiguous, "b") in (400, 429), ambiguous
    await gateway.user("a")("DELETE", "/api/v1/queue/allowed-in-token")
    assert await status("POST", "/buy", "b") == 200


async def test_it_says_who_calls_and_signs_that(gateway: Running) -> None:
    await gateway.user("a").lineup()
    answer = await ask(
        gateway, "POST", "/buy?x=1", user="a", headers={"X-User-Id": "admin", "X_Queue_Room": "vip"}
    )
    assert answer.status == 200
    assert answer.headers["X-User-Id"] == "a"
    assert answer.headers["X-Queue-Room"] == "default"
    t, _, signed = answer.headers["X-Gateway-Signature"].removeprefix("t=").partition(",v1=")
    assert signed == signature(SECRET, int(t), "POST", "/buy?x=1", "a", answer.headers["X-User-Type"])
    open_call = await ask(gateway, "GET", "/open/a", headers={"X-User-Id": "admin"})
    assert not {"X-User-Id", "X-Queue-Room", "X-Visitor-Id"} & set(open_call.headers)


async def test_the_session_is_renewed(gateway: Running) -> None:
    await gateway.user("a").lineup()
    room = gateway.app[ROOMS]["default"]
    before = (await room.operations.find("a")).last_seen
    assert before is not None
    await asyncio.sleep(0.02)
    assert (await ask(gateway, "POST", "/buy", user="a")).status == 200
    after = (await room.operations.find("a")).last_seen
    assert after is not None
    assert after > before


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Forwarded-Method": "GET"},
        {"X-Forwarded-Uri": "/open/a"},
        {"X-Original-URI": "/open/a"},
        {"X-Forwarded-Method": "GET", "X-Original-URI": "/open/a"},
        {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/open/a", "X-Original-URI": "/open/a"},
        {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/open/a", "X-Original-Method": "GET"},
        {"X-Forwarded-Method": "", "X-Forwarded-Uri": "/open/a"},
        {"X-Forwarded-Method": "get", "X-Forwarded-Uri": "/open/a"},
        {"X-Forwarded-Method": "CONNECT", "X-Forwarded-Uri": "/open/a"},
        {"X-Forwarded-Method": "GET GET", "X-Forwarded-Uri": "/open/a"},
        {"X_Forwarded_Method": "GET", "X_Forwarded_Uri": "/open/a"},
    ],
)
async def test_a_call_is_described_once_and_completely(gateway: Running, headers: dict[str, str]) -> None:
    answer = await gateway.user("a")("GET", ASK, headers=headers)
    assert (answer.status, answer.code) == (400, "BAD_REQUEST")


async def test_a_header_that_comes_twice_is_refused(gateway: Running) -> None:
    pairs = [("X-Forwarded-Method", "GET"), ("X-Forwarded-Uri", "/open/a"), ("X-Forwarded-Uri", "/buy")]
    async with gateway.session.get(gateway.base + ASK, headers=pairs) as answer:
        assert answer.status == 400


async def test_only_trusted_proxies_may_ask(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES, trusted_proxies="192.0.2.1")
    for answer in (
        await ask(gateway, "GET", "/open/a"),
        await ask(gateway, "GET", "/open/a", codes="nginx"),
        await gateway.nobody("GET", f"{ASK}/ext/open/a"),
    ):
        assert (answer.status, answer.code) == (403, "PROXY_NOT_TRUSTED")


async def test_calls_of_the_gateway_itself_are_none_of_the_sites(gateway: Running) -> None:
    for address in ("/api/v1/queue/status", ASK, "/actuator/health", "/API/V1/Queue/x", "/metrics"):
        answer = await ask(gateway, "GET", address, user="a")
        assert answer.status in (404, 405), address
    assert (await ask(gateway, "TRACE", "/open/a", user="a")).status == 405


@pytest.mark.parametrize(
    ("user", "method", "address", "true"),
    [
        (None, "GET", "/private", 401),
        ("b", "POST", "/buy", 429),
        ("c", "POST", "/buy", 403),
        ("a", "GET", "/a/../b", 400),
    ],
)
async def test_nginx_gets_only_what_it_knows(
    gateway: Running, user: str | None, method: str, address: str, true: int
) -> None:
    for name in ("a", "b"):
        await gateway.user(name).lineup()
    answer = await ask(gateway, method, address, user=user, codes="nginx", family="Original")
    assert answer.status == (401 if true == 401 else 403)
    assert answer.headers["X-Queue-Status"] == str(true)
    body = await ask(gateway, method, address, user=user, codes="page", family="Original")
    assert body.status == true
    assert body.json["success"] is False
    assert (await ask(gateway, "GET", "/open/a", codes="nginx")).status == 200


async def test_who_has_been_let_in_meanwhile_is_sent_to_the_address(gateway: Running) -> None:
    answer = await ask(gateway, "GET", "/open/a?b=/c", codes="page")
    assert (answer.status, answer.headers["Location"]) == (302, "/open/a?b=/c")
    answer = await ask(gateway, "GET", "/", codes="page")
    assert (answer.status, answer.headers["Location"]) == (302, "/")
    for address in ("//evil.example/x", "/\\evil.example", "https://evil.example/"):
        answer = await ask(gateway, "GET", address, user="a", codes="page")
        assert answer.headers.get("Location", "/") in ("/", "/x")
    for wrong in ("page&codes=nginx", "other", ""):
        answer = await gateway.nobody("GET", f"{ASK}?codes={wrong}")
        assert answer.status == 400


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PROPFIND", "HEAD"])
async def test_below_ext_the_path_and_the_method_are_the_call(gateway: Running, method: str) -> None:
    user = gateway.user("a")
    answer = await user(method, f"{ASK}/ext/private?x=1")
    assert answer.status == 200
    assert answer.headers["X-User-Id"] == "a"
    answer = await gateway.nobody(method, f"{ASK}/ext/private")
    assert (answer.status, answer.headers["X-Queue-Status"]) == (401, "401")
    assert (await user(method, f"{ASK}/ext/a", headers={"X-Forwarded-Uri": "/open/a"})).status == 400
    assert (await user(method, f"{ASK}/ext/api/v1/queue/status")).status in (404, 405)


async def test_below_ext_a_preflight_is_no_way_round(gateway: Running) -> None:
    headers = {"Origin": "https://x.example", "Access-Control-Request-Method": "POST"}
    assert (await gateway.nobody("OPTIONS", f"{ASK}/ext/paged/x", headers=headers)).status == 401


async def test_below_ext_a_refusal_is_none_that_envoy_takes_for_a_fault(gateway: Running) -> None:
    html = {"Accept": "text/html", "Accept-Encoding": "identity", "Sec-Fetch-Dest": "document"}
    await gateway.user("a").lineup(room="paged")
    answer = await gateway.user("b")("GET", f"{ASK}/ext/paged/x", headers=html)
    assert (answer.status, answer.headers["X-Queue-Status"]) == (429, "503")
    assert b"<html" in answer.body
    await gateway.user("a").lineup()
    await gateway.user("b").lineup()
    answer = await gateway.user("b")("POST", f"{ASK}/ext/buy")
    assert (answer.status, answer.code) == (429, "QUEUE_WAITING")


async def test_a_browser_gets_the_page(gateway: Running) -> None:
    html = {"Accept": "text/html", "Accept-Encoding": "identity", "Sec-Fetch-Dest": "document"}
    await gateway.user("a").lineup(room="paged")
    answer = await ask(gateway, "GET", "/paged/x", user="b", codes="page", family="Original", headers=html)
    assert answer.status == 503
    assert b"<html" in answer.body


async def test_a_visitor_is_known_by_the_cookie(gateway: Running) -> None:
    refused = await ask(gateway, "GET", "/shop/a")
    assert (refused.status, refused.code) == (401, "COOKIE_REQUIRED")
    cookie = {"Cookie": refused.headers["Set-Cookie"].partition(";")[0]}
    assert (await ask(gateway, "GET", "/shop/a", headers=cookie)).status == 403
    assert (
        await gateway.nobody(
            "POST", "/api/v1/queue/lineup?room=shop", headers=cookie | {"Sec-Fetch-Site": "same-origin"}
        )
    ).status == 200
    admitted = await ask(gateway, "GET", "/shop/a", headers=cookie)
    assert admitted.status == 200
    assert admitted.headers["X-Visitor-Id"]
    assert "X-User-Id" not in admitted.headers


async def test_a_cookie_alone_does_not_serve_foreign_pages(gateway: Running) -> None:
    cookie = {"Cookie": f"t={gateway.issuer.token('a')}"}
    assert (
        await ask(gateway, "POST", "/private", headers=cookie | {"Sec-Fetch-Site": "same-origin"})
    ).status == 200
    refused = await ask(gateway, "POST", "/private", headers=cookie | {"Sec-Fetch-Site": "cross-site"})
    assert (refused.status, refused.code) == (403, "CSRF_REJECTED")
    handshake = cookie | {"Sec-Fetch-Site": "cross-site", "Upgrade": "websocket"}
    assert (await ask(gateway, "GET", "/private", headers=handshake)).code == "CSRF_REJECTED"


async def test_a_bypass_counts(gateway: Running) -> None:
    assert (await ask(gateway, "POST", "/buy", user="s", role="staff")).status == 200


async def test_pages_of_other_origins_may_not_ask(gateways: Gateways) -> None:
    cors = "cors: {cors-configurations: {'/**': {allowedOrigins: 'https://x.example'}}}\n"
    gateway = await gateways.start(ROUTES + cors, trusted_proxies="127.0.0.1")
    headers = {"Origin": "https://x.example", "Access-Control-Request-Method": "GET"}
    for path in (f"{ASK}/ext/private", ASK):
        answer = await gateway.nobody("OPTIONS", path, headers=headers)
        assert answer.status in (401, 405), path


async def test_a_described_call_that_was_asked_about_before_meets_the_rules_of_now(
    gateways: Gateways,
) -> None:
    gateway = await gateways.start(ROUTES, trusted_proxies="127.0.0.1")
    tables = gateway.app[CONFIGURATION].tables
    for _ in range(2):
        assert (await ask(gateway, "GET", "/open/a")).status == 200
        assert (await ask(gateway, "GET", "/open/a?b=c")).status == 200
    assert ("GET", "/open/a") in tables.current.described
    # Queries may hold secrets.
    assert ("GET", "/open/a?b=c") not in tables.current.described
    closed = ROUTES.replace("GET /sale/**", "GET /sale/**, GET /open/**").replace(
        "GET /open/**, GET /]", "GET /]"
    )
    tables.replace(parse(closed.encode(), "routes.yaml", {}))
    assert (await ask(gateway, "GET", "/open/a", user="a")).code == "NOT_IN_QUEUE"
    assert (await ask(gateway, "GET", "/open/a")).status == 401


async def test_it_can_be_turned_off(gateways: Gateways) -> None:
    off = await gateways.start(ROUTES, trusted_proxies="127.0.0.1", forward_auth="false")
    for path in (ASK, f"{ASK}?codes=nginx", f"{ASK}/ext/open/x"):
        headers = {} if "ext" in path else {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/open/x"}
        answer = await off.user("a")("GET", path, headers=headers)
        assert (answer.status, answer.code) == (404, "ROUTE_NOT_FOUND")
        assert "X-User-Id" not in answer.headers
