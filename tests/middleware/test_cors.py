"""Pages of other origins, over real HTTP: the recorded cases, and the gateway's own answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from gateway.app import ROUTE_SOURCES
from gateway.context import CONFIGURATION, OBSERVERS
from gateway.observability.loop_lag import LoopLag
from gateway.routing.spec.issues import RouteFileError
from gateway.routing.table import RouteTable
from gateway.server.listener import Server
from tests.routing.vectors import Case, cases, load_json
from tests.support.gateway import Answer, Caller, Gateways, Running
from tests.support.listening import listening
from tests.support.redis_server import StartRedis

PAGE = "https://shop.test"
ROUTES = """
routes:
  - {id: shop, uri: "%(service)s", predicates: ["Path=/api/v1/**"]}
  - id: own
    uri: "%(service)s"
    predicates: ["Path=/own/**"]
    metadata: {cors: {allowedOrigins: "https://own.test"}}
  - {id: answers, uri: "no://op", predicates: ["Path=/moved"], filters: ["RedirectTo=302, https://other.test"]}
  - {id: refusing, uri: "http://127.0.0.1:1", predicates: ["Path=/refusing"]}
access:
  public: ["GET /refusing", "GET /moved", "GET /own/**"]
gates:
  - calls: [POST /api/v1/reservations]
cors:
  cors-configurations:
    '[/**]':
      allowedOrigins: https://shop.test
      allowedMethods: [GET, POST, DELETE]
      allowedHeaders: [authorization, content-type, last-event-id]
      exposedHeaders: Retry-After
      allowCredentials: true
      maxAge: 600
"""

# We differ on purpose: the status, and what is said of other origins.
_NOTHING: dict[str, str] = {}
DIFFERENCES: dict[str, tuple[int, dict[str, str]]] = {
    **dict.fromkeys(("cors-09", "cors-10"), (403, _NOTHING)),  # no browser sends an origin with a slash
    "cors-patterns-05": (403, _NOTHING),  # * ends before a path
    # One opinion: the gateway's.
    "cors-42": (
        200,
        {
            "allow-origin": "https://docs.spring.io",
            "expose-headers": "X-Exposed, X-Other",
            "allow-credentials": "true",
        },
    ),
    # Keys are understood in every spelling, and not only in the configuration.
    **dict.fromkeys(("cors-route-main-12", "cors-route-cors-12"), (200, {"allow-origin": "https://r.test"})),
}
REFUSED_FILES = {f"cors-star-credentials-0{number}" for number in range(2, 7)}
CASES = [case for case in cases("filters") if case["id"].startswith("cors")]


class Scripted:
    """A service that answers as it is told."""

    def __init__(self) -> None:
        self.answer: dict[str, Any] = {}
        self.asked = 0

    async def handle(self, _request: web.Request) -> web.Response:
        self.asked += 1
        headers = CIMultiDict((name, value) for name, value in self.answer.get("headers", ()))
        return web.Response(
            status=self.answer.get("status", 200), headers=headers, text=self.answer.get("body", "ok")
        )


@pytest.fixture
async def scripted() -> AsyncIterator[tuple[Scripted, str]]:
    service, app = Scripted(), web.Application()
    app.router.add_route("*", "/{path:.*}", service.handle)
    async with listening(web.AppRunner(app, access_log=None, shutdown_timeout=1.0)) as url:
        yield service, url


def table_of(case: Case, service: str) -> RouteTable:
    settings = case.get("settings") or {}
    route = {
        "id": "r",
        "uri": service,
        "predicates": case["predicates"],
        "filters": case["filters"],
        "metadata": case.get("metadata", {}),
    }
    public = [f"{method} /**" for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS")]
    content = {"routes": [route], "gates": [], "access": {"public": public}}
    return load_json(content | ({"cors": settings["globalcors"]} if "globalcors" in settings else {}))


def said(headers: Any) -> dict[str, str]:
    """What an answer says of other origins; says so if it does twice."""
    found: dict[str, str] = {}
    for name, value in headers:
        if name.lower().startswith("access-control-"):
            key = name.lower().removeprefix("access-control-")
            found[key] = f"{found[key]} AND {value}" if key in found else value
    return found


def varies(headers: Any) -> list[str]:
    return sorted(value for name, value in headers if name.lower() == "vary")


async def test_every_recorded_case_is_answered_as_it_was_there(
    gateways: Gateways, scripted: tuple[Scripted, str]
) -> None:
    gateway = await gateways.start("routes: []\n")
    service, url = scripted
    wrong = {}
    for case in CASES:
        try:
            table = table_of(case, url)
        except RouteFileError:
            if case["id"] not in REFUSED_FILES:
                wrong[case["id"]] = "the file is refused"
            continue
        gateway.app[CONFIGURATION].tables.replace(table)
        service.answer, service.asked = case["answers"][0], 0
        request, client = case["request"], case["client"]
        answer = await gateway.nobody(
            request["method"],
            request["target"],
            headers=CIMultiDict((name, value) for name, value in request["headers"]),
        )
        there = client["status"], said(client["headers"])
        status, allowed = DIFFERENCES.get(case["id"], there)
        ours = answer.status, said(answer.headers.items()), varies(answer.headers.items()), service.asked
        asked = 1 if status == 200 and case["id"] in DIFFERENCES else len(case["upstream"])
        if case["id"] in DIFFERENCES and (request["method"] == "OPTIONS" or status == 403):
            asked = 0
        if ours != (status, allowed, varies(client["headers"]), asked):
            wrong[case["id"]] = f"{ours}, there {there}, {len(case['upstream'])}"
    assert wrong == {}
    assert len(CASES) == 100


async def preflight(gateway: Running, path: str, method: str = "POST", origin: str = PAGE) -> Answer:
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    return await gateway.nobody("OPTIONS", path, headers=asked)


@pytest.mark.parametrize("path", ["/api/v1/queue/lineup", "/api/v1/reservations", "/api/v1/queue/unknown"])
async def test_a_preflight_needs_no_token_and_no_place_and_reaches_no_service(
    gateways: Gateways, path: str
) -> None:
    gateway = await gateways.start(ROUTES)
    answer = await preflight(gateway, path)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert answer.headers["Access-Control-Allow-Methods"] == "GET,POST,DELETE"
    refused = await preflight(gateway, path, origin="https://evil.test")
    assert (refused.status, refused.code) == (403, "CORS_REJECTED")
    assert said(refused.headers.items()) == {}
    assert (await preflight(gateway, path, method="PUT")).status == 403
    assert gateways.service.seen == []


async def test_an_overloaded_instance_answers_preflights_and_its_refusals_can_be_read(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await gateways.start(ROUTES, overload_lag_ms=1)
    monkeypatch.setattr(LoopLag, "milliseconds", 1000.0)
    assert (await preflight(gateway, "/api/v1/queue/lineup")).status == 200
    answer = await gateway.user("a")("POST", "/api/v1/queue/lineup", headers={"Origin": PAGE})
    assert (answer.status, answer.code) == (503, "OVERLOADED")
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE


async def test_every_answer_of_the_gateways_own_can_be_read_by_the_page(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    inside, waiting, stranger = (gateway.user(name) for name in ("inside", "waiting", "stranger"))
    page = {"Origin": PAGE}
    answers = {
        "lineup": await inside("POST", "/api/v1/queue/lineup", headers=page),
        "waiting": await waiting("POST", "/api/v1/queue/lineup", headers=page),
        "401": await gateway.nobody("POST", "/api/v1/reservations", headers=page),
        "403": await stranger("POST", "/api/v1/reservations", headers=page),
        "429": await waiting("POST", "/api/v1/reservations", headers=page),
        "404": await stranger("GET", "/api/v1/queue/status", headers=page),
        "no such call": await stranger("GET", "/api/v1/queue/unknown", headers=page),
        "no such method": await stranger("GET", "/api/v1/queue/leave", headers=page),
        "204": await stranger("POST", "/api/v1/queue/leave", headers=page),
        "302": await gateway.nobody("GET", "/moved", headers=page),
        "502": await gateway.nobody("GET", "/refusing", headers=page),
        "proxied": await inside("POST", "/api/v1/reservations", headers=page),
    }
    expected = [200, 200, 401, 403, 429, 404, 404, 405, 204, 302, 502, 200]
    assert [answer.status for answer in answers.values()] == expected
    for name, answer in answers.items():
        assert said(answer.headers.items()) == {
            "allow-origin": PAGE,
            "allow-credentials": "true",
            "expose-headers": "Retry-After",
        }, name
        assert "Origin" in varies(answer.headers.items()), name


@pytest.mark.parametrize(
    ("method", "path", "status", "more"),
    [
        ("GET", "/api/v1/a%2Fb", 400, {}),
        ("GET", "/api/v1/%zz", 400, {}),
        ("GET", "/api/v1/../x", 400, {}),
        ("COPY", "/api/v1/x", 400, {"Destination": "/a%2Fb"}),
    ],
)
async def test_a_refusal_before_any_route_can_be_read_by_the_page(
    gateways: Gateways, method: str, path: str, status: int, more: dict[str, str]
) -> None:
    routes = ROUTES.replace("allowedMethods: [GET, POST, DELETE]", "allowedMethods: '*'")
    gateway = await gateways.start(routes)
    headers = {"Origin": PAGE} | more
    async with gateway.session.request(
        method, URL(gateway.base + path, encoded=True), headers=headers
    ) as response:
        body = await response.json()
    assert (response.status, body["error"]["code"]) == (status, "BAD_REQUEST")
    assert response.headers["Access-Control-Allow-Origin"] == PAGE
    assert response.headers["Access-Control-Allow-Credentials"] == "true"
    headers["Origin"] = "https://evil.test"
    async with gateway.session.request(
        method, URL(gateway.base + path, encoded=True), headers=headers
    ) as response:
        assert said(response.headers.items()) == {}
    assert gateways.service.seen == []


@asynccontextmanager
async def one_too_many(gateway: Running) -> AsyncIterator[str]:
    """The address of a server around ``gateway`` on which each connection is one too many."""
    server = gateway.runner.server
    assert isinstance(server, Server)
    server._max_connections = 0
    yield gateway.base


@pytest.mark.parametrize(
    ("call", "status"),
    [
        ("GET /api/v1/queue/stream?access_token=x", 200),
        ("POST /api/v1/queue/lineup", 503),
        ("GET /own/1", 503),
    ],
)
async def test_a_full_instance_can_be_read_by_the_page(
    gateways: Gateways, nothing_displaced: None, call: str, status: int
) -> None:
    gateway = await gateways.start(ROUTES)
    method, path = call.split(" ")
    page = "https://own.test" if path == "/own/1" else PAGE
    async with one_too_many(gateway) as base:
        caller = Caller(gateway.session, base, None)
        allowed = await caller(method, path, headers={"Origin": page})
        other = await caller(method, path, headers={"Origin": "https://evil.test"})
        none = await caller(method, path)
    assert [answer.status for answer in (allowed, other, none)] == [status] * 3
    assert allowed.headers["Access-Control-Allow-Origin"] == page
    assert "Origin" in varies(allowed.headers.items())
    assert (allowed.headers.get("Access-Control-Allow-Credentials") == "true") == (page == PAGE)
    assert said(other.headers.items()) == said(none.headers.items()) == {}
    if status == 200:
        assert (await usual_headers(gateway)) == said(allowed.headers.items())
        assert allowed.body.startswith(b"retry: ")


async def usual_headers(gateway: Running) -> dict[str, str]:
    """What a stream of an instance that has room says to the page."""
    user = gateway.user("first")
    await user.lineup()
    async with user.stream(headers={"Origin": PAGE}) as stream:
        return said(stream.response.headers.items())


@pytest.mark.parametrize("cut", [24, 60, -40, -3])
async def test_a_full_instance_waits_for_the_origin_of_a_stream(
    gateways: Gateways, nothing_displaced: None, cut: int
) -> None:
    gateway = await gateways.start(ROUTES)
    head = f"GET /api/v1/queue/stream?access_token=x HTTP/1.1\r\nHost: h\r\norigin: {PAGE}\r\nAccept: */*\r\n\r\n"
    async with one_too_many(gateway) as base:
        reader, writer = await asyncio.open_connection("127.0.0.1", URL(base).port)
        try:
            writer.write(head[:cut].encode())
            await asyncio.sleep(0.05)
            writer.write(head[cut:].encode())
            answer = await asyncio.wait_for(reader.read(), 5)
        finally:
            writer.transport.abort()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert f"\r\nAccess-Control-Allow-Origin: {PAGE}\r\n".encode() in answer
    assert b"\r\nVary: Origin\r\n" in answer


async def test_without_redis_the_refusal_can_be_read(tmp_path: Path, start_redis: StartRedis) -> None:
    server = start_redis()
    async with Gateways(tmp_path, server.url) as gateways:
        gateway = await gateways.start(ROUTES, redis_timeout_seconds=0.5)
        server.kill()
        answer = await gateway.user("a")("POST", "/api/v1/reservations", headers={"Origin": PAGE})
    assert (answer.status, answer.code) == (503, "QUEUE_UNAVAILABLE")
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE


async def test_a_stream_can_be_read_by_the_page(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    await gateway.user("first").lineup()
    user = gateway.user("second")
    await user.lineup()
    async with user.stream(headers={"Origin": PAGE}) as stream:
        headers = stream.response.headers
        await stream.until("STATUS_UPDATE")
    assert (stream.status, headers["Access-Control-Allow-Origin"]) == (200, PAGE)
    assert headers["Access-Control-Allow-Credentials"] == "true"
    async with user.stream(headers={"Origin": "https://evil.test"}) as stream:
        assert stream.status == 403


async def test_what_is_for_operators_is_for_no_page(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    answer = await gateway.nobody("GET", "/actuator/health", headers={"Origin": PAGE})
    assert answer.status in {200, 503}
    assert said(answer.headers.items()) == {}
    assert (await preflight(gateway, "/actuator/health", "GET")).status == 405
    answer = await gateway.nobody("GET", "/metrics", headers={"Origin": PAGE})
    assert answer.status == 200
    assert said(answer.headers.items()) == {}


async def test_what_a_page_may_not_do_is_counted_once(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    user, evil = gateway.user("a"), {"Origin": "https://evil.test"}
    assert (await user("POST", "/api/v1/queue/lineup", headers=evil)).code == "CORS_REJECTED"
    assert (await user("POST", "/api/v1/queue/leave", headers=evil)).code == "CSRF_REJECTED"
    counted = gateway.app[OBSERVERS].metrics.registry.get_sample_value
    for code in ("CORS_REJECTED", "CSRF_REJECTED"):
        assert counted("gateway_rejections_total", {"code": code}) == 1


async def test_a_page_of_the_gateways_own_is_of_no_other_origin(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    user = gateway.user("a")
    own = {"Origin": gateway.base}
    assert (await user("POST", "/api/v1/queue/lineup", headers=own)).status == 200
    # TLS ends in front of us, at a proxy that nobody said to trust: the browser knows better.
    behind = {"Origin": "https://tickets.test", "Host": "tickets.test"}
    assert (await user("POST", "/api/v1/queue/lineup", headers=behind)).status == 403
    behind["Sec-Fetch-Site"] = "same-origin"
    assert (await user("POST", "/api/v1/queue/lineup", headers=behind)).status == 200
    trusting = await gateways.start(ROUTES, trusted_proxies="127.0.0.0/8")
    forwarded = {"Origin": "https://tickets.test", "Host": "tickets.test", "X-Forwarded-For": "203.0.113.1"}
    forwarded["X-Forwarded-Proto"] = "https"
    user = trusting.user("a")
    assert (await user("POST", "/api/v1/queue/lineup", headers=forwarded)).status == 200


async def test_a_services_own_opinion_of_other_origins_gives_way_where_there_is_a_rule(
    gateways: Gateways, scripted: tuple[Scripted, str]
) -> None:
    service, gateways.service.url = scripted
    theirs = [
        ("Access-Control-Allow-Origin", "*"),
        ("access-control-allow-credentials", "true"),
        ("Access-Control-Max-Age", "5"),
        ("Vary", "Accept-Encoding"),
    ]
    service.answer = {"headers": theirs}
    ruled = await gateways.start(ROUTES)
    for headers in ({"Origin": "https://own.test"}, {}):
        answer = await ruled.nobody("GET", "/own/x", headers=headers)
        expected = {"allow-origin": "https://own.test"} if headers else {}
        assert said(answer.headers.items()) == expected
        assert {"Origin", "Accept-Encoding"} <= set(varies(answer.headers.items()))
    free = await gateways.start(ROUTES.partition("cors:\n")[0])
    answer = await free.nobody("GET", "/moved", headers={"Origin": PAGE})
    assert said(answer.headers.items()) == {}
    answer = await free.user("a")("GET", "/api/v1/x", headers={"Origin": PAGE})
    assert said(answer.headers.items()) == {
        "allow-origin": "*",
        "allow-credentials": "true",
        "max-age": "5",
    }


@pytest.mark.parametrize(
    ("origin", "status", "code"),
    [
        (PAGE, 204, None),
        ("https://evil.test", 403, "CSRF_REJECTED"),
        ("null", 403, "CSRF_REJECTED"),
        ("https://shop.test.evil.test", 403, "CSRF_REJECTED"),
    ],
)
async def test_a_cookie_leaves_also_from_a_page_that_cors_allows(
    gateways: Gateways, origin: str, status: int, code: str | None
) -> None:
    gateway = await gateways.start(ROUTES, jwt_cookie_name="token")
    user = gateway.user("a")
    await user.lineup()
    cookie = {"Cookie": f"token={user.token}", "Origin": origin}
    answer = await gateway.nobody("POST", "/api/v1/queue/leave", headers=cookie)
    assert (answer.status, answer.code if code else None) == (status, code)
    left = (await user.status()).status == 404
    assert left is (status == 204)


async def test_no_page_sends_a_cookie_where_cors_allows_any_origin_without_credentials(
    gateways: Gateways,
) -> None:
    routes = "routes: []\ncors: {cors-configurations: {'/**': {allowedOrigins: '*', allowedMethods: '*'}}}\n"
    gateway = await gateways.start(routes, jwt_cookie_name="token")
    user = gateway.user("a")
    await user.lineup()
    cookie = {"Cookie": f"token={user.token}", "Origin": "https://evil.test"}
    answer = await gateway.nobody("POST", "/api/v1/queue/leave", headers=cookie)
    assert (answer.status, answer.code) == (403, "CSRF_REJECTED")
    assert (await user.status()).status == 200


async def test_a_reload_changes_what_other_origins_may_do(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES, jwt_cookie_name="token")
    other = ROUTES.replace("https://shop.test", "https://new.test") % {"service": gateways.service.url}
    gateway.routes_file.write_text(other, encoding="utf-8")
    before = gateway.app[CONFIGURATION].tables.current
    gateway.app[ROUTE_SOURCES].reload()
    while gateway.app[CONFIGURATION].tables.current is before:
        await gateway.nobody("GET", "/moved")
    assert (await preflight(gateway, "/api/v1/queue/leave")).status == 403
    assert (await preflight(gateway, "/api/v1/queue/leave", origin="https://new.test")).status == 200


async def test_a_browser_that_asks_for_a_private_network_is_told(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES.replace("maxAge: 600", "allowPrivateNetwork: true"))
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "GET"}
    name = "Access-Control-Request-Private-Network"
    for value, told in (("true", "true"), ("TRUE", "true"), ("false", None), ("1", None), (None, None)):
        headers = {**asked, name: value} if value else asked
        answer = await gateway.nobody("OPTIONS", "/api/v1/x", headers=headers)
        assert (answer.status, answer.headers.get("Access-Control-Allow-Private-Network")) == (200, told)
    silent = await gateways.start(ROUTES)
    answer = await silent.nobody("OPTIONS", "/api/v1/x", headers={**asked, name: "true"})
    assert "Access-Control-Allow-Private-Network" not in answer.headers
