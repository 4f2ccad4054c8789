"""What a Spring environment changes for clients, over real HTTP, and that nothing of it is there otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import generate_latest

from gateway.context import OBSERVERS
from tests.support.gateway import Answer, Gateways, Running
from tests.support.listening import listening

SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-XSS-Protection": "0",
    "Referrer-Policy": "no-referrer",
}
CACHING = {
    "Cache-Control": "no-cache, no-store, max-age=0, must-revalidate",
    "Pragma": "no-cache",
    "Expires": "0",
}
STRICT = "Strict-Transport-Security"
ROUTES = """
routes:
  - {id: shop, uri: "%s", predicates: ["Path=/shop/**"]}
  - {id: removing, uri: "%s", predicates: ["Path=/removing/**"], filters: ["RemoveResponseHeader=X-Frame-Options"]}
  - {id: setting, uri: "%s", predicates: ["Path=/setting/**"], filters: ["SetResponseHeader=X-Frame-Options, ORIGIN"]}
  - {id: docs, uri: "%s", predicates: ["Path=/orders/v3/api-docs/**"], filters: [StripPrefix=1]}
  - {id: moved, uri: "http://127.0.0.1:1", predicates: ["Path=/moved"], filters: ["RedirectTo=302, https://shop.test"]}
  - {id: away, uri: "http://127.0.0.1:1", predicates: ["Path=/away"]}
gates: [{calls: [POST /shop/gated]}]
access:
  public: [GET /shop/**, "GET /{service}/v3/api-docs/**", GET /removing/**, GET /setting/**, GET /moved, GET /away]
"""


@dataclass
class Shop:
    """A service that answers as it is told, and may hold its answer back."""

    url: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    free: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/echo"):
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                await socket.send_str(message.data)
            return socket
        if request.path.endswith("/slow"):
            self.asked.set()
            await self.free.wait()
        body = b"" if self.status == 304 else self.body
        return web.Response(status=self.status, headers=self.headers, body=body)


@asynccontextmanager
async def a_shop() -> AsyncIterator[Shop]:
    shop = Shop()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", shop.handle)
    async with listening(web.AppRunner(app, access_log=None, shutdown_timeout=1.0)) as shop.url:
        yield shop


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with a_shop() as one:
        yield one


async def start(gateways: Gateways, shop: Shop, **settings: object) -> Running:
    return await gateways.start(ROUTES.replace("%s", shop.url), **{"gateway_profile": "spring"} | settings)


def said(headers: Mapping[str, str]) -> dict[str, str]:
    """What an answer has of the headers in question. Each is there once."""
    names = (*SECURITY, *CACHING, STRICT)
    values = {name: headers.getall(name, []) for name in names}  # type: ignore[attr-defined]
    assert all(len(value) <= 1 for value in values.values()), values
    return {name: value[0] for name, value in values.items() if value}


async def answers(gateway: Running) -> dict[str, Answer]:
    """Answers of all kinds: the gateway's own, its refusals, those of routes and services."""
    user, nobody = gateway.user("someone"), gateway.nobody
    return {
        "lineup": await user.lineup(),
        "left": await user("POST", "/api/v1/queue/leave"),
        "status": await user.status(),
        "no token": await nobody.status(),
        "gated": await user("POST", "/shop/gated"),
        "no route": await user("GET", "/nowhere"),
        "bad path": await nobody("GET", "/a%2fb"),
        "no service": await nobody("GET", "/away"),
        "health": await nobody("GET", "/actuator/health"),
        "metrics": await nobody("GET", "/metrics"),
        "routes": await nobody("GET", "/actuator/gateway/routes"),
        "document": await nobody("GET", "/v3/api-docs/swagger-config"),
        "redirect": await nobody("GET", "/moved"),
        "preflight": await nobody(
            "OPTIONS", "/shop/a", headers={"Origin": "http://a", "Access-Control-Request-Method": "GET"}
        ),
        "service": await nobody("GET", "/shop/a"),
        "head": await nobody("HEAD", "/shop/a"),
    }


async def test_every_answer_has_spring_securitys_headers(gateways: Gateways, shop: Shop) -> None:
    gateway = await start(gateways, shop)
    for name, answer in (await answers(gateway)).items():
        assert said(answer.headers) == SECURITY | CACHING, (name, answer)


async def test_otherwise_none_has_any(gateways: Gateways, shop: Shop) -> None:
    gateway = await start(gateways, shop, gateway_profile="", spring_profiles_active="")
    for name, answer in (await answers(gateway)).items():
        found = said(answer.headers)
        assert {key: value for key, value in found.items() if key != "Cache-Control"} in (
            {},
            # Documents have had them always.
            {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
            if name == "document"
            else {},
        ), name
        assert found.get("Cache-Control") in (None, "no-store"), name


async def test_a_variable_of_springs_is_enough_and_plain_says_no(gateways: Gateways, shop: Shop) -> None:
    variable = {"eureka_instance_metadatamap": "team=tickets", "gateway_profile": ""}
    gateway = await start(gateways, shop, **variable)
    assert said((await gateway.nobody("GET", "/shop/a")).headers) == SECURITY | CACHING
    gateway = await start(gateways, shop, **variable | {"gateway_profile": "plain"})
    assert said((await gateway.nobody("GET", "/shop/a")).headers) == {}


@pytest.mark.parametrize("transfer", ["length", "chunks"])
async def test_streams_have_them_too(gateways: Gateways, shop: Shop, transfer: str) -> None:
    settings = {"allowed_in_max_capacity": 0} | ({"sse_max_streams": 0} if transfer == "length" else {})
    gateway = await start(gateways, shop, **settings)
    user = gateway.user("someone")
    await user.lineup()
    async with user.stream() as stream:
        assert await stream.next() is not None
        assert said(stream.response.headers) == SECURITY | CACHING
        assert stream.response.headers["Content-Type"].startswith("text/event-stream")
        assert stream.response.headers["X-Accel-Buffering"] == "no"


@pytest.mark.parametrize(
    ("headers", "left"),
    [
        ({"Cache-Control": "max-age=60"}, {"Cache-Control": "max-age=60"}),
        ({"cache-control": "no-store"}, {"Cache-Control": "no-store"}),
        ({"Expires": "Thu, 01 Jan 2026 00:00:00 GMT"}, {"Expires": "Thu, 01 Jan 2026 00:00:00 GMT"}),
        ({"PRAGMA": "x"}, {"Pragma": "x"}),
        ({"x-frame-options": "SAMEORIGIN"}, CACHING | {"X-Frame-Options": "SAMEORIGIN"}),
        ({"Referrer-Policy": "origin"}, CACHING | {"Referrer-Policy": "origin"}),
        ({"X-XSS-Protection": "1; mode=block"}, CACHING | {"X-XSS-Protection": "1; mode=block"}),
        ({STRICT: "max-age=1"}, CACHING | {STRICT: "max-age=1"}),
    ],
)
async def test_what_a_service_says_itself_stays(
    gateways: Gateways, shop: Shop, headers: dict[str, str], left: dict[str, str]
) -> None:
    gateway = await start(gateways, shop)
    shop.headers = headers
    assert said((await gateway.nobody("GET", "/shop/a")).headers) == SECURITY | left


@pytest.mark.parametrize("headers", [{}, {"Cache-Control": "no-store"}, {"X-Frame-Options": "SAMEORIGIN"}])
async def test_descriptions_of_services_have_each_once(
    gateways: Gateways, shop: Shop, headers: dict[str, str]
) -> None:
    gateway = await start(gateways, shop)
    shop.headers, shop.body = {"Content-Type": "application/json", **headers}, b'{"openapi": "3.1.0"}'
    answer = await gateway.nobody("GET", "/orders/v3/api-docs")
    assert "servers" in answer.json, "the gateway has changed it"
    left = {} if "Cache-Control" in headers else CACHING
    assert said(answer.headers) == SECURITY | left | headers


async def test_what_was_not_modified_gets_none_about_caching(gateways: Gateways, shop: Shop) -> None:
    gateway = await start(gateways, shop)
    shop.status = 304
    assert said((await gateway.nobody("GET", "/shop/a")).headers) == SECURITY


async def test_a_route_may_set_one_and_not_remove_one(gateways: Gateways, shop: Shop) -> None:
    gateway = await start(gateways, shop)
    shop.headers = {"X-Frame-Options": "ALLOWALL"}
    nobody = gateway.nobody
    assert said((await nobody("GET", "/removing/a")).headers) == SECURITY | CACHING
    set_by_route = said((await nobody("GET", "/setting/a")).headers)
    assert set_by_route == SECURITY | CACHING | {"X-Frame-Options": "ORIGIN"}


async def test_a_websocket_has_them_in_its_answer(gateways: Gateways, shop: Shop) -> None:
    gateway = await start(gateways, shop)
    async with gateway.session.ws_connect(f"{gateway.base}/shop/echo") as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello"
        assert said(socket._response.headers) == SECURITY | CACHING


HTTPS = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.7"}


@pytest.mark.parametrize(
    ("settings", "headers", "strict"),
    [
        ({"server_forward_headers_strategy": "NATIVE", "trusted_proxies": "127.0.0.1/32"}, HTTPS, True),
        ({"server_forward_headers_strategy": "framework", "trusted_proxies": "127.0.0.1/32"}, HTTPS, True),
        ({"server_forward_headers_strategy": "native", "trusted_proxies": "127.0.0.1/32"}, {}, False),
        ({"server_forward_headers_strategy": "native"}, HTTPS, False),
        ({"server_forward_headers_strategy": "none", "trusted_proxies": "127.0.0.1/32"}, HTTPS, False),
        ({"trusted_proxies": "127.0.0.1/32"}, HTTPS, False),
    ],
)
async def test_strict_transport_is_for_clients_that_came_by_https(
    gateways: Gateways, shop: Shop, settings: dict[str, Any], headers: dict[str, str], strict: bool
) -> None:
    gateway = await start(gateways, shop, **settings)
    expected = SECURITY | CACHING | ({STRICT: "max-age=31536000 ; includeSubDomains"} if strict else {})
    for path in ("/shop/a", "/nowhere", "/actuator/health"):
        assert said((await gateway.nobody("GET", path, headers=headers)).headers) == expected, path


async def test_a_service_may_take_as_long_as_it_needs_unless_a_time_is_set(
    gateways: Gateways, shop: Shop
) -> None:
    gateway = await start(gateways, shop, proxy_response_timeout_seconds=0.05)
    assert (await gateway.nobody("GET", "/shop/slow")).status == 504
    shop.asked.clear()
    gateway = await start(gateways, shop)
    call = asyncio.ensure_future(gateway.nobody("GET", "/shop/slow"))
    await asyncio.wait_for(shop.asked.wait(), 10)
    shop.free.set()
    assert (await call).status == 200


@pytest.mark.parametrize(
    ("settings", "labels"),
    [
        ({"spring_application_name": "gw"}, 'application="gw"'),
        ({"gateway_profile": "spring"}, 'application="gateway-server"'),
        ({"gateway_profile": "", "metrics_spring_names": "true"}, ""),
        ({"gateway_profile": ""}, None),
        ({"gateway_profile": "spring", "metrics_spring_names": "false"}, None),
    ],
)
async def test_springs_metrics_are_there_and_name_the_application(
    gateways: Gateways, shop: Shop, settings: dict[str, str], labels: str | None
) -> None:
    gateway = await start(gateways, shop, **settings)
    await gateway.nobody("GET", "/shop/a")
    # The registry of this gateway: what a call to /actuator/prometheus gives is the process's.
    text = generate_latest(gateway.app[OBSERVERS].metrics.registry).decode()
    names = (
        "http_server_requests_seconds_count",
        "http_server_requests_seconds_max",
        "spring_cloud_gateway_routes_count",
    )
    for name in names:
        lines = [line for line in text.splitlines() if line.startswith(name)]
        assert bool(lines) is (labels is not None)
        assert all((labels in line) if labels else ("application=" not in line) for line in lines)


@pytest.mark.parametrize("profile", ["spring", "plain"])
async def test_one_language_may_be_forced(gateways: Gateways, shop: Shop, profile: str) -> None:
    gateway = await start(
        gateways, shop, forced_locale="ko", gateway_profile=profile, allowed_in_max_capacity=0
    )
    user = gateway.user("someone")
    for accepted in ("en", "en-US,en;q=0.9", "fr", "*", ""):
        headers = {"Accept-Language": accepted}
        answer = await user("POST", "/api/v1/queue/lineup", headers=headers)
        assert answer.json["message"] == "대기열에 등록되었습니다."
        refused = await gateway.nobody("GET", "/api/v1/queue/status", headers=headers)
        assert not refused.json["message"].isascii()
        async with user.stream(headers=headers) as stream:
            await stream.until("STATUS_UPDATE")
    gateway = await start(gateways, shop, forced_locale="en", default_locale="ko", gateway_profile=profile)
    answer = await gateway.user("other")("GET", "/nowhere", headers={"Accept-Language": "ko"})
    assert answer.json["message"].isascii()


async def test_without_access_in_its_own_file_nothing_of_services_is_open(
    gateways: Gateways, shop: Shop
) -> None:
    routes = f'routes: [{{id: tickets, uri: "{shop.url}", predicates: ["Path=/api/v1/**"]}}]\n'
    opened = (
        ("POST", "/api/v1/tickets/5/use"),
        ("POST", "/api/v1/auth/login"),
        ("GET", "/api/v1/products"),
        ("GET", "/api/v1/arthalls/1"),
        ("GET", "/.well-known/jwks.json"),
        ("GET", "/x/v3/api-docs"),
        ("GET", "/health/a"),
    )
    for profile in ("plain", "spring"):
        gateway = await gateways.start(routes, gateway_profile=profile)
        for method, path in opened:
            assert (await gateway.nobody(method, path)).status in (401, 404), path
        assert (await gateway.nobody("POST", "/api/v1/tickets/5/use")).code == "TOKEN_REQUIRED"
        # Nor is anything gated that the file does not name.
        assert (await gateway.user("a")("POST", "/api/v1/reservations")).status == 200


async def test_without_an_address_of_keys_calls_with_a_token_are_told_so(
    gateways: Gateways, shop: Shop
) -> None:
    gateway = await start(gateways, shop, gateway_profile="", jwt_jwks_uri="")
    refused = await gateway.user("a").status()
    assert (refused.status, refused.code) == (503, "AUTH_UNAVAILABLE")
    assert (await gateway.nobody("GET", "/shop/a")).status == 200
    health = (await gateway.nobody("GET", "/actuator/health")).json["components"]
    assert (health["jwks"]["status"], "eureka" in health, "configServer" in health) == (
        "UNKNOWN",
        False,
        False,
    )
