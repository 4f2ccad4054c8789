"""Services' API descriptions on their way through a gateway, and a service that has none to give."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import socket
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Generator
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from gateway.api import service_docs
from gateway.api.service_docs import MAX_BYTES, MAX_CONCURRENT_PER_ROUTE, RewrittenDocuments
from gateway.context import OBSERVERS
from gateway.errors import UpstreamUnreachable
from gateway.server.connection import Guard
from tests.support.effort import TRIES
from tests.support.gateway import Gateways, Running
from tests.support.listening import listening

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
  public: ["GET /hidden", "/shop/v3/api-docs/**", "GET /{service}/v3/api-docs/**"]
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
        await response.write(self.body[1:])
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


@pytest.mark.parametrize("status", [204, 205, 304])
async def test_a_document_under_a_status_without_a_body_is_none(gateways: Gateways, status: int) -> None:
    gateway = await gateways.start(ROUTES.replace('StripPrefix=1, "Add', f'SetStatus={status}, "Add'))
    # Twice on one connection: bytes left over would be the beginning of the second answer.
    for _ in range(2):
        answer = await gateway.nobody("GET", "/shop/v3/api-docs")
        assert (answer.status, answer.body) == (status, b"")
        assert answer.headers.get("Content-Length", "0") == "0"


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
        ("gzip", gzip.compress(b" " * (MAX_BYTES + 1), mtime=0)),
        ("gzip, gzip", gzip.compress(gzip.compress(TEXT, mtime=0), mtime=0)),
        ("", TEXT + b" " * MAX_BYTES),
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
    answers = await asyncio.gather(
        *(gateway.nobody("GET", "/impatient/v3/api-docs", headers={"X-N": str(n)}) for n in range(30))
    )
    codes = Counter((answer.status, answer.code) for answer in answers)
    # A few that come late may take the turns of those whose time is over.
    assert set(codes) == {(504, "UPSTREAM_TIMEOUT"), (503, "OVERLOADED")}
    assert codes[504, "UPSTREAM_TIMEOUT"] >= MAX_CONCURRENT_PER_ROUTE
    assert all("Retry-After" in answer.headers for answer in answers if answer.status == 503)
    shop.halt.set()
    shop.halt = None
    several = await asyncio.gather(*(gateway.nobody("GET", "/shop/v3/api-docs") for _ in range(30)))
    assert {answer.status for answer in several} == {200}


async def asked(shop: Shop) -> None:
    async with asyncio.timeout(10):
        while not shop.asked:
            await asyncio.sleep(0.01)


async def test_equal_calls_at_the_same_time_share_one_call(gateways: Gateways, shop: Shop) -> None:
    gateway = await gateways.start(ROUTES)
    shop.halt = asyncio.Event()
    shop.headers["Set-Cookie"] = "session=1"
    calls = [asyncio.ensure_future(gateway.nobody("GET", "/shop/v3/api-docs")) for _ in range(30)]
    await asked(shop)
    await asyncio.sleep(0.1)
    shop.halt.set()
    answers = await asyncio.gather(*calls)
    assert {answer.status for answer in answers} == {200}
    assert {answer.body for answer in answers} == {answers[0].body}
    assert INTERNAL.encode() not in answers[0].body
    assert len({answer.headers["X-Trace-Id"] for answer in answers}) == 30
    assert sum("Set-Cookie" in answer.headers for answer in answers) == 1
    assert len(shop.asked) == 1


async def test_callers_that_may_see_different_things_share_nothing(gateways: Gateways, shop: Shop) -> None:
    gateway = await gateways.start(ROUTES)
    shop.halt = asyncio.Event()
    calls = [
        asyncio.ensure_future(call("GET", "/shop/v3/api-docs", headers=headers))
        for call in (gateway.nobody, gateway.user("a"), gateway.user("b"))
        for headers in ({}, {"Cookie": "a=1"}, {"Accept-Language": "ko"})
    ]
    async with asyncio.timeout(10):
        # As many as may be in memory at a time have asked, and the others are on their way.
        while len(shop.asked) < 9:
            await asyncio.sleep(0.01)
    shop.halt.set()
    assert {answer.status for answer in await asyncio.gather(*calls)} == {200}
    assert len(shop.asked) == 9


async def test_when_the_first_caller_goes_another_one_asks(gateways: Gateways, shop: Shop) -> None:
    gateway = await gateways.start(ROUTES)
    shop.halt = asyncio.Event()
    first = asyncio.ensure_future(gateway.nobody("GET", "/shop/v3/api-docs"))
    await asked(shop)
    others = [asyncio.ensure_future(gateway.nobody("GET", "/shop/v3/api-docs")) for _ in range(5)]
    await asyncio.sleep(0.1)
    first.cancel()
    async with asyncio.timeout(10):
        while len(shop.asked) < 2:
            await asyncio.sleep(0.01)
    shop.halt.set()
    assert {answer.status for answer in await asyncio.gather(*others)} == {200}
    assert len(shop.asked) == 2


@pytest.mark.parametrize(
    ("body", "headers", "status"), [(b"{", {}, 502), (b"a: 1", {"Content-Type": "text/yaml"}, 200)]
)
async def test_what_is_no_document_is_the_same_for_all(
    gateways: Gateways, shop: Shop, body: bytes, headers: dict[str, str], status: int
) -> None:
    gateway = await gateways.start(ROUTES)
    shop.body = body
    shop.headers |= headers
    shop.halt = asyncio.Event()
    calls = [asyncio.ensure_future(gateway.nobody("GET", "/shop/v3/api-docs")) for _ in range(5)]
    await asked(shop)
    await asyncio.sleep(0.1)
    shop.halt.set()
    answers = await asyncio.gather(*calls)
    assert {answer.status for answer in answers} == {status}
    if status == 200:
        assert {answer.body for answer in answers} == {body}
    else:
        assert len(shop.asked) == 1


async def test_a_page_of_another_origin_is_told_once_what_it_may_read(gateways: Gateways, shop: Shop) -> None:
    rule = "{allowedOrigins: ['https://shop.example'], allowedMethods: [GET]}"
    cors = f"cors: {{cors-configurations: {{'[/**]': {rule}}}}}\n"
    gateway = await gateways.start(ROUTES + cors)
    async with gateway.session.get(
        gateway.base + "/shop/v3/api-docs", headers={"Origin": "https://shop.example"}
    ) as response:
        assert response.headers.getall("Access-Control-Allow-Origin") == ["https://shop.example"]


async def test_large_documents_hold_up_nothing_else(gateways: Gateways, shop: Shop) -> None:
    """In processor time, since the machine may be busy with other things: also a thread that reads JSON in one go
    would keep the loop from running."""
    gateway = await gateways.start(ROUTES)
    paths = {"/": {"servers": [{"url": INTERNAL}]}}
    document = DOCUMENT | {"paths": paths, "x-values": [{"a": 1, "b": []}] * 90_000}
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        last = time.process_time()
        while True:
            await asyncio.sleep(0)
            now = time.process_time()
            longest, last = max(longest, now - last), now

    # The garbage collector and other threads of the test only ever add to one of the tries.
    for attempt in range(TRIES):
        longest = 0.0
        # Another one, since the gateway remembers them.
        shop.body = json.dumps(document | {"x-attempt": attempt}).encode()
        assert 1_000_000 < len(shop.body) < MAX_BYTES
        gc.collect()
        watching = asyncio.create_task(watch())
        try:
            answers = await asyncio.gather(
                *(gateway.nobody("GET", f"/shop/v3/api-docs?n={n % 2}") for n in range(20))
            )
        finally:
            watching.cancel()
        assert {answer.status for answer in answers} == {200}
        assert INTERNAL.encode() not in answers[0].body
        if longest < 0.05:
            break
    assert longest < 0.05


async def test_a_service_that_is_away_is_counted(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    await gateway.nobody("GET", "/dead/v3/api-docs")
    registry = gateway.app[OBSERVERS].metrics.registry
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


async def test_a_client_that_does_not_read_a_document_costs_no_copy_of_it(
    gateways: Gateways, shop: Shop
) -> None:
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
        connections = [each for each in gc.get_objects() if isinstance(each, Guard)]
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

    def leading(body: bytes, path: str) -> Generator[None, None, bytes]:
        read.append(body)
        yield
        return body * 10

    monkeypatch.setattr(service_docs, "rewritten_document", leading)
    monkeypatch.setattr(service_docs, "_MAX_CACHE_BYTES", 100)
    rewrite = RewrittenDocuments().rewrite
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


async def test_documents_of_a_few_bytes_are_kept_within_a_bound_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_docs, "_MAX_CACHED_DOCUMENTS", 2)
    documents = RewrittenDocuments()
    for number in range(5):
        assert await documents.rewrite(f"/v3/api-docs/{number}", b"[]") == b"[]"
    assert len(documents._documents) == 2


async def test_no_json_is_the_services_fault() -> None:
    with pytest.raises(UpstreamUnreachable):
        await RewrittenDocuments().rewrite("/v3/api-docs", b"{")


@pytest.mark.parametrize("value", [b"a\x01b", b"\x0ba", b"a\x7f"])
async def test_a_control_character_in_a_documents_headers_is_an_answer_that_is_none(
    gateways: Gateways, value: bytes
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Odd: %b\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % (value, len(TEXT)) + TEXT)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        gateways.service.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        gateway = await gateways.start(ROUTES)
        assert (await gateway.nobody("GET", "/shop/v3/api-docs")).status == 502
