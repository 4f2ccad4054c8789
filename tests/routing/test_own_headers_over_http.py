"""What a route's filters say of headers that the gateway writes itself, as the service gets it."""

from __future__ import annotations

import pytest

from tests.support.gateway import Gateways

ROUTES = """
routes:
  - id: set
    uri: "%(service)s"
    predicates: ["Path=/set/**"]
    filters:
      - StripPrefix=1
      - SetRequestHeader=X-Forwarded-For, 192.0.2.7
      - SetRequestHeader=X-Forwarded-Proto, https
      - AddRequestHeader=X-Forwarded-Host, shop.example
      - SetRequestHeader=X-Forwarded-Port, 8443
      - AddRequestHeader=X-Forwarded-Prefix, /set
      - SetRequestHeader=X-Real-IP, 192.0.2.8
      - SetRequestHeader=Forwarded, for=_hidden
      - SetRequestHeader=X-Forwarded-Ssl, on
  - id: missing
    uri: "%(service)s"
    predicates: ["Path=/missing/**"]
    filters: ["AddRequestHeadersIfNotPresent=X-Forwarded-Prefix:/m,X-Forwarded-Proto:gopher,X-Real-IP:192.0.2.9"]
  - id: taken
    uri: "%(service)s"
    predicates: ["Path=/taken/**"]
    filters:
      - AddRequestHeader=X-Forwarded-Prefix, /a
      - AddRequestHeader=X-Forwarded-Prefix, /b
      - RemoveRequestHeader=X-Forwarded-Prefix
      - MapRequestHeader=X-Mine, X-Real-IP
      - MapRequestHeader=X-Mine, X-Forwarded-Prefix
      - MapRequestHeader=X-Mine, X_Forwarded_For
  - id: refused
    uri: "%(service)s"
    predicates: ["Path=/refused/**"]
    filters:
      - SetRequestHeader=X-User-Id, admin
      - SetRequestHeader=Proxy-Authorization, Basic x
      - SetRequestHeader=Expect, 100-continue
      - SetRequestHeader=traceparent, x
      - SetRequestHeader=Proxy, x
      - SetRequestHeader=X-HTTP-Method-Override, DELETE
      - SetResponseHeader=X-Trace-Id, mine
      - SetResponseHeader=Proxy-Authenticate, Basic
access:
  public: ["/set/**", "/missing/**", "/taken/**", "/refused/**"]
"""
CLAIMS = {
    "X-Forwarded-For": "203.0.113.1",
    "X-Forwarded-Proto": "wss",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "1",
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-Ssl": "evil",
    "X_Forwarded_Prefix": "/evil",
    "X_Real_IP": "203.0.113.2",
    "X-Real-IP": "203.0.113.2",
    "Forwarded": "for=203.0.113.3;host=evil.example",
    "X-Mine": "evil",
    "Connection": "X-Forwarded-Prefix, X-Real-IP, X-Forwarded-Ssl",
}
SAID = {
    "x-forwarded-for": ["192.0.2.7"],
    "x-forwarded-proto": ["https"],
    "x-forwarded-host": ["shop.example"],
    "x-forwarded-port": ["8443"],
    "x-forwarded-prefix": ["/set"],
    "x-forwarded-ssl": ["on"],
    "x-real-ip": ["192.0.2.8"],
    "forwarded": ["for=_hidden"],
}


async def seen(
    gateways: Gateways, path: str, sent: dict[str, str], trusted: str = ""
) -> dict[str, list[str]]:
    """What the service is told about the client, by names in lower case with ``-``."""
    gateway = await gateways.start(ROUTES, trusted_proxies=trusted)
    assert (await gateway.nobody("GET", path, headers=sent)).status == 200
    found: dict[str, list[str]] = {}
    for name, value in gateways.service.seen[-1]["headers"]:
        found.setdefault(name.lower().replace("_", "-"), []).append(value)
    return {name: values for name, values in found.items() if "forwarded" in name or name == "x-real-ip"}


@pytest.mark.parametrize("sent", [{}, CLAIMS], ids=["plain", "claims"])
async def test_what_a_route_says_of_the_client_counts_and_nothing_that_the_client_says(
    gateways: Gateways, sent: dict[str, str]
) -> None:
    assert await seen(gateways, "/set/a", sent) == SAID


async def test_behind_a_trusted_proxy_the_route_counts_as_well(gateways: Gateways) -> None:
    sent = {"X-Forwarded-For": "203.0.113.1", "X-Forwarded-Proto": "http", "X-Forwarded-Ssl": "off"}
    # The prefix is put together of what the route says and what it takes off, as before.
    told = SAID | {"x-forwarded-prefix": ["/set,/set"]}
    assert await seen(gateways, "/set/a", sent, trusted="127.0.0.0/8") == told


@pytest.mark.parametrize("sent", [{}, CLAIMS], ids=["plain", "claims"])
async def test_if_not_present_is_judged_by_what_the_service_would_get(
    gateways: Gateways, sent: dict[str, str]
) -> None:
    found = await seen(gateways, "/missing/a", sent)
    assert found["x-forwarded-prefix"] == ["/m"]
    assert (found["x-forwarded-proto"], found["x-real-ip"]) == (["http"], ["127.0.0.1"])
    behind = await seen(gateways, "/missing/a", {"X-Forwarded-Prefix": "/outer"}, trusted="127.0.0.0/8")
    assert behind["x-forwarded-prefix"] == ["/outer"]


@pytest.mark.parametrize("trusted", ["", "127.0.0.0/8"])
async def test_a_client_s_header_is_not_made_one_of_the_gateway_s(gateways: Gateways, trusted: str) -> None:
    found = await seen(gateways, "/taken/a", {"X-Mine": "evil"}, trusted)
    assert found["x-real-ip"] == ["127.0.0.1"]
    assert found["x-forwarded-for"] == ["127.0.0.1"]
    assert "x-forwarded-prefix" not in found


async def test_what_is_no_route_s_to_say_is_not_said(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    answer = await gateway.nobody("GET", "/refused/a")
    assert answer.status == 200
    assert answer.headers["X-Trace-Id"] != "mine"
    assert "Proxy-Authenticate" not in answer.headers
    headers = {name.lower(): value for name, value in gateways.service.seen[-1]["headers"]}
    assert not {"x-user-id", "proxy-authorization", "expect", "proxy", "x-http-method-override"} & set(
        headers
    )
    assert headers["traceparent"] != "x"
