"""A server that goes away lets its connections end in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from gateway.server import listener
from gateway.server.listener import Server

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
IDLE_SECONDS = 0.5
"""How long connections may be idle, with ``short_idle``."""
SLOW_SECONDS = 0.75
"""Longer than that."""


@pytest.fixture
def short_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle connections are closed after a moment."""
    monkeypatch.setattr(listener, "_IDLE_GRACE_SECONDS", IDLE_SECONDS)


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[web.ServerRunner, asyncio.StreamReader, asyncio.StreamWriter]]:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/slow":
            response = web.StreamResponse(headers={"Content-Length": "4"})
            await response.prepare(request)
            await response.write(b"sl")
            await asyncio.sleep(SLOW_SECONDS)
            await response.write(b"ow")
            return response
        return web.Response(text="ok")

    runner = web.ServerRunner(Server(answer), shutdown_timeout=20.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
    try:
        writer.write(REQUEST)
        await reader.readuntil(b"ok")
        yield runner, reader, writer
    finally:
        writer.close()
        await runner.cleanup()


async def test_an_idle_connection_gets_one_more_answer_and_then_ends() -> None:
    async with connected() as (runner, reader, writer):
        ending = asyncio.create_task(runner.cleanup())
        await asyncio.sleep(0.1)
        assert not ending.done()
        writer.write(REQUEST)
        answer = await reader.read()
        assert b"Connection: close" in answer
        assert answer.endswith(b"ok")
        async with asyncio.timeout(1):
            await ending


async def test_a_connection_that_stays_idle_is_closed_after_a_moment(short_idle: None) -> None:
    async with connected() as (runner, reader, _writer):
        async with asyncio.timeout(4 * IDLE_SECONDS):
            await runner.cleanup()
            assert await reader.read() == b""


async def test_a_request_that_has_come_unread_is_answered_before_the_end() -> None:
    async with connected() as (runner, reader, writer):
        server = runner.server
        assert isinstance(server, Server)
        server.pre_shutdown()
        (connection,) = server.guards
        writer.write(REQUEST)  # at once into the kernel, and the loop has not turned since
        connection.end_if_idle(since=asyncio.get_running_loop().time())
        answer = await asyncio.wait_for(reader.read(), 5)
        assert b"Connection: close" in answer
        assert answer.endswith(b"ok")


async def test_without_connections_it_ends_at_once() -> None:
    async with connected() as (runner, _reader, writer):
        writer.close()
        await writer.wait_closed()
        async with asyncio.timeout(1):
            await runner.cleanup()


async def test_an_answer_before_its_body_is_the_last_and_holds_up_no_stop() -> None:
    async with connected() as (runner, reader, writer):
        ending = asyncio.create_task(runner.cleanup())
        await asyncio.sleep(0.1)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n1")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"\r\nConnection: close\r\n" in head
        async with asyncio.timeout(5):
            assert await reader.read() == b"ok"
            await ending


async def test_a_connection_that_becomes_idle_later_holds_up_no_stop(short_idle: None) -> None:
    async with connected() as (runner, reader, writer):
        writer.write(REQUEST.replace(b"/", b"/slow", 1))
        head = await reader.readuntil(b"sl")
        # Said before anything was known of a stop. The next request may be on its way when the answer ends.
        assert b"Connection: close" not in head
        loop = asyncio.get_running_loop()
        ending = asyncio.create_task(runner.cleanup())
        await reader.readexactly(2)
        began = loop.time()
        await asyncio.sleep(IDLE_SECONDS / 4)
        assert not reader.at_eof()
        async with asyncio.timeout(5):
            await ending
        assert loop.time() - began > 0.75 * IDLE_SECONDS
