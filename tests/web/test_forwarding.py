"""What routes make of requests and answers, over real HTTP with a real service."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.proxy import forwarded
from tests.harness import Gateways, Running

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


async def test_what_proxies_say_is_read_once_for_a_request(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    def counted(*args: Any, **options: Any) -> Any:
        read.append(args)
        return said(*args, **options)

    said = forwarded._said
    monkeypatch.setattr(forwarded, "_said", counted)
    gateway = await gateways.start(PROXIED + CROSSED, trusted_proxies="127.0.0.0/8")
    sent = {"X-Forwarded-For": "127.0.0.9", "X-Forwarded-Proto": "wss", "Host": "shop.test"}
    answer = await gateway.nobody("GET", "/usual/x", headers=sent | {"Origin": "https://shop.test"})
    assert (answer.status, len(read)) == (200, 1)
    told = dict(gateways.service.seen[-1]["headers"])
    assert (told["X-Real-IP"], told["X-Forwarded-Proto"]) == ("127.0.0.9", "https")
    assert (
        await gateway.nobody("GET", "/usual/x", headers=sent | {"Origin": "https://other.test"})
    ).status == 403
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

    mounted = {"X-Script-Name": "/told", "Daphne-Root-Path": "/told"}
    assert await seen("/plain/a", "") == {}
    assert await seen("/told/a", "") == mounted
    server = {"X-Forwarded-Server": "edge"}
    assert await seen("/plain/a", "127.0.0.0/8") == server
    assert await seen("/told/a", "127.0.0.0/8") == mounted | server | {"X-Forwarded-Script-Name": "/told"}


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
