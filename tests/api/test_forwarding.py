"""What routes make of requests and answers, over real HTTP with a real service."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.auth.visitors import VisitorCookies
from gateway.proxy import forwarded
from tests.resilience.rig import answer, ask, routes, scripted
from tests.support.gateway import Gateways, Running

ROUTES = """
routes:
  - {id: teapot, uri: "%(service)s", predicates: ["Path=/teapot"], filters: [SetStatus=418]}
  - {id: silent, uri: "%(service)s", predicates: ["Path=/silent"], filters: [SetStatus=204]}
  - {id: small, uri: "%(service)s", predicates: ["Path=/small"], filters: [{name: RequestSize, args: {maxSize: 10B}}]}
  - {id: moved, uri: "no://op", predicates: ["Path=/old"], filters: ["RedirectTo=302, https://new.example/"]}
  - id: edited
    uri: "%(service)s"
    predicates: ["Path=/edited/{name}"]
    filters:
      - AddRequestHeader=X-Name, {name}
      - RemoveRequestHeader=X-Secret
      - AddRequestHeader=X-User-Id, admin
      - AddResponseHeader=X-Answer, yes
      - RemoveResponseHeader=Server
      - StripPrefix=1
      - PreserveHostHeader
access:
  public: ["/teapot", "/silent", "/small", "/old", "/edited/**"]
"""


@pytest.fixture
async def gateway(gateways: Gateways) -> Running:
    running = await gateways.start(ROUTES, max_request_body_bytes=20)
    assert isinstance(running, Running)
    return running


async def test_a_route_may_replace_the_status(gateway: Running) -> None:
    answer = await gateway.nobody("GET", "/teapot")
    assert answer.status == 418
    assert answer.json["target"] == "/teapot"
    for _ in range(2):
        silent = await gateway.nobody("GET", "/silent")
        assert (silent.status, silent.body) == (204, b"")


@pytest.mark.parametrize(
    ("path", "size", "status"), [("/small", 10, 200), ("/small", 11, 413), ("/teapot", 21, 413)]
)
async def test_the_smaller_limit_of_bodies_counts(
    gateway: Running, path: str, size: int, status: int
) -> None:
    answer = await gateway.nobody("POST", path, data=b"x" * size)
    assert answer.status == status


async def test_a_route_may_answer_by_itself(gateway: Running) -> None:
    answer = await gateway.nobody("GET", "/old")
    assert (answer.status, answer.headers["Location"]) == (302, "https://new.example/")


async def test_headers_are_edited_both_ways_and_identity_is_never_a_route_s(
    gateway: Running, gateways: Gateways
) -> None:
    answer = await gateway.nobody(
        "GET", "/edited/käse", headers={"X-Secret": "1", "Host": "shop.example", "X-Other": "ü"}
    )
    assert (answer.status, answer.headers["X-Answer"]) == (200, "yes")
    assert "Server" not in answer.headers
    seen = gateways.service.seen[-1]
    headers = dict(seen["headers"])
    assert seen["target"] == "/k%C3%A4se"
    assert headers["Host"] == "shop.example"
    assert headers["X-Name"].encode("utf-8", "surrogateescape").decode() == "käse"
    assert not {"X-Secret", "X-User-Id"} & set(headers)


PROXIED = """
routes:
  - {id: usual, uri: "%(service)s", predicates: ["Path=/usual/**", "XForwardedRemoteAddr=127.0.0.0/8"]}
  - {id: remote, uri: "%(service)s", predicates: ["Path=/remote/**", "RemoteAddr=127.0.0.0/8,::1"]}
  - {id: ten, uri: "%(service)s", predicates: ["Path=/ten/**", "XForwardedRemoteAddr=10.0.0.0/8"]}
  - {id: strip, uri: "%(service)s", predicates: ["Path=/strip/**"], filters: [StripPrefix=2]}
  - {id: rewrite, uri: "%(service)s", predicates: ["Path=/rewrite/**"], filters: ["RewritePath=/rewrite/(.*), /$1"]}
  - {id: add, uri: "%(service)s", predicates: ["Path=/add/**"], filters: [PrefixPath=/more]}
access:
  public: ["/usual/**", "/remote/**", "/ten/**", "/strip/**", "/rewrite/**", "/add/**"]
"""
CROSSED = """
cors:
  cors-configurations:
    '[/**]': {allowedOrigins: ["https://pages.test"], allowedMethods: ["*"]}
"""


@pytest.mark.parametrize(
    ("headers", "local", "ten"),
    [
        ({}, 200, 404),
        ({"X-Forwarded-For": "10.1.2.3"}, 404, 200),
        ({"X-Forwarded-For": "10.1.2.3,"}, 404, 200),
        ({"X-Forwarded-For": "10.1.2.3, , 127.0.0.1"}, 404, 200),
        ({"X-Forwarded-For": "unknown"}, 404, 404),
        ({"X-Forwarded-For": "10.1.2.3, unknown"}, 404, 404),
        ({"X-Forwarded-For": "10.1.2.3, garbage, 127.0.0.1"}, 404, 404),
        ({"Forwarded": "for=unknown"}, 404, 404),
        ({"Forwarded": "for=10.1.2.3,"}, 404, 200),
        ({"Forwarded": "garbage"}, 404, 404),
        ({"X-Forwarded-For": ""}, 404, 404),
        ({"X-Forwarded-For": " , "}, 404, 404),
        ({"X-Real-IP": "10.1.2.3"}, 404, 200),
        ({"X-Real-IP": "10.1.2.3, 127.0.0.1"}, 404, 404),
        ({"X-Real-IP": "127.0.0.1", "X-Forwarded-For": "10.1.2.3"}, 404, 200),
    ],
)
async def test_addresses_are_compared_as_trusted_proxies_tell_them(
    gateways: Gateways, headers: dict[str, str], local: int, ten: int
) -> None:
    gateway = await gateways.start(PROXIED, trusted_proxies="127.0.0.0/8")
    for path, status in {"/usual/x": local, "/remote/x": local, "/ten/x": ten}.items():
        assert (await gateway.nobody("GET", path, headers=headers)).status == status


async def test_what_proxies_say_is_read_once(gateways: Gateways, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def counted(*args: Any, **options: Any) -> Any:
        read.append(args)
        return said(*args, **options)

    said = forwarded._read_report
    monkeypatch.setattr(forwarded, "_read_report", counted)
    gateway = await gateways.start(PROXIED + CROSSED, trusted_proxies="127.0.0.0/8")
    sent = {"X-Forwarded-For": "127.0.0.9", "X-Forwarded-Proto": "wss", "Host": "shop.test"}
    answer = await gateway.nobody("GET", "/usual/x", headers=sent | {"Origin": "https://shop.test"})
    assert (answer.status, len(read)) == (200, 1)
    told = dict(gateways.service.seen[-1]["headers"])
    assert (told["X-Real-IP"], told["X-Forwarded-Proto"]) == ("127.0.0.9", "https")
    assert (
        await gateway.nobody("GET", "/usual/x", headers=sent | {"Origin": "https://other.test"})
    ).status == 403
    # The same again, so it is known.
    assert len(read) == 1
    assert (await gateway.nobody("GET", "/usual/x", headers=sent | {"Host": "else.test"})).status == 200
    assert len(read) == 2


@pytest.mark.parametrize(
    ("path", "prefix"),
    [
        ("/strip/a/b/c", "/strip/a"),
        ("/strip/a", "/strip/a"),
        ("/rewrite/a%20b", "/rewrite"),
        ("/add/a", None),
        ("/usual/a", None),
    ],
)
async def test_services_behind_a_trusted_proxy_are_told_what_the_route_took_off_the_path(
    gateways: Gateways, path: str, prefix: str | None
) -> None:
    trusting = await gateways.start(PROXIED, trusted_proxies="127.0.0.0/8")
    for before, told in ((None, prefix), ("/outer", f"/outer,{prefix}" if prefix else "/outer")):
        sent = {"X-Forwarded-Prefix": before} if before else {}
        assert (await trusting.nobody("GET", path, headers=sent)).status == 200
        assert dict(gateways.service.seen[-1]["headers"]).get("X-Forwarded-Prefix") == told
    careful = await gateways.start(PROXIED)
    await careful.nobody("GET", path, headers={"X-Forwarded-Prefix": "/outer"})
    assert "X-Forwarded-Prefix" not in dict(gateways.service.seen[-1]["headers"])


TOLD = """
routes:
  - {id: plain, uri: "%(service)s", predicates: ["Path=/plain/**"]}
  - id: told
    uri: "%(service)s"
    predicates: ["Path=/told/**"]
    filters:
      - SetRequestHeader=X-Script-Name, /told
      - AddRequestHeadersIfNotPresent=Daphne-Root-Path:/told
      - AddRequestHeader=X-Forwarded-Script-Name, /told
      - AddRequestHeader=X-Original-URL, /other
      - MapRequestHeader=X-Original-URI, X-Seen
access:
  public: ["/plain/**", "/told/**"]
"""


async def test_routes_name_another_call_and_neither_clients_nor_trusted_proxies(gateways: Gateways) -> None:
    sent = {
        "X-Script-Name": "/plain",
        "X-Forwarded-Script-Name": "/plain",
        "X-Forwarded-Uri": "/plain/other",
        "X-Forwarded-Method": "DELETE",
        "X-Original-URI": "/plain/other",
        "Daphne-Root-Path": "/plain",
        "X-Forwarded-Server": "edge",
    }

    async def seen(path: str, trusted: str) -> dict[str, str]:
        gateway = await gateways.start(TOLD, trusted_proxies=trusted)
        assert (await gateway.nobody("GET", path, headers=sent)).status == 200
        headers = dict(gateways.service.seen[-1]["headers"])
        return {name: value for name, value in headers.items() if name in {*sent, "X-Original-URL", "X-Seen"}}

    mounted = {"X-Script-Name": "/told", "Daphne-Root-Path": "/told", "X-Forwarded-Script-Name": "/told"}
    assert await seen("/plain/a", "") == {}
    assert await seen("/told/a", "") == mounted
    server = {"X-Forwarded-Server": "edge"}
    assert await seen("/plain/a", "127.0.0.0/8") == server
    assert await seen("/told/a", "127.0.0.0/8") == mounted | server


REWRITTEN = r"""
routes:
  - id: nothing
    uri: "%(service)s"
    predicates: ["Path=/nothing/**"]
    filters: ['RewritePath=/nothing(?<rest>.*), $\{rest}']
  - {id: bare, uri: "%(service)s", predicates: ["Path=/bare/**"], filters: ['RewritePath=/bare/(.*), $1']}
  - {id: twice, uri: "%(service)s", predicates: ["Path=/twice"], filters: ['SetPath=/a%%20b']}
  - {id: buy, uri: "%(service)s", predicates: ["Path=/shop/**"], filters: ['RewritePath=/shop/(.*), $1']}
gates:
  - {calls: ["POST /buy"]}
access:
  public: ["/nothing/**", "/bare/**", "/twice", "/shop/**"]
"""


async def test_whatever_a_rewrite_leaves_a_service_gets_a_path(gateways: Gateways) -> None:
    gateway = await gateways.start(REWRITTEN)
    for path, target in {
        "/nothing": "/",
        "/nothing?a=1&": "/?a=1&",
        "/nothing/x": "/x",
        "/bare/": "/",
        "/bare/x/y": "/x/y",
        "/twice": "/a%2520b",
    }.items():
        answer = await gateway.nobody("GET", path)
        assert (answer.status, gateways.service.seen[-1]["target"]) == (200, target)
    assert (await gateway.nobody("GET", "/bare/x..")).status == 200
    assert (await gateway.nobody("GET", "/bare/..x")).status == 200
    before = len(gateways.service.seen)
    # Gated by the path at the service, although that of the call is public.
    assert (await gateway.nobody("POST", "/shop/buy")).status == 401
    assert len(gateways.service.seen) == before


FILTERED = """
routes:
  - id: keyed
    uri: "%(service)s"
    predicates: ["Path=/keyed/**"]
    filters:
      - SetRequestHeader=X-Internal-Key, secret
      - AddRequestHeader=X-Tenant, own
      - AddRequestHeadersIfNotPresent=X-Zone:a
      - RemoveRequestHeader=X_Debug
      - MapRequestHeader=X-From, X-To
  - {id: plain, uri: "%(service)s", predicates: ["Path=/plain/**"]}
access:
  public: ["/keyed/**", "/plain/**"]
"""


@pytest.mark.parametrize(
    "connection",
    [
        "X-Internal-Key, X-Tenant, X-Zone, X-To",
        "keep-alive, x_internal_key,x-tenant , X-ZONE,X.To",
        "close, X-Internal-Key, X-Tenant, X-Zone, X-To, Host",
    ],
)
async def test_connection_takes_away_nothing_that_a_route_sets(gateways: Gateways, connection: str) -> None:
    gateway = await gateways.start(FILTERED)
    sent = {"Connection": connection, "X-Tenant": "mine", "X-Zone": "b", "X-From": "1", "X-Other": "2"}
    assert (await gateway.nobody("GET", "/keyed/x", headers=sent)).status == 200
    told = gateways.service.seen[-1]["headers"]
    assert ("X-Internal-Key", "secret") in told
    # The client's own ones are gone, and the route's stand alone.
    values = [value for name, value in told if name in {"X-Tenant", "X-Zone", "X-To", "X-Other"}]
    assert values == ["2", "own", "a", "1"]
    assert "Connection" not in dict(told)


@pytest.mark.parametrize(
    "named", ["X-From", "x_from"], ids=["as it is spelled", "as some service would spell it"]
)
async def test_a_route_does_not_see_what_connection_names(gateways: Gateways, named: str) -> None:
    gateway = await gateways.start(FILTERED)
    sent = {"Connection": named, "X-From": "1"}
    assert (await gateway.nobody("GET", "/keyed/x", headers=sent)).status == 200
    assert not {"X-From", "X-To"} & set(dict(gateways.service.seen[-1]["headers"]))


@pytest.mark.parametrize("spelling", ["X_Internal_Key", "x-internal_key", "X.INTERNAL.KEY", "X~Internal-Key"])
async def test_what_a_route_sets_or_removes_has_no_second_spelling(gateways: Gateways, spelling: str) -> None:
    gateway = await gateways.start(FILTERED)
    sent = {
        spelling: "evil",
        "X-Debug": "1",
        "X.Debug": "2",
        "x_debug": "3",
        "X-Debugs": "4",
        "XInternalKeys": "5",
    }
    assert (await gateway.nobody("GET", "/keyed/x", headers=sent)).status == 200
    told = [
        (name, value) for name, value in gateways.service.seen[-1]["headers"] if name.lower().startswith("x")
    ]
    assert [field for field in told if "evil" in field or "debug" in field[0].lower()] == [("X-Debugs", "4")]
    assert {("X-Internal-Key", "secret"), ("XInternalKeys", "5")} <= set(told)


@pytest.mark.parametrize("path", ["/plain/x", "/keyed/x"])
@pytest.mark.parametrize("spelling", ["Proxy", "proxy", "PROXY"])
async def test_no_client_names_the_proxy_of_a_service(gateways: Gateways, path: str, spelling: str) -> None:
    gateway = await gateways.start(FILTERED)
    assert (await gateway.nobody("GET", path, headers={spelling: "http://evil.test"})).status == 200
    assert "proxy" not in {name.lower() for name, _ in gateways.service.seen[-1]["headers"]}


MADE = """
routes:
  - id: host
    uri: "%(service)s"
    predicates: ["Path=/host/{tenant}/**"]
    filters: ["SetRequestHostHeader={tenant}.example.org"]
  - id: mapped
    uri: "%(service)s"
    predicates: ["Path=/mapped/**"]
    filters: [PreserveHostHeader, RemoveRequestHeader=Host, "MapRequestHeader=X-Host, Host"]
  - id: header
    uri: "%(service)s"
    predicates: ["Path=/header/{tenant}/**"]
    filters: ["SetRequestHeader=X-Tenant, {tenant}"]
  - id: added
    uri: "%(service)s"
    predicates: ["Path=/added/{tenant}/**"]
    filters: ["AddRequestHeader=X-Tenant, {tenant}"]
  - id: missing
    uri: "%(service)s"
    predicates: ["Path=/missing/{tenant}/**"]
    filters: ["AddRequestHeadersIfNotPresent=X-Tenant:{tenant}"]
  - id: within
    uri: "%(service)s"
    predicates: ["Path=/within/{tenant}/**"]
    filters: ["SetRequestHeader=X-Tenant, of {tenant} alone"]
access:
  public: ["/host/**", "/mapped/**", "/header/**", "/added/**", "/missing/**", "/within/**"]
"""


@pytest.mark.parametrize(
    ("tenant", "host"),
    [
        ("acme", "acme.example.org"),
        ("evil.test", "evil.test.example.org"),
        ("evil.test%3A80%23", None),
        ("evil.test%3A80", None),
        ("x@evil.test", None),
        ("a%20b", None),
        ("a,b", None),
        ("%E2%80%8Bx", None),
        ("é", None),
        ("[::1]", None),
        ("a!b", None),
    ],
)
async def test_a_host_that_a_route_makes_is_one_or_the_call_is_refused(
    gateways: Gateways, tenant: str, host: str | None
) -> None:
    gateway = await gateways.start(MADE)
    answer = await gateway.nobody("GET", f"/host/{tenant}/x")
    assert answer.status == (400 if host is None else 200)
    assert len(gateways.service.seen) == (host is not None)
    if host is None:
        assert answer.code == "BAD_REQUEST"
    else:
        assert dict(gateways.service.seen[-1]["headers"])["Host"] == host


@pytest.mark.parametrize(
    ("value", "status"), [("shop.test:81", 200), ("evil/x", 400), ("a b", 400), ("", 200)]
)
async def test_a_host_taken_from_another_header_is_judged_too(
    gateways: Gateways, value: str, status: int
) -> None:
    gateway = await gateways.start(MADE)
    assert (await gateway.nobody("GET", "/mapped/x", headers={"X-Host": value})).status == status
    if status == 200:
        own = gateways.service.url.removeprefix("http://")
        assert dict(gateways.service.seen[-1]["headers"])["Host"] == (value or own)


@pytest.mark.parametrize("route", ["header", "added", "missing"])
@pytest.mark.parametrize(
    ("tenant", "sound"),
    [
        ("acme", True),
        ("ac%20me", True),
        ("acme%20", False),
        ("%20acme", False),
        ("acme%C2%A0", False),
        ("%E3%80%80acme", False),
        ("acme%EF%BB%BF", False),
    ],
)
async def test_a_value_made_of_the_path_arrives_as_it_is_or_not_at_all(
    gateways: Gateways, route: str, tenant: str, sound: bool
) -> None:
    gateway = await gateways.start(MADE)
    answer = await gateway.nobody("GET", f"/{route}/{tenant}/x")
    assert answer.status == (200 if sound else 400)
    assert len(gateways.service.seen) == sound
    assert (await gateway.nobody("GET", f"/within/{tenant}/x")).status == 200


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "aiohttp"])
async def test_the_gateways_cookies_reach_no_service_after_the_last_room_for_visitors(
    gateways: Gateways, fast_path: bool
) -> None:
    async with scripted(answer(200)) as service:
        gateway = await gateways.start(routes([service], []), fast_path=fast_path)
        left_over = VisitorCookies(("a-secret-of-the-tests-that-is-long",))
        plain, secure = (left_over.new(secure=each).partition(";")[0] for each in (False, True))
        for cookies in (f"a=1; {plain}; b=2; {secure}", "visitor=the-sites-own; a=1"):
            assert (await ask(gateway, "GET", "/a/x", f"Cookie: {cookies}")).status == 200
    assert [call.head.all("Cookie") for call in service.calls] == [
        ["a=1; b=2"], ["visitor=the-sites-own; a=1"],
    ]  # fmt: skip
