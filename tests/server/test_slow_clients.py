"""A whole gateway and clients that send slowly: what they get, and that others do not notice."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from gateway.context import DOWNLOADS, UPLOADS
from gateway.proxy import downloads as downloading
from gateway.proxy import uploads as uploading
from tests.support.gateway import Gateways, Running
from tests.support.raw_http import SECONDS, Answer, Client, connected, request
from tests.support.waiting import eventually

ROUTES = """
routes:
  - {id: open, uri: "SERVICE", predicates: ["Path=/open/**"]}
access:
  public: ["/open/**"]
"""
LIMITED = """
services: {s: {instances: ["SERVICE"], max-connections: 4, max-waiting: 4}}
routes:
  - {id: open, uri: "lb://S", predicates: ["Path=/open/**"], metadata: {connect-timeout: 4000}}
access:
  public: ["/open/**"]
"""
THREADS = 4
BIG = b"x" * (24 << 20)
"""More than the systems of a service, the gateway and a client hold between them."""
SHORT: dict[str, object] = {
    "request_body_timeout_seconds": 0.5,
    "request_head_timeout_seconds": 0.5,
    "management_token": "m",
    "config_server_webhook_secret": "w",
}


class FewThreads(HTTPServer):
    """A service with four threads, each of which a connection holds until its request is done."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pool = ThreadPoolExecutor(THREADS)
        self.accepted = 0

    def process_request(self, request: Any, client_address: Any) -> None:
        self.accepted += 1
        self.pool.submit(self.serve, request, client_address)

    def serve(self, sock: socket.socket, address: Any) -> None:
        try:
            self.finish_request(sock, address)
        except OSError:
            pass
        finally:
            self.shutdown_request(sock)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def do_POST(self) -> None:
        left = int(self.headers.get("Content-Length", "0"))
        while left and (data := self.rfile.read(min(left, 65536))):
            left -= len(data)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def do_GET(self) -> None:
        if not self.path.startswith("/open/big"):
            self.do_POST()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(BIG)))
        self.end_headers()
        self.wfile.write(BIG)

    def log_message(self, *_: Any) -> None: ...


@asynccontextmanager
async def few_threads() -> AsyncIterator[FewThreads]:
    server = FewThreads()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        # Elsewhere, since the gateway lives in this loop and ends what the threads wait for.
        await asyncio.to_thread(server.shutdown)
        await asyncio.to_thread(thread.join)
        server.server_close()
        await asyncio.to_thread(server.pool.shutdown)


async def ended(client: Client) -> Answer:
    """The answer, which must be the last one of its connection."""
    answer = await client.answer()
    assert answer.all("Connection") == ["close"]
    assert await client.rest() == b""
    return answer


@pytest.mark.parametrize("framing", ["Transfer-Encoding: chunked", "Content-Length: 70000"])
async def test_a_service_with_few_threads_serves_on_beside_bodies_that_stop(
    gateways: Gateways, framing: str
) -> None:
    async with few_threads() as service:
        gateway = await gateways.start(ROUTES.replace("SERVICE", f"http://127.0.0.1:{service.server_port}"))
        async with AsyncExitStack() as stack:
            for _ in range(2 * THREADS):
                client = await stack.enter_async_context(connected(gateway.base))
                client.send(request("POST", "/open/x", framing) + b"3\r\nabc\r\n")
            for _ in range(3):
                assert (await gateway.nobody("GET", "/open/y")).status == 200
            assert service.accepted == 3


async def test_a_service_with_few_threads_is_free_again_of_bodies_that_stop_later(gateways: Gateways) -> None:
    async with few_threads() as service:
        routes = ROUTES.replace("SERVICE", f"http://127.0.0.1:{service.server_port}")
        gateway = await gateways.start(routes, slow_uploads_per_service=THREADS - 1)
        async with AsyncExitStack() as stack:
            for _ in range(2 * THREADS):
                client = await stack.enter_async_context(connected(gateway.base))
                client.send(request("POST", "/open/x", "Content-Length: 700000") + b"a" * 70_000)
            async with asyncio.timeout(SECONDS):
                assert (await gateway.nobody("GET", "/open/y")).status == 200
            assert sum(gateway.app[UPLOADS].by_service.values()) == THREADS - 1


@asynccontextmanager
async def deaf_client_of(gateway: Running, path: str) -> AsyncIterator[socket.socket]:
    """Asks for something and takes hardly anything of it."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", int(gateway.base.rpartition(":")[2])))
        await loop.sock_sendall(sock, request("GET", path))
        yield sock


async def test_slow_bodies_of_one_client_leave_most_connections_of_a_limited_service(
    gateways: Gateways,
) -> None:
    """A client has more slow uploads than the service has connections, and the bounds are the usual ones."""
    async with few_threads() as service:
        routes = LIMITED.replace("SERVICE", f"http://127.0.0.1:{service.server_port}")
        gateway = await gateways.start(routes)
        async with AsyncExitStack() as stack:
            for _ in range(THREADS):
                client = await stack.enter_async_context(connected(gateway.base))
                client.send(request("POST", "/open/x", "Content-Length: 700000") + b"a" * 70_000)
            await eventually(lambda: service.accepted == THREADS)
            async with asyncio.timeout(SECONDS):
                assert (await gateway.nobody("GET", "/open/y")).status == 200
            assert sum(gateway.app[UPLOADS].by_service.values()) == 1


async def test_slow_readers_leave_most_connections_of_a_limited_service(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading, "LEAD_SECONDS", 0.2)
    async with few_threads() as service:
        routes = LIMITED.replace("SERVICE", f"http://127.0.0.1:{service.server_port}")
        gateway = await gateways.start(routes)
        async with AsyncExitStack() as stack:
            for _ in range(THREADS):
                await stack.enter_async_context(deaf_client_of(gateway, "/open/big"))
            async with asyncio.timeout(SECONDS):
                assert (await gateway.nobody("GET", "/open/y")).status == 200
            assert sum(gateway.app[DOWNLOADS].by_service.values()) == 1


@pytest.mark.parametrize("bound", ["slow_downloads_per_service", "slow_downloads_per_client"])
async def test_a_service_with_few_threads_serves_on_beside_clients_that_take_nothing(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(downloading, "LEAD_SECONDS", 0.2)
    async with few_threads() as service:
        routes = ROUTES.replace("SERVICE", f"http://127.0.0.1:{service.server_port}")
        gateway = await gateways.start(routes, **{bound: THREADS - 1})
        downloads = gateway.app[DOWNLOADS]
        async with AsyncExitStack() as stack:
            for _ in range(2 * THREADS):
                await stack.enter_async_context(deaf_client_of(gateway, "/open/big"))
            async with asyncio.timeout(SECONDS):
                assert (await gateway.nobody("GET", "/open/y")).status == 200
            assert sum(downloads.by_service.values()) == sum(downloads.by_client.values()) == THREADS - 1
        async with asyncio.timeout(SECONDS):
            while downloads.by_service or downloads.by_client:
                await asyncio.sleep(0.01)


async def test_a_body_that_stops_gets_408_and_the_end(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES.replace("SERVICE", gateways.service.url), **SHORT)
    for framing, sent in (
        ("Content-Length: 70000", b"abc"),
        ("Content-Length: 700000", b"a" * 70_000),
        ("Transfer-Encoding: chunked", b"3\r\nabc\r\n"),
    ):
        async with connected(gateway.base) as client:
            client.send(request("POST", "/open/x", framing) + sent)
            answer = await ended(client)
            assert answer.status == 408
            assert b'"code":"REQUEST_TIMEOUT"' in answer.body
    assert gateway.app[UPLOADS].by_client == {}


async def test_a_head_that_stops_gets_408_and_the_end(gateways: Gateways) -> None:
    gateway = await gateways.start(**SHORT)
    async with connected(gateway.base) as client:
        client.send(b"GET /open/x HTTP/1.1\r\nHost: gw")
        answer = await ended(client)
        assert answer.status == 408
        assert b'"code":"REQUEST_TIMEOUT"' in answer.body


OWN_CALLS = [
    ("POST", "/api/v1/queue/leave", "Content-Type: application/x-www-form-urlencoded"),
    ("POST", "/actuator/rooms/default", "Authorization: Bearer m"),
    ("POST", "/actuator/refresh/webhook", "X-Hub-Signature-256: sha256=" + "0" * 64),
]


@pytest.mark.parametrize(("method", "path", "field"), OWN_CALLS, ids=["leave", "rooms", "webhook"])
@pytest.mark.parametrize("few", [False, True], ids=["408", "429"])
async def test_bodies_for_the_gateway_itself_are_held_to_the_same(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch, method: str, path: str, field: str, few: bool
) -> None:
    if few:
        monkeypatch.setattr(uploading, "LEAD_SECONDS", 0.1)
    gateway = await gateways.start(**SHORT, slow_uploads_per_client=0 if few else 16)
    async with connected(gateway.base) as client:
        client.send(request(method, path, field, "Content-Length: 1000") + b"abc")
        assert (await ended(client)).status == (429 if few else 408)
    assert gateway.app[UPLOADS].by_client == {}


async def test_trusted_proxies_name_the_client_that_is_slow(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploading, "LEAD_SECONDS", 0.1)
    gateway = await gateways.start(
        ROUTES.replace("SERVICE", gateways.service.url),
        slow_uploads_per_client=1,
        trusted_proxies="127.0.0.0/8",
    )
    uploads = gateway.app[UPLOADS]
    async with AsyncExitStack() as stack:
        for last in (1, 2, 3):
            client = await stack.enter_async_context(connected(gateway.base))
            client.send(
                request("POST", "/open/x", f"X-Forwarded-For: 192.0.2.{last}", "Content-Length: 9") + b"abc"
            )
        async with asyncio.timeout(SECONDS):
            while len(uploads.by_client) < 3:
                await asyncio.sleep(0.01)
        assert uploads.by_client == {f"192.0.2.{last}": 1 for last in (1, 2, 3)}


async def test_one_connection_more_than_there_may_be_is_told_so(
    gateways: Gateways, nothing_displaced: None
) -> None:
    gateway = await gateways.start(max_connections=2)
    async with connected(gateway.base) as first, connected(gateway.base) as second:
        for client in (first, second):
            assert (await client.ask("GET", "/actuator/health/liveness")).status == 200
        async with connected(gateway.base) as third:
            assert (await third.head()).status == 503
        first.writer.close()
        async with asyncio.timeout(SECONDS):
            while True:
                async with connected(gateway.base) as again:
                    again.send(request("GET", "/actuator/health/liveness"))
                    if (await again.head()).status == 200:
                        break
