"""WebSockets through a whole gateway: aiohttp at both ends, and raw sockets for what that won't do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import WSCloseCode, WSMsgType, web

from gateway.app import TUNNELS
from gateway.context import OBSERVERS
from gateway.proxy.websocket import accept_of
from tests.support.gateway import Gateways, Running
from tests.support.gateway_process import gateway_process
from tests.support.listening import listening
from tests.support.waiting import eventually

ROUTES = """
routes:
  - {id: chat, uri: "%(service)s", predicates: ["Path=/chat/**"], filters: ["AddResponseHeader=X-Route, chat"]}
  - {id: gated, uri: "lb:ws://chat", predicates: ["Path=/gated/**"]}
  - {id: fixed, uri: "%(ws)s", predicates: ["Path=/fixed/**"]}
  - {id: refusing, uri: "ws://127.0.0.1:1", predicates: ["Path=/refusing/**"]}
services: {chat: ["%(service)s"]}
gates:
  - {room: default, calls: ["GET /gated/echo"]}
access:
  public: ["GET /fixed/**", "GET /refusing/**"]
"""
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: gw.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
    "{more}\r\n"
)
SWITCHED = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Accept: {accept_of(KEY)}\r\n\r\n"
).encode()


@dataclass
class Chat:
    """A service that echoes. ``closed`` holds the close code that each socket ended with, None if it broke off."""

    url: str = ""
    heads: list[dict[str, str]] = field(default_factory=list)
    open: set[web.WebSocketResponse] = field(default_factory=set)
    closed: asyncio.Queue[int | None] = field(default_factory=asyncio.Queue)
    received: int = 0
    hanging: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.heads.append(dict(request.headers))
        if request.path.endswith("/plain"):
            return web.json_response({"upgrade": request.headers.get("Upgrade")}, status=426)
        if request.path.endswith("/hanging"):
            self.hanging.release()
            await asyncio.Event().wait()
        socket = web.WebSocketResponse(protocols=("v2.chat",), max_msg_size=0, autoclose=True)
        await socket.prepare(request)
        self.open.add(socket)
        try:
            if request.path.endswith("/flood"):
                for _ in range(int(request.query["messages"])):
                    await socket.send_bytes(b"x" * 65536)
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await socket.send_str(message.data)
                else:
                    self.received += len(message.data)
                    if request.path.endswith("/echo"):
                        await socket.send_bytes(message.data)
        except ConnectionError:
            pass
        finally:
            self.open.discard(socket)
            self.closed.put_nowait(socket.close_code)
        return socket


@pytest.fixture
async def chat() -> AsyncIterator[Chat]:
    service, app = Chat(), web.Application()
    app.router.add_get("/{path:.*}", service.handle)
    async with listening(web.AppRunner(app, access_log=None, shutdown_timeout=1.0)) as service.url:
        yield service


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
def start(gateways: Gateways, chat: Chat) -> Start:
    async def started(**changes: object) -> Running:
        gateways.service.url = chat.url
        return await gateways.start(ROUTES.replace("%(ws)s", chat.url.replace("http", "ws")), **changes)

    return started


@asynccontextmanager
async def connected(
    gateway: Running, path: str, user: str | None = "a", **options: Any
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    token = {"Authorization": f"Bearer {gateway.issuer.token(user)}"} if user else {}
    headers = token | options.pop("headers", {})
    async with gateway.session.ws_connect(
        gateway.base + path, headers=headers, max_msg_size=0, **options
    ) as socket:
        yield socket


@asynccontextmanager
async def raw(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 20)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def raw_service(
    answer: bytes, then: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
) -> AsyncIterator[str]:
    """A service that gives this answer to one handshake, whatever it is, and goes on as told."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            await then(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}"
    finally:
        server.close()


def counted(gateway: Running, name: str, **labels: str) -> float:
    registry = gateway.app[OBSERVERS].metrics.registry
    return registry.get_sample_value(f"gateway_{name}", labels) or 0.0


@pytest.mark.parametrize("path", ["/chat/echo", "/fixed/echo"])
async def test_messages_go_both_ways_and_a_close_reaches_the_other_side(
    start: Start, chat: Chat, path: str
) -> None:
    gateway = await start()
    async with connected(gateway, path) as socket:
        await socket.send_str("안녕")
        assert (await socket.receive(10)).data == "안녕"
        assert counted(gateway, "websockets_open") == 1
        await socket.ping(b"are you there")
        await socket.send_bytes(b"\0\1")
        assert (await socket.receive(10)).data == b"\0\1"
        await socket.close(code=WSCloseCode.GOING_AWAY)
    async with asyncio.timeout(10):
        assert await chat.closed.get() == WSCloseCode.GOING_AWAY
    await eventually(lambda: counted(gateway, "websockets_open") == 0)


async def test_the_service_sees_the_user_and_the_handshake_as_sent(start: Start, chat: Chat) -> None:
    gateway = await start()
    headers = {"X-User-Id": "admin", "X-Custom": "1"}
    async with connected(
        gateway, "/chat/echo?q=1", "somebody", headers=headers, protocols=("v1.chat", "v2.chat"), compress=15
    ) as socket:
        assert socket.protocol == "v2.chat"
        assert socket.compress == 15
        await socket.send_str("a" * 100_000)
        assert (await socket.receive(10)).data == "a" * 100_000
        assert socket._response.headers["X-Route"] == "chat"
    (head,) = chat.heads
    assert head["X-User-Id"] == "somebody"
    assert head["X-Custom"] == "1"
    assert head["Sec-WebSocket-Protocol"] == "v1.chat,v2.chat"
    assert "permessage-deflate" in head["Sec-WebSocket-Extensions"]
    assert head["X-Forwarded-For"] == "127.0.0.1"


async def test_a_message_of_many_megabytes_arrives_whole(start: Start, chat: Chat) -> None:
    gateway = await start()
    message = os.urandom(16 << 20)
    async with connected(gateway, "/chat/echo") as socket:
        await socket.send_bytes(message)
        assert (await socket.receive(30)).data == message
    assert chat.received == len(message)


async def test_many_talk_at_the_same_time(start: Start, chat: Chat) -> None:
    gateway = await start()

    async def talk(number: int) -> None:
        async with connected(gateway, "/fixed/echo", None) as socket:
            for turn in range(20):
                await socket.send_str(f"{number} {turn}")
                assert (await socket.receive(20)).data == f"{number} {turn}"

    async with asyncio.TaskGroup() as group:
        for number in range(50):
            group.create_task(talk(number))
    assert len(chat.heads) == 50


async def test_without_token_or_place_there_is_no_handshake(start: Start, chat: Chat) -> None:
    gateway = await start()
    for path, user, status in (
        ("/chat/echo", None, 401),
        ("/gated/echo", None, 401),
        ("/gated/echo", "stranger", 403),
        ("/nothing/echo", "stranger", 404),
        ("/refusing/echo", None, 502),
    ):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            async with connected(gateway, path, user):
                pass
        assert refusal.value.status == status, path
    assert chat.heads == []
    await gateway.user("inside").lineup()
    async with connected(gateway, "/gated/echo", "inside") as socket:
        await socket.send_str("in")
        assert (await socket.receive(10)).data == "in"


async def test_a_page_of_another_origin_gets_in_only_where_cors_allows_it(
    gateways: Gateways, chat: Chat
) -> None:
    gateways.service.url = chat.url
    cors = "cors: {cors-configurations: {'/**': {allowedOrigins: 'https://shop.test'}}}\n"
    gateway = await gateways.start(ROUTES.replace("%(ws)s", "ws://127.0.0.1:1") + cors)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        async with connected(gateway, "/chat/echo", origin="https://evil.test"):
            pass
    assert refusal.value.status == 403
    assert chat.heads == []
    async with connected(gateway, "/chat/echo", origin="https://shop.test") as socket:
        await socket.send_str("in")
        assert (await socket.receive(10)).data == "in"


async def test_another_answer_than_101_is_an_ordinary_one_and_what_follows_is_http(start: Start) -> None:
    gateway = await start()
    async with raw(gateway.base) as (reader, writer):
        writer.write((HANDSHAKE.format(path="/fixed/plain", more="") * 2).encode())
        for _ in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 426 ")
            assert await reader.readexactly(24) == b'{"upgrade": "websocket"}'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 12"),
        (KEY, "short"),
        ("GET", "POST"),
        ("Connection: Upgrade", "Connection: keep-alive"),
        ("Upgrade: websocket", "Upgrade: h2c"),
        ("Upgrade: websocket", 'Upgrade: h2c, "a, websocket"'),
        ("HTTP/1.1", "HTTP/1.0"),
    ],
)
async def test_what_is_no_sound_handshake_goes_on_as_a_plain_request(
    start: Start, chat: Chat, old: str, new: str
) -> None:
    gateway = await start()
    token = f"Authorization: Bearer {gateway.issuer.token('a')}\r\n"
    async with raw(gateway.base) as (reader, writer):
        writer.write(HANDSHAKE.format(path="/chat/plain", more=token).replace(old, new, 1).encode())
        head = await reader.readuntil(b"\r\n\r\n")
    assert b" 101 " not in head
    assert all("Upgrade" not in seen for seen in chat.heads)


async def test_a_handshake_that_says_it_has_no_body_is_one(start: Start, chat: Chat) -> None:
    gateway = await start()
    async with raw(gateway.base) as (reader, writer):
        writer.write(HANDSHAKE.format(path="/fixed/echo", more="Content-Length: 0\r\n").encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        # One masked text frame, and its echo without a mask.
        writer.write(b"\x81\x82\0\0\0\0hi")
        async with asyncio.timeout(10):
            assert await reader.readexactly(4) == b"\x81\x02hi"
    assert chat.heads[-1]["Upgrade"] == "websocket"
    assert "Content-Length" not in chat.heads[-1]


@pytest.mark.parametrize(
    "more", ["Content-Length: 2\r\n\r\nhi", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]
)
async def test_a_handshake_with_a_body_goes_on_as_a_plain_request(
    start: Start, chat: Chat, more: str
) -> None:
    gateway = await start()
    async with raw(gateway.base) as (reader, writer):
        writer.write(HANDSHAKE.format(path="/fixed/plain", more=more).encode().removesuffix(b"\r\n"))
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 426 ")
    assert "Upgrade" not in chat.heads[-1]


BAD_101 = {
    "Upgrade with a space behind it": SWITCHED.replace(b"Upgrade: ", b"Upgrade : "),
    "a header with a space behind its name": SWITCHED.replace(b"\r\n\r\n", b"\r\nX-A : b\r\n\r\n"),
    "no accept": SWITCHED.replace(b"Sec-WebSocket-Accept", b"X-Other"),
    "a wrong accept": SWITCHED.replace(accept_of(KEY).encode(), accept_of("other").encode()),
    "another protocol": SWITCHED.replace(b"Upgrade: websocket", b"Upgrade: h2c"),
    "no upgrade": SWITCHED.replace(b"Connection: Upgrade\r\n", b""),
}


@pytest.mark.parametrize("answer", BAD_101.values(), ids=BAD_101.keys())
async def test_a_101_that_answers_another_handshake_opens_nothing(gateways: Gateways, answer: bytes) -> None:
    talked = asyncio.Event()

    async def then(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(100):
            talked.set()

    async with raw_service(answer, then) as url:
        gateways.service.url = url
        gateway = await gateways.start(ROUTES.replace("%(ws)s", url))
        async with raw(gateway.base) as (reader, writer):
            writer.write(HANDSHAKE.format(path="/fixed/x", more="").encode() + b"\x81\x05hello")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 502 ")
    assert not talked.is_set()


async def test_bytes_that_come_with_the_handshakes_are_not_lost(gateways: Gateways) -> None:
    got: asyncio.Queue[bytes] = asyncio.Queue()

    async def then(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.put_nowait(await reader.readexactly(11))
        writer.write(b"last words")

    async with raw_service(SWITCHED + b"first words", then) as url:
        gateways.service.url = url
        gateway = await gateways.start(ROUTES.replace("%(ws)s", url))
        async with raw(gateway.base) as (reader, writer):
            writer.write(HANDSHAKE.format(path="/fixed/x", more="").encode() + b"early ")
            writer.write(b"words")
            async with asyncio.timeout(10):
                assert await got.get() == b"early words"
                head = await reader.readuntil(b"\r\n\r\n")
                rest = await reader.read()
        assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert f"Sec-WebSocket-Accept: {accept_of(KEY)}\r\n".encode() in head
        assert head.lower().count(b"upgrade: websocket") == 1
        assert rest == b"first wordslast words"
        assert counted(gateway, "websockets_ended_total", route="fixed", by="service") == 1


async def test_a_slow_reader_holds_up_its_service_and_no_other_user(start: Start, chat: Chat) -> None:
    gateway = await start()
    async with raw(gateway.base) as (reader, writer):
        writer.write(HANDSHAKE.format(path="/fixed/flood?messages=1000", more="").encode())
        await reader.readuntil(b"\r\n\r\n")
        (tunnel,) = gateway.app[TUNNELS]._open
        await eventually(lambda: tunnel.service._paused)
        before = tunnel.sent
        async with connected(gateway, "/fixed/echo", None) as socket:
            for _ in range(20):
                await socket.send_str("still here")
                assert (await socket.receive(10)).data == "still here"
        assert tunnel.sent == before
        assert tunnel.service._size < 1 << 20
        total = 1000 * (65536 + 10)
        received = 0
        async with asyncio.timeout(30):
            while received < total:
                received += len(await reader.read(1 << 20))
        assert received == total


async def test_a_slow_service_holds_up_its_client(gateways: Gateways) -> None:
    go_on, total = asyncio.Event(), 64 << 20

    async def then(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        await reader.readexactly(total)
        writer.write(b"all")

    async with raw_service(SWITCHED, then) as url:
        gateways.service.url = url
        gateway = await gateways.start(ROUTES.replace("%(ws)s", url))
        async with raw(gateway.base) as (reader, writer):
            writer.write(HANDSHAKE.format(path="/fixed/x", more="").encode())
            await reader.readuntil(b"\r\n\r\n")
            (tunnel,) = gateway.app[TUNNELS]._open
            writer.write(b"x" * total)
            await eventually(lambda: tunnel.client._paused)
            assert tunnel.client._size < 1 << 20
            go_on.set()
            async with asyncio.timeout(30):
                assert await reader.read() == b"all"


async def test_a_client_that_vanishes_ends_the_services_socket(start: Start, chat: Chat) -> None:
    gateway = await start()
    async with raw(gateway.base) as (reader, writer):
        writer.write(HANDSHAKE.format(path="/fixed/echo", more="").encode())
        await reader.readuntil(b"\r\n\r\n")
        await eventually(lambda: bool(chat.open))
        writer.transport.abort()
        async with asyncio.timeout(10):
            assert await chat.closed.get() == WSCloseCode.ABNORMAL_CLOSURE
    await eventually(lambda: counted(gateway, "websockets_open") == 0)
    assert counted(gateway, "websockets_ended_total", route="fixed", by="client") == 1


async def test_what_a_client_sent_last_arrives_though_it_left_at_once(gateways: Gateways) -> None:
    got: asyncio.Queue[bytes] = asyncio.Queue()

    async def then(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        got.put_nowait(await reader.read())

    async with raw_service(SWITCHED, then) as url:
        gateways.service.url = url
        gateway = await gateways.start(ROUTES.replace("%(ws)s", url))
        async with raw(gateway.base) as (reader, writer):
            writer.write(HANDSHAKE.format(path="/fixed/x", more="").encode())
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"x" * 200_000)
        async with asyncio.timeout(10):
            assert await got.get() == b"x" * 200_000


async def test_a_service_that_dies_ends_the_clients_socket(gateways: Gateways) -> None:
    async def then(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(2)
        writer.transport.abort()

    async with raw_service(SWITCHED, then) as url:
        gateways.service.url = url
        gateway = await gateways.start(ROUTES.replace("%(ws)s", url))
        async with raw(gateway.base) as (reader, writer):
            writer.write(HANDSHAKE.format(path="/fixed/x", more="").encode())
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"hi")
            async with asyncio.timeout(10):
                assert await reader.read() == b""
        await eventually(lambda: counted(gateway, "websockets_open") == 0)


async def test_one_too_many_is_told_to_come_back_and_takes_its_turn(start: Start) -> None:
    gateway = await start(websocket_max=1)
    async with connected(gateway, "/chat/echo") as first:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            async with connected(gateway, "/chat/echo"):
                pass
        assert refusal.value.status == 503
        assert refusal.value.headers is not None
        assert refusal.value.headers["Retry-After"] == "5"
        # Plain requests are none.
        assert (await gateway.nobody("GET", "/fixed/plain")).status == 426
        await first.close()
    await eventually(lambda: counted(gateway, "websockets_open") == 0)
    async with connected(gateway, "/chat/echo") as socket:
        await socket.send_str("now")
        assert (await socket.receive(10)).data == "now"


def at(address: str) -> dict[str, str]:
    """The headers of a client at this address, behind a proxy that is trusted."""
    return {"X-Forwarded-For": address}


async def test_one_client_does_not_keep_the_others_out(start: Start, chat: Chat) -> None:
    gateway = await start(websocket_max=4, trusted_proxies="127.0.0.1")
    async with contextlib.AsyncExitStack() as stack:

        async def connect(address: str) -> aiohttp.ClientWebSocketResponse:
            return await stack.enter_async_context(connected(gateway, "/chat/echo", headers=at(address)))

        # Two networks of one /48 are one client.
        many = [
            await connect(address)
            for address in ("2001:db8::1", "2001:db8:0:2::1", "2001:db8::1", "2001:db8:0:2::1")
        ]
        others = [await connect("192.0.2.1"), await connect("192.0.2.1")]
        for ended in many[2:]:
            assert (await ended.receive(10)).type in {WSMsgType.CLOSED, WSMsgType.CLOSE, WSMsgType.ERROR}
        for kept in (*many[:2], *others):
            await kept.send_str("still")
            assert (await kept.receive(10)).data == "still"
        # Both clients have two now. Neither takes a place of the other one.
        for address in ("2001:db8::1", "192.0.2.1"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
                await connect(address)
            assert refusal.value.status == 503
        third = await connect("192.0.2.2")
        await third.send_str("x")
        assert (await third.receive(10)).data == "x"
    await eventually(lambda: counted(gateway, "websockets_open") == 0)
    assert counted(gateway, "websockets_ended_total", route="chat", by="displaced") == 3


async def test_one_clients_websockets_leave_connections_of_their_service_to_others(
    gateways: Gateways, chat: Chat
) -> None:
    gateways.service.url = chat.url
    limited = 'services: {chat: {instances: ["%(service)s"], max-connections: 3, max-waiting: 0}}'
    routes = ROUTES.replace('services: {chat: ["%(service)s"]}', limited).replace("lb:ws://chat", "lb://chat")
    routes = routes.replace('{id: chat, uri: "%(service)s"', '{id: chat, uri: "lb://chat"')
    gateway = await gateways.start(routes.replace("%(ws)s", chat.url), trusted_proxies="127.0.0.1")
    async with contextlib.AsyncExitStack() as stack:
        sockets = [
            await stack.enter_async_context(connected(gateway, "/chat/echo", headers=at("192.0.2.1")))
            for _ in range(3)
        ]
        answer = await gateway.user("b")("GET", "/chat/plain", headers=at("192.0.2.2"))
        assert answer.status == 426
        assert (await sockets[2].receive(10)).type in {WSMsgType.CLOSED, WSMsgType.CLOSE, WSMsgType.ERROR}
        for socket in sockets[:2]:
            await socket.send_str("still")
            assert (await socket.receive(10)).data == "still"
    assert counted(gateway, "websockets_ended_total", route="chat", by="displaced") == 1


async def test_handshakes_without_an_answer_do_not_keep_other_clients_out(start: Start, chat: Chat) -> None:
    gateway = await start(websocket_max=2, trusted_proxies="127.0.0.1")

    async def hang() -> int:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            async with connected(gateway, "/chat/hanging", headers=at("192.0.2.1")):
                pass
        return refusal.value.status

    hanging = [asyncio.create_task(hang()) for _ in range(2)]
    async with asyncio.timeout(10):
        for _ in hanging:
            await chat.hanging.acquire()
    async with connected(gateway, "/chat/echo", headers=at("192.0.2.2")) as socket:
        await socket.send_str("x")
        assert (await socket.receive(10)).data == "x"
        async with asyncio.timeout(10):
            done, left = await asyncio.wait(hanging, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result() for task in done] == [503]
        for task in left:
            task.cancel()
        await asyncio.wait(left)


async def test_silence_ends_it_and_bytes_of_either_side_keep_it(start: Start) -> None:
    gateway = await start(websocket_idle_seconds=1)
    began = asyncio.get_running_loop().time()
    async with connected(gateway, "/chat/echo") as socket:
        for _ in range(6):
            await asyncio.sleep(0.25)
            await socket.send_str("x")
            assert (await socket.receive(10)).data == "x"
        message = await socket.receive(10)
    assert message.type in {WSMsgType.CLOSED, WSMsgType.CLOSE, WSMsgType.ERROR}
    assert asyncio.get_running_loop().time() - began >= 2.5
    assert counted(gateway, "websockets_ended_total", route="chat", by="idle") == 1


async def test_draining_ends_all_evenly_and_takes_no_new_ones(start: Start) -> None:
    gateway = await start()
    async with contextlib.AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(connected(gateway, "/chat/echo")) for _ in range(4)]
        draining = asyncio.create_task(gateway.app[TUNNELS].drain(0.4))
        await eventually(lambda: counted(gateway, "websockets_ended_total", route="chat", by="shutdown") > 0)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            async with connected(gateway, "/chat/echo"):
                pass
        assert refusal.value.status == 503
        await draining
        for socket in sockets:
            assert (await socket.receive(10)).type is not WSMsgType.TEXT
    assert counted(gateway, "websockets_ended_total", route="chat", by="shutdown") == 4
    assert counted(gateway, "websockets_open") == 0


async def test_a_stop_of_the_process_ends_websockets_within_the_grace_time(
    tmp_path: Path, redis_url: str, chat: Chat
) -> None:
    routes = ROUTES.replace("%(ws)s", chat.url).replace("%(service)s", chat.url)
    (tmp_path / "routes.yaml").write_text(routes)
    environ = {
        "REDIS_URL": redis_url,
        "JWT_JWKS_URI": "http://127.0.0.1:1/jwks.json",
        "SHUTDOWN_GRACE_SECONDS": "3",
    }
    async with (
        gateway_process(environ, tmp_path) as gateway,
        aiohttp.ClientSession() as session,
        session.ws_connect(gateway.base + "/fixed/echo") as one,
        session.ws_connect(gateway.base + "/fixed/echo") as other,
    ):
        for socket in (one, other):
            await socket.send_bytes(b"x" * 300_000)
            assert (await socket.receive(10)).data == b"x" * 300_000
        gateway.send(signal.SIGTERM)
        for socket in (one, other):
            assert (await socket.receive(10)).type in {WSMsgType.CLOSED, WSMsgType.CLOSE, WSMsgType.ERROR}
        assert await gateway.ended() == 0
        assert "Traceback" not in "\n".join(gateway.lines)
        assert sum(" 101 " in line or '"status":101' in line for line in gateway.lines) == 2
