"""Methods beyond the usual: forwarded with their bodies, and under the same rules."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from prometheus_client import generate_latest

from gateway.context import OBSERVERS
from tests.middleware.rig import raw
from tests.support.gateway import Answer, Caller, Gateways, Running
from tests.support.raw_service import RawUpstream

ROUTES = """
routes:
  - {id: dav, uri: "%(service)s", predicates: ["Path=/open/dav/**", "Method=PROPFIND,MKCOL"], filters: [SetPath=/dav]}
  - {id: open, uri: "%(service)s", predicates: ["Path=/open/**"]}
  - {id: shop, uri: "%(service)s", predicates: ["Path=/shop/**"]}
access:
  public: ["/open/**"]
gates:
  - calls: ["/shop/all/**", "PROPFIND /shop/one/**", "POST /shop/post/**", "PUT /shop/put/**"]
  - {room: vip, calls: ["/shop/vip/**"]}
cors:
  cors-configurations:
    '[/open/dav/**]': {allowedOrigins: "https://a.example", allowedMethods: [GET, PROPFIND]}
    '[/open/any/**]': {allowedOrigins: "https://a.example", allowedMethods: "*"}
"""
NEW = [
    *(
        "PROPFIND",
        "PROPPATCH",
        "MKCOL",
        "COPY",
        "MOVE",
        "LOCK",
        "UNLOCK",
        "SEARCH",
        "PURGE",
        "REPORT",
        "QUERY",
    ),
    *("VERSION-CONTROL", "MKCALENDAR", "BAN", "FOO", "X", "DESCRIBE", "NOTIFY"),
]


@pytest.fixture
async def gateway(gateways: Gateways, service: RawUpstream) -> Running:
    gateways.service.url = service.url
    return await gateways.start(ROUTES)


@pytest.mark.parametrize("method", NEW)
async def test_a_method_is_forwarded_with_its_body(
    gateway: Running, service: RawUpstream, method: str
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"some"
        yield b"thing"

    for body in (None, b"something", pieces()):
        answer = await gateway.nobody(method, "/open/a", data=body)
        assert (answer.status, answer.body) == (200, f"{method} /open/a".encode())
        (seen,), faults = service.take()
        assert not faults
        assert (seen.method, seen.body) == (method, b"something" if body else b"")
        framed = seen.values("Content-Length") + seen.values("Transfer-Encoding")
        assert framed == (["0"] if body is None else ["9"] if isinstance(body, bytes) else ["chunked"])


@pytest.mark.parametrize("method", ["TRACE", "TRACK"])
async def test_what_gives_headers_away_is_refused(
    gateway: Running, service: RawUpstream, method: str
) -> None:
    status, answer = await raw(gateway, f"{method} /open/a".encode(), b"Cookie: a=secret")
    assert status == 405
    assert b"\r\nAllow: DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT\r\n" in answer
    assert b"secret" not in answer
    assert service.take() == ([], [])


@pytest.mark.parametrize("line", [b"CONNECT h:443", b"PRI /open/a", b"propfind /open/a", b"Foo /open/a"])
async def test_what_is_no_method_for_gateways_is_refused(
    gateway: Running, service: RawUpstream, line: bytes
) -> None:
    assert (await raw(gateway, line))[0] == 400
    assert service.take() == ([], [])


@pytest.mark.parametrize("method", ["PROPFIND", "FOO", "VERSION-CONTROL", "QUERY"])
async def test_rules_without_a_method_are_for_all_of_them(
    gateway: Running, service: RawUpstream, method: str
) -> None:
    assert (await gateway.nobody(method, "/shop/free")).status == 401
    user = gateway.user("a")
    assert (await user(method, "/shop/all/x")).code == "NOT_IN_QUEUE"
    assert service.take() == ([], [])
    await user.lineup()
    assert (await user(method, "/shop/all/x")).body == f"{method} /shop/all/x".encode()
    assert (await gateway.nobody(method, "/open/a")).body == f"{method} /open/a".encode()


@pytest.mark.parametrize("method", ["COPY", "MOVE"])
@pytest.mark.parametrize("origin", ["", "http://elsewhere", "HTTPS://user@h:1"])
async def test_a_destination_is_under_the_same_rules(
    gateway: Running, service: RawUpstream, method: str, origin: str
) -> None:
    async def asked(caller: Caller, path: str, destination: str) -> Answer:
        return await caller(method, path, headers={"Destination": origin + destination})

    user = gateway.user("a")
    for gated in ("/shop/all/x", "/SHOP/all/x.json", "/shop/all%20/x", "/shop/all"):
        assert (await asked(user, "/open/a", gated)).code == "NOT_IN_QUEUE"
        assert (await asked(user, "/shop/free", gated)).code == "NOT_IN_QUEUE"
    for closed in ("/shop/free", "/Open/a", ""):
        assert (await asked(gateway.nobody, "/open/a", closed)).status == 401
    for unsound in ("/open/../shop/all/x", "/shop%2fall", "/a b", "/a#b"):
        assert (await asked(user, "/open/a", unsound)).status == 400
    assert service.take() == ([], [])
    assert (await asked(gateway.nobody, "/open/a", "/open/b?c")).status == 200
    assert (await asked(user, "/open/a", "/shop/free")).status == 200
    await user.lineup()
    assert (await asked(user, "/open/a", "/shop/all/x")).status == 200
    (_, _, last), _ = service.take()
    assert last.values("Destination") == [origin + "/shop/all/x"]


async def test_a_destination_is_looked_at_in_each_call(gateway: Running, service: RawUpstream) -> None:
    assert (await gateway.nobody("COPY", "/open/a")).status == 200
    within = await gateway.nobody("COPY", "/open/a", headers={"Destination": "/open/http://h/b"})
    assert within.status == 400
    refused = await gateway.nobody("COPY", "/open/a", headers={"Destination": "/shop/free"})
    assert refused.status == 401
    twice = b"Destination: /open/b\r\nDestination: /shop/all/x"
    assert (await raw(gateway, b"COPY /open/a", twice))[0] == 400
    user = gateway.user("a")
    assert (await user("MOVE", "/open/a", headers={"Destination": "/shop/put/x"})).code == "NOT_IN_QUEUE"
    assert (await user("PATCH", "/open/a", headers={"Destination": "/shop/all/x"})).status == 200
    two_rooms = await user("MOVE", "/shop/all/x", headers={"Destination": "/shop/vip/x"})
    assert two_rooms.code == "BAD_REQUEST"
    assert len(service.take()[0]) == 2


async def test_rules_with_a_method_are_for_it_alone(gateway: Running) -> None:
    user = gateway.user("a")
    assert (await user("PROPFIND", "/shop/one/x")).code == "NOT_IN_QUEUE"
    assert (await user("REPORT", "/shop/one/x")).status == 200
    assert (await user("PROPFIND", "/shop/post/x")).status == 200
    assert (await gateway.nobody("PROPFIND", "/open/dav/x")).body == b"PROPFIND /dav"
    assert (await gateway.nobody("REPORT", "/open/dav/x")).body == b"REPORT /open/dav/x"


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/open/dav/x", "PROPFIND", 200),
        ("/open/dav/x", "REPORT", 403),
        ("/open/any/x", "REPORT", 200),
        ("/open/any/x", "FOO", 200),
    ],
)
async def test_preflights_know_them(gateway: Running, path: str, method: str, status: int) -> None:
    origin = {"Origin": "https://a.example", "Access-Control-Request-Method": method}
    answer = await gateway.nobody("OPTIONS", path, headers=origin)
    assert answer.status == status
    if status == 200:
        assert method in answer.headers["Access-Control-Allow-Methods"].split(",")
    answer = await gateway.nobody(method, path, headers={"Origin": "https://a.example"})
    assert (answer.status == 403) == (status == 403)


async def test_own_calls_have_their_own_methods(gateway: Running) -> None:
    for method in ("PROPFIND", "FOO"):
        answer = await gateway.user("a")(method, "/api/v1/queue/status")
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


async def test_methods_make_no_labels_without_end(gateway: Running) -> None:
    for number in range(50):
        await gateway.nobody(f"FOO{number}", "/open/a")
    page = generate_latest(gateway.app[OBSERVERS].metrics.registry).decode()
    lines = [line for line in page.splitlines() if 'method="' in line]
    assert any('method="OTHER"' in line and 'route="open"' in line for line in lines)
    assert not any("FOO" in line for line in lines)
