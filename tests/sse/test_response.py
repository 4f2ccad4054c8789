"""Opening and closing a stream on real connections."""

from __future__ import annotations

import asyncio
import socket

import aiohttp
import pytest
from aiohttp import web

from gateway.sse import frames
from gateway.sse.response import UNACKNOWLEDGED_SECONDS, UNSENT_BYTES, EventStream
from tests.sse.support import ALLOWED_IN, Block, Event, State, serving, until, world


async def test_a_stream_says_that_nothing_on_the_way_may_keep_or_change_it() -> None:
    async with world() as here:
        tab = await here.tab()

        assert tab.status == 200
        assert tab.headers["content-type"] == "text/event-stream"
        assert tab.headers["cache-control"] == "no-store, no-transform"
        assert tab.headers["x-accel-buffering"] == "no"
        assert tab.headers["transfer-encoding"] == "chunked"
        assert tab.headers["x-extra"] == "1"
        assert "connection" not in tab.headers


async def test_a_stream_costs_no_task_beside_the_handlers_two() -> None:
    async with world() as here:
        here.room.states["kim"] = State()
        before = len(asyncio.all_tasks())
        tab = await here.tab()
        await tab.next()

        assert len(asyncio.all_tasks()) <= before + 2


async def test_the_connection_serves_the_next_request_after_the_end() -> None:
    async with world() as here:
        here.room.states["kim"] = ALLOWED_IN
        tab = await here.tab()
        first = await tab.rest()
        await tab.get("/stream?user=kim")

        assert [block.event for block in first] == ["ALLOWED_IN"]
        assert [block.event for block in await tab.rest()] == ["ALLOWED_IN"]


async def test_over_http_1_0_the_end_of_the_connection_ends_the_body() -> None:
    async with world() as here:
        here.room.states["kim"] = State()
        tab = await here.tab("kim", "1.0", "Connection: keep-alive")
        assert "transfer-encoding" not in tab.headers
        assert tab.headers.get("connection") != "keep-alive"
        assert (await tab.next()).event == "STATUS_UPDATE"
        here.hub.deliver(Event("kim", 1))

        assert (await tab.next()).event == "ALLOWED_IN"
        assert await tab.next() is None


async def test_a_client_of_aiohttps_own_reads_the_body_to_its_end() -> None:
    async with world() as here, aiohttp.ClientSession() as session:
        here.room.states["kim"] = ALLOWED_IN
        host, port = here.address
        async with session.get(f"http://{host}:{port}/stream?user=kim") as answer:
            text = await answer.text()

    assert text.count("event: ALLOWED_IN") == 1
    assert text.endswith("\n\n")


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> list[socket.socket]:
    """The server's ends of all connections whose socket it looked at."""
    seen: list[socket.socket] = []
    original = web.BaseRequest.get_extra_info

    def get_extra_info(self: web.BaseRequest, name: str, default: object = None) -> object:
        found = original(self, name, default)
        if name == "socket" and found is not None:
            seen.append(found)
        return found

    monkeypatch.setattr(web.BaseRequest, "get_extra_info", get_extra_info)
    return seen


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux has these options")
async def test_socket_options_last_as_long_as_the_stream(sockets: list[socket.socket]) -> None:
    options = (socket.TCP_USER_TIMEOUT, socket.TCP_NOTSENT_LOWAT)
    async with world() as here:
        here.room.states["kim"] = State()
        tab = await here.tab()
        await tab.next()
        during = [sockets[-1].getsockopt(socket.IPPROTO_TCP, option) for option in options]
        here.hub.deliver(Event("kim", 1))
        await tab.rest()
        await here.gone()
        await until(lambda: len(sockets) > 1)
        after = [sockets[-1].getsockopt(socket.IPPROTO_TCP, option) for option in options]

    assert during == [UNACKNOWLEDGED_SECONDS * 1000, UNSENT_BYTES]
    assert after == [0, 0]


@pytest.mark.parametrize("method", ["POST", "HEAD"])
async def test_only_get_opens_a_stream(method: str) -> None:
    async with world() as here, aiohttp.ClientSession() as session:
        host, port = here.address
        async with session.request(method, f"http://{host}:{port}/?user=kim") as answer:
            assert answer.status == 405
            assert answer.headers["Allow"] == "GET"


async def test_a_client_that_went_before_the_head_is_no_stream_and_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    entered, gone, result = asyncio.Event(), asyncio.Event(), []

    async def handle(request: web.Request) -> web.StreamResponse:
        entered.set()
        await gone.wait()
        stream = EventStream()
        result.append(await stream.subscribe(request, user="kim", locale="ko", max_buffer=1))
        return stream

    async with serving(handle, handler_cancellation=False) as (host, port, server):
        _, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        await entered.wait()
        writer.transport.abort()
        await until(lambda: all(connection.transport is None for connection in server.connections))
        gone.set()
        await until(lambda: bool(result))

    assert result == [None]
    assert not caplog.records


async def test_a_response_without_a_hub_ends_its_body_itself() -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        stream = EventStream()
        tab = await stream.subscribe(request, user="kim", locale="ko", max_buffer=1000)
        assert tab is not None
        tab.write(frames.event("HEARTBEAT", {}))
        return stream

    async with serving(handle) as (host, port, _), aiohttp.ClientSession() as session:
        answer = await session.get(f"http://{host}:{port}/")
        assert await answer.text() == "event: HEARTBEAT\ndata: {}\n\n"


async def test_a_reader_who_was_behind_at_the_end_is_served_on_as_the_head_has_said() -> None:
    async with world(max_buffer=10_000_000) as here, here.deaf("kim") as (stream, connection):
        frame = frames.comment("x" * 10_000)
        for _ in range(400):
            assert stream.write(frame)
        here.hub.deliver(Event("kim", 99))
        await here.gone()
        loop = asyncio.get_running_loop()
        received = 0
        tail = b""
        while not tail.endswith(b"\n\n\r\n0\r\n\r\n"):
            piece = await loop.sock_recv(connection, 1 << 20)
            assert piece, "the connection ended, and nothing had said so"
            received += len(piece)
            tail = (tail + piece)[-200:]
        assert received > 4_000_000
        await loop.sock_sendall(connection, b"GET /stream?user=ann HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await loop.sock_recv(connection, 1 << 16)).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_an_event_is_read_as_it_was_meant() -> None:
    async with world() as here:
        here.room.states["kim"] = State(ticket=7, position=3)
        block = await (await here.tab()).next()

    assert block.retry is not None
    assert block == Block(
        "STATUS_UPDATE", {"room": "default", "ticket": 7, "userQueuePosition": 3}, retry=block.retry
    )
