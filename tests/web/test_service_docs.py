"""Services' API descriptions on their way through a gateway, and a service that has none to give."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import socket
import zlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from gateway.errors import UpstreamUnreachable
from gateway.web import service_docs
from gateway.web.connections import Connection
from gateway.web.service_docs import MOST_AT_A_TIME, MOST_BYTES, Rewritten
from tests.harness import Gateways, Running, listening

INTERNAL = "http://10.1.2.3:8080"
DOCUMENT = {"openapi": "3.1.0", "servers": [{"url": INTERNAL}], "info": {}, "paths": {}}
TEXT = json.dumps(DOCUMENT).encode()

ROUTES = """
routes:
  - id: docs
    uri: lb://shop
    predicates: ["Path=/shop/v3/api-docs/**"]
    filters: [StripPrefix=1, "AddResponseHeader=X-Added, yes"]
  - {id: nobody, uri: "lb://nobody", predicates: ["Path=/nobody/v3/api-docs/**"], filters: [StripPrefix=1]}
  - {id: dead, uri: "http://127.0.0.1:1", predicates: ["Path=/dead/v3/api-docs/**"], filters: [StripPrefix=1]}
  - {id: unchanged, uri: "lb://shop", predicates: ["Path=/plain/v3/api-docs/**"]}
  - {id: hidden, uri: "lb://shop", predicates: ["Path=/hidden"], filters: ["SetPath=/v3/api-docs"]}
  - {id: impatient, uri: "lb://shop", predicates: ["Path=/impatient/v3/api-docs/**"], metadata: {response-timeout: 200}}
services:
  shop: ["%(service)s"]
access:
  public: ["GET /hidden", "/shop/v3/api-docs/**"]
"""


@dataclass
class Shop:
    """A service that answers everything with ``body``."""

    body: bytes = TEXT
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    asked: list[web.BaseRequest] = field(default_factory=list)
    halt: asyncio.Event | None = None
    """If set, only the first byte of the body is sent until it happens."""

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request)
        if self.halt is None:
            return web.Response(body=self.body, status=self.status, headers=self.headers)
        response = web.StreamResponse(status=self.status, headers=self.headers)
        await response.prepare(request)
        await response.write(self.body[:1])
        await self.halt.wait()
        return response


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
async def gateways(gateways: Gateways, shop: Shop) -> AsyncIterator[Gateways]:
    runner = web.ServerRunner(web.Server(shop.answer, access_log=None), shutdown_timeout=1.0)
    async with listening(runner) as gateways.service.url:
        yield gateways


@pytest.mark.parametrize(
    "path",
    [
        "/shop/v3/api-docs",
        "/shop/v3/api-docs/group",
        "/plain/v3/api-docs",
        "/hidden",
        "/shop/v3/api-docs?x=1",
    ],
)
async def test_a_document_tells_no_internal_address(gateways: Gateways, path: str) -> None:
    gateway = await gateways.start(ROUTES)
    # Twice: what was found out about the first call must not lead the second one past it.
    for _ in range(2):
        answer = await gateway.nobody("GET", path)
        assert answer.status == 200
        assert answer.json == DOCUMENT | {"servers": [{"url": "/"}]}


async def test_headers_are_kept_but_for_those_of_the_old_body(gateways: Gateways, shop: Shop) -> None:
    gateway = await gateways.start(ROUTES)
    shop.headers |= {"ETag": '"x"', "Last-Modified": "x", "Accept-Ranges": "bytes", "X-Kept": "yes"}
    answer = await gateway.nobody("GET", "/shop/v3/api-docs")
    assert (answer.headers["X-Kept"], answer.headers["X-Added"]) == ("yes", "yes")
    assert not {"ETag", "Last-Modified", "Accept-Ranges"} & set(answer.headers)
    assert answer.headers["Content-Length"] == str(len(answer.body))


async def test_it_is_asked_for_whole_as_it_is_now_and_in_no_coding(gateways: Gateways, shop: Shop) -> None:
    gateway = await gateways.start(ROUTES)
    conditions = {
        "Range": "bytes=0-9",
        "If-None-Match": "*",
        "If-Modified-Since": "x",
        "Accept-Encoding": "br",
    }
    await gateway.nobody("GET", "/shop/v3/api-docs", headers=conditions | {"X-Mine": "yes"})
    headers = shop.asked[0].headers
    assert (headers["X-Mine"], headers.getall("Accept-Encoding")) == ("yes", ["identity"])
    assert not {"Range", "If-None-Match", "If-Modified-Since"} & set(headers)


@pytest.mark.parametrize(
    ("coding", "body"),
    [("gzip", gzip.compress(TEXT, mtime=0)), ("deflate", zlib.compress(TEXT)), ("identity", TEXT)],
)
async def test_codings_that_were_not_asked_for_are_understood(
    gateways: Gateways, shop: Shop, coding: str, body: bytes
) -> None:
    gateway = await gateways.start(ROUTES)
    shop.headers["Content-Encoding"] = coding
    shop.body = body
    answer = await gateway.nobody("GET", "/shop/v3/api-docs")
    assert answer.json["servers"] == [{"url": "/"}]
    assert "Content-Encoding" not in answer.headers


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("br", TEXT),
        ("gzip", b"no gzip"),
        ("gzip", gzip.compress(TEXT, mtime=0)[:-9]),
        ("gzip", gzip.compress(b" " * (MOST_BYTES + 1), mtime=0)),
        ("gzip, gzip", gzip.compress(gzip.compress(TEXT, mtime=0), mtime=0)),
        ("", TEXT + b" " * MOST_BYTES),
        ("", TEXT[:-1]),
        ("", b""),
    ],
)
async def test_what_cannot_be_read_is_not_passed_on(
    gateways: Gateways, shop: Shop, coding: str, body: bytes
) -> None:
    gateway = await gateways.start(ROUTES)
    if coding:
        shop.headers["Content-Encoding"] = coding
    shop.body = body
    answer = await gateway.nobody("GET", "/shop/v3/api-docs")
    assert (answer.status, answer.code) == (502, "UPSTREAM_UNREACHABLE")
    assert b"10.1.2.3" not in answer.body


@pytest.mark.parametrize(
    ("status", "media_type", "body"),
    [
        (200, "text/html", b"<p>http://10.1.2.3</p>"),
        (200, "application/vnd.oai.openapi", b"openapi: 3.1.0"),
        (200, "application/json", b'{"urls" : []}'),
        (404, "application/json", b'{"status" : 404}'),
        (304, "application/json", b""),
    ],
)
async def test_everything_else_passes_as_it_is(
    gateways: Gateways, shop: Shop, status: int, media_type: str, body: bytes
) -> None:
    gateway = await gateways.start(ROUTES)
    shop.status, shop.body, shop.headers = status, body, {"Content-Type": media_type}
    answer = await gateway.nobody("GET", "/shop/v3/api-docs")
    assert (answer.status, answer.body) == (status, body)


async def test_other_methods_are_forwarded_as_ever(gateways: Gateways, shop: Shop) -> None:
    gateway = await gateways.start(ROUTES)
    answer = await gateway.nobody("POST", "/shop/v3/api-docs")
    assert answer.body == TEXT


async def test_a_document_that_does_not_come_to_its_end_is_given_up(gateways: Gateways, shop: Shop) -> None:
    gateway = await gateways.start(ROUTES)
    shop.halt = asyncio.Event()
    answer = await gateway.nobody("GET", "/impatient/v3/api-docs")
    assert (answer.status, answer.code) == (504, "UPSTREAM_TIMEOUT")
    shop.halt.set()


async def test_few_documents_of_a_route_are_in_memory_at_a_time(gateways: Gateways, shop: Shop) -> None:
    gateway = await gateways.start(ROUTES)
    shop.halt = asyncio.Event()
    answers = await asyncio.gather(*(gateway.nobody("GET", "/impatient/v3/api-docs") for _ in range(30)))
    codes = Counter((answer.status, answer.code) for answer in answers)
    # A few that come late may take the turns of those whose time is over.
    assert set(codes) == {(504, "UPSTREAM_TIMEOUT"), (503, "OVERLOADED")}
    assert codes[504, "UPSTREAM_TIMEOUT"] >= MOST_AT_A_TIME
    assert all("Retry-After" in answer.headers for answer in answers if answer.status == 503)
    shop.halt.set()
    shop.halt = None
    several = await asyncio.gather(*(gateway.nobody("GET", "/shop/v3/api-docs") for _ in range(30)))
    assert {answer.status for answer in several} == {200}


async def test_a_service_that_is_away_is_counted(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    await gateway.nobody("GET", "/dead/v3/api-docs")
    registry = gateway.gateway.context.metrics.registry
    labels = {"route": "dead", "code": "UPSTREAM_UNREACHABLE"}
    assert registry.get_sample_value("gateway_upstream_errors_total", labels) == 1


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/nobody/v3/api-docs", 503, "NO_INSTANCE"),
        ("/dead/v3/api-docs", 502, "UPSTREAM_UNREACHABLE"),
    ],
)
async def test_a_service_that_is_away_is_told_to_programs_by_its_status(
    gateways: Gateways, path: str, status: int, code: str
) -> None:
    gateway = await gateways.start(ROUTES)
    answer = await gateway.nobody("GET", path)
    assert (answer.status, answer.code) == (status, code)


async def test_who_does_not_read_a_document_costs_no_copy_of_it(gateways: Gateways, shop: Shop) -> None:
    gateway = await gateways.start(ROUTES)
    shop.body = json.dumps(DOCUMENT | {"info": {"description": "x" * 1_500_000}}).encode()
    for path in ("/shop/v3/api-docs", "/swagger-ui/swagger-ui-bundle.js"):
        assert await waiting_for_one_who_reads_nothing(gateway, path) < 256 * 1024


async def waiting_for_one_who_reads_nothing(gateway: Running, path: str) -> int:
    """How many bytes wait in this process for such a client, who asks for more than sockets hold."""
    host, port = gateway.base.removeprefix("http://").split(":")
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await loop.sock_connect(client, (host, int(port)))
        await loop.sock_sendall(client, f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode() * 8)
        (place,) = [client.getsockname()]
        assert await loop.sock_recv(client, 12) == b"HTTP/1.1 200"
        connections = [each for each in gc.get_objects() if isinstance(each, Connection)]
        transports = [each.transport for each in connections if each.transport]
        (own,) = [each for each in transports if each.get_extra_info("peername") == place]
        most = 0
        for _ in range(50):  # there is no event for nothing happening any more
            await asyncio.sleep(0.02)
            most = max(most, own.get_write_buffer_size())
        return most


async def test_the_connection_serves_again(gateways: Gateways, shop: Shop) -> None:
    gateway = await gateways.start(ROUTES)
    for _ in range(3):
        await gateway.nobody("GET", "/shop/v3/api-docs")
    assert len({request.transport for request in shop.asked}) == 1


async def test_documents_are_read_once_and_kept_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []

    def led_here(body: bytes, path: str) -> bytes:
        read.append(body)
        return body * 10

    monkeypatch.setattr(service_docs, "led_here", led_here)
    monkeypatch.setattr(service_docs, "_MOST_KEPT_BYTES", 100)
    rewrite = Rewritten().rewrite
    for body in (b"first", b"first", b"other", b"first"):
        assert await rewrite("/v3/api-docs", body) == body * 10
    assert read == [b"first", b"other"]
    await rewrite("/v3/api-docs", b"third")
    assert await rewrite("/v3/api-docs", b"first") == b"first" * 10
    assert read == [b"first", b"other", b"third", b"first"]
    await rewrite("/v3/api-docs/group", b"first")
    assert len(read) == 5
    assert await rewrite("/v3/api-docs", b"longer than all") == b"longer than all" * 10
    several = await asyncio.gather(*(rewrite("/v3/api-docs", b"at once") for _ in range(5)))
    assert several == [b"at once" * 10] * 5
    assert len(read) == 7


async def test_no_json_is_the_services_fault() -> None:
    with pytest.raises(UpstreamUnreachable):
        await Rewritten().rewrite("/v3/api-docs", b"{")
