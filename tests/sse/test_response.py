"""Opening and closing a stream on real connections."""

from __future__ import annotations

import asyncio
import socket

import aiohttp
import pytest
from aiohttp import web

from gateway.server.detached_connections import DetachedConnections
from gateway.sse.protocol import StreamProtocol
from gateway.sse.response import UNACKNOWLEDGED_SECONDS, UNSENT_BYTES, EventStream
from tests.sse.rig import ALLOWED_IN, Block, Event, State, serving, world
from tests.support.waiting import eventually


async def test_a_stream_says_that_nothing_on_the_way_may_keep_or_change_it() -> None:
    async with world() as here:
        subscriber = await here.subscriber()

        assert subscriber.status == 200
        assert subscriber.headers["content-type"] == "text/event-stream"
        assert subscriber.headers["cache-control"] == "no-store, no-transform"
        assert subscriber.headers["x-accel-buffering"] == "no"
        assert subscriber.headers["transfer-encoding"] == "chunked"
        assert subscriber.headers["x-extra"] == "1"
        assert subscriber.headers["connection"] == "close"


@pytest.mark.parametrize("handler_cancellation", [True, False])
async def test_an_open_stream_costs_no_task_and_nothing_of_aiohttp(handler_cancellation: bool) -> None:
    async with world(handler_cancellation=handler_cancellation) as here:
        here.room.states["kim"] = State()
        before = asyncio.all_tasks()
        subscriber = await here.subscriber()
        await subscriber.next()
        await eventually(lambda: not here.server.connections)

        assert asyncio.all_tasks() <= before
        assert len(here.connections) == 1
        here.hub.deliver(Event("kim", 1))
        assert (await subscriber.next()).event == "ALLOWED_IN"
        assert await subscriber.next() is None
        await eventually(lambda: not here.connections)


async def test_the_connection_ends_behind_the_last_frame() -> None:
    async with world() as here:
        here.room.states["kim"] = ALLOWED_IN
        subscriber = await here.subscriber()

        assert [block.event for block in await subscriber.rest()] == ["ALLOWED_IN"]
        assert await subscriber.closed()
        await eventually(lambda: bool(here.ended))
        assert [end for _, _, end in here.ended] == [""]


async def test_over_http_1_0_the_end_of_the_connection_ends_the_body() -> None:
    async with world() as here:
        here.room.states["kim"] = State()
        subscriber = await here.subscriber("kim", "1.0", "Connection: keep-alive")
        assert "transfer-encoding" not in subscriber.headers
        assert subscriber.headers.get("connection") != "keep-alive"
        assert (await subscriber.next()).event == "STATUS_UPDATE"
        here.hub.deliver(Event("kim", 1))

        assert (await subscriber.next()).event == "ALLOWED_IN"
        assert await subscriber.next() is None


async def test_a_client_of_aiohttps_own_reads_the_body_to_its_end() -> None:
    async with world() as here, aiohttp.ClientSession() as session:
        here.room.states["kim"] = ALLOWED_IN
        host, port = here.address
        async with session.get(f"http://{host}:{port}/stream?user=kim") as answer:
            text = await answer.text()

    assert text.count("event: ALLOWED_IN") == 1
    assert text.endswith("\n\n")


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux has these options")
async def test_the_socket_of_a_stream_has_its_options() -> None:
    async with world() as here:
        here.room.states["kim"] = State()
        subscriber = await here.subscriber()
        await subscriber.next()
        (stream,) = here.hub._registry.subscribers()
        sock = stream._transport.get_extra_info("socket")
        options = (socket.TCP_USER_TIMEOUT, socket.TCP_NOTSENT_LOWAT)

        assert [sock.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [
            UNACKNOWLEDGED_SECONDS * 1000,
            UNSENT_BYTES,
        ]


async def start(stream: EventStream, request: web.Request) -> StreamProtocol | None:
    return await stream.start(
        request,
        user="kim",
        locale="ko",
        max_buffer=1000,
        connections=DetachedConnections(),
        on_end=lambda one: None,
    )


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
        result.append(await start(stream, request))
        return stream

    async with serving(handle, handler_cancellation=False) as (host, port, server):
        _, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        await entered.wait()
        writer.transport.abort()
        await eventually(lambda: all(connection.transport is None for connection in server.connections))
        gone.set()
        await eventually(lambda: bool(result))

    assert result == [None]
    assert not caplog.records


async def test_a_client_that_went_while_the_head_was_made_is_no_stream(
    caplog: pytest.LogCaptureFixture,
) -> None:
    result = []

    async def lose(request: web.Request, _response: web.StreamResponse) -> None:
        request.protocol.connection_lost(None)

    async def handle(request: web.Request) -> web.StreamResponse:
        stream = EventStream()
        result.append(await start(stream, request))
        return stream

    async with serving(handle, handler_cancellation=False, on_prepare=lose) as (host, port, server):
        _, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        await eventually(lambda: bool(result))
        writer.transport.abort()
        await eventually(lambda: not server.connections)

    assert result == [None]
    assert not caplog.records


async def test_an_event_is_read_as_it_was_meant() -> None:
    async with world() as here:
        here.room.states["kim"] = State(ticket=7, position=3)
        block = await (await here.subscriber()).next()

    assert block.retry is not None
    assert block == Block(
        "STATUS_UPDATE", {"room": "default", "ticket": 7, "userQueuePosition": 3}, retry=block.retry
    )
