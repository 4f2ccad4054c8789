"""Queries are opaque, unless a rule of this very call needs a parameter; then they are read strictly."""

from __future__ import annotations

import pytest

from tests.middleware.rig import raw
from tests.support.gateway import Gateways, Running
from tests.support.raw_service import RawUpstream

ROUTES = """
routes:
  - {id: beta, uri: "%(service)s", predicates: ["Path=/shop/**", "Query=beta, 1"], filters: [SetPath=/beta]}
  - {id: early, uri: "%(service)s", predicates: ["Query=x", "Path=/early/**"]}
  - {id: shop, uri: "%(service)s", predicates: ["Path=/shop/**"]}
  - {id: plain, uri: "%(service)s", predicates: ["Path=/plain/**"]}
  - {id: added, uri: "%(service)s", predicates: ["Path=/added"], filters: ["AddRequestParameter=red, blue"]}
  - {id: removed, uri: "%(service)s", predicates: ["Path=/removed"], filters: [RemoveRequestParameter=red]}
  - {id: written, uri: "%(service)s", predicates: ["Path=/written"], filters: ["RewriteRequestParameter=red, blue"]}
  - {id: prefix, uri: "%(service)s", predicates: ["Path=/prefix/**"], filters: [StripPrefix=1]}
  - {id: moved, uri: "no://op", predicates: ["Path=/moved"], filters: ["RedirectTo=302, /new, true"]}
gates: []
access:
  public: ["/**"]
"""
ODD = ["a={}|^[]\\`\"<>'", "a=%", "%zz&b=%4", "a=%0D%0A%00", "a=%E9", "", "&&", "a=b?c", "=", "a;b"]
MALFORMED = ["a=%", "%zz", "beta=1&x=%4", "red=%E9", "%=1"]


def targets(service: RawUpstream) -> list[bytes]:
    """What the service was asked for since the last time."""
    seen, faults = service.take()
    assert not faults
    return [one.target.encode("latin-1") for one in seen]


@pytest.fixture
async def gateway(gateways: Gateways, service: RawUpstream) -> Running:
    gateways.service.url = service.url
    return await gateways.start(ROUTES)


async def test_a_query_that_no_rule_needs_goes_on_as_it_came(gateway: Running, service: RawUpstream) -> None:
    for query in [*ODD, *MALFORMED, "a=\xe9\xff", "é예"]:
        encoded = query.encode("latin-1") if query.isascii() or "\xff" in query else query.encode()
        for path in (b"/plain/a", b"/prefix/plain/a"):
            assert (await raw(gateway, b"GET %b?%b" % (path, encoded)))[0] == 200, query
            assert targets(service) == [b"/plain/a?" + encoded]
    assert (await raw(gateway, b"GET /plain/a"))[0] == 200
    assert targets(service) == [b"/plain/a"]


@pytest.mark.parametrize("path", ["/shop/a", "/early/a", "/added", "/removed", "/written"])
async def test_a_malformed_query_is_refused_where_a_rule_needs_it(
    gateway: Running, service: RawUpstream, path: str
) -> None:
    for query in MALFORMED:
        status, answer = await raw(gateway, f"GET {path}?{query}".encode())
        assert status == 400, query
        assert b'"reason":"the query ' in answer
        assert query.encode() not in answer.partition(b"\r\n\r\n")[2]
    assert targets(service) == []


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        ("/shop/a?beta=1&x={|}", "/beta?beta=1&x={|}"),
        ("/shop/a?b%65ta=%31&x='\"", "/beta?b%65ta=%31&x='\""),
        ("/shop/a?x=%0D%0A", "/shop/a?x=%0D%0A"),
        ("/shop/a?", "/shop/a?"),
        ("/removed?red=1&x={|}", "/removed?x={|}"),
        ("/removed?red=1", "/removed"),
        ("/removed?", "/removed?"),
        ("/written?x=[^]&red=1", "/written?x=[^]&red=blue"),
        ("/added?x=`", "/added?x=`&red=blue"),
        ("/added?", "/added?red=blue"),
    ],
)
async def test_a_sound_query_means_what_it_says_and_the_rest_of_it_stays(
    gateway: Running, service: RawUpstream, target: str, seen: str
) -> None:
    assert (await raw(gateway, b"GET " + target.encode()))[0] == 200
    assert targets(service) == [seen.encode()]


async def test_a_redirect_with_the_query_is_an_address(gateway: Running) -> None:
    status, answer = await raw(gateway, b'GET /moved?a=1&b=%zz&c="<\xe9\xff')
    assert status == 302
    assert b"\r\nLocation: /new?a=1&b=%zz&c=%22%3C%E9%FF\r\n" in answer


@pytest.mark.parametrize("query", ["room=%zz", "x=%", "room=default&x=%E9"])
async def test_the_waiting_room_refuses_a_malformed_query(gateway: Running, query: str) -> None:
    token = b"Authorization: Bearer " + (gateway.user("a").token or "").encode()
    for line in ("POST /api/v1/queue/lineup", "GET /api/v1/queue/status", "GET /api/v1/queue/stream"):
        status, answer = await raw(gateway, f"{line}?{query}".encode(), token)
        assert (status, b"BAD_REQUEST" in answer) == (400, True), line
    # Also before anybody is known, where the token itself may be in it.
    assert (await raw(gateway, b"GET /api/v1/queue/stream?" + query.encode()))[0] == 400


async def test_the_waiting_room_reads_a_sound_query(gateway: Running) -> None:
    token = b"Authorization: Bearer " + (gateway.user("a").token or "").encode()
    for query in (b"room=default&utm={|}", b"ro%6Fm=d%65fault", b"utm_source=a|b", b"", b"x=%0D"):
        status, answer = await raw(gateway, b"POST /api/v1/queue/lineup?" + query, token)
        assert (status, b'"ALLOWED_IN"' in answer) == (200, True), query
    assert (await raw(gateway, b"POST /api/v1/queue/lineup?room=default&room=default", token))[0] == 400


async def test_operators_ids_are_read_strictly(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES, management_token="a-management-token")
    token = b"Authorization: Bearer a-management-token"
    for query, status in ((b"id=%zz", 400), (b"id=a&id=b", 400), (b"id=%EC%98%88", 404), (b"id={a|b}", 404)):
        assert (await raw(gateway, b"DELETE /actuator/rooms/default/users?" + query, token))[0] == status
