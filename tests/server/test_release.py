"""A stream keeps nothing of its request, and its connection serves on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from gateway.server.listener import Server
from tests.harness import Caller, Gateways, Running

PATIENCE = 20.0


class Client:
    """A connection of which each byte counts."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, *requests: bytes) -> None:
        self._writer.write(b"".join(requests))

    async def until(self, end: bytes) -> bytes:
        """What came, up to and with ``end``."""
        async with asyncio.timeout(PATIENCE):
            return await self._reader.readuntil(end)


def request(path: str, caller: Caller) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {caller.token}\r\n\r\n".encode()


@asynccontextmanager
async def waiting(gateway: Running) -> AsyncIterator[tuple[Server, Client, Caller]]:
    """A server, a connection to it, and somebody in line."""
    await gateway.user("first").lineup()
    user = gateway.user("second")
    await user.lineup()
    runner = gateway.runner
    server = runner.server
    assert isinstance(server, Server)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(gateway.base.rpartition(":")[2]))
    try:
        yield server, Client(reader, writer), user
    finally:
        writer.close()


def served(server: Server) -> Any:
    """The connection of the client; that of the session, which is idle, is another one."""
    return server.connections[-1]


async def test_while_it_is_open_nothing_of_the_head_is_kept(gateways: Gateways) -> None:
    async with waiting(await gateways.start()) as (server, client, user):
        client.send(request("/api/v1/queue/stream", user))
        await client.until(b"event: STATUS_UPDATE")
        connection = served(server)
        kept: web.BaseRequest = connection._current_request
        assert (dict(kept.headers), kept.raw_headers) == ({}, ())
        assert connection._parser is None


@pytest.mark.parametrize("when", ["in the same piece", "while it is open", "when it is over"])
async def test_the_next_request_is_answered_behind_it(gateways: Gateways, when: str) -> None:
    async with waiting(await gateways.start()) as (_, client, user):
        stream, status = request("/api/v1/queue/stream", user), request("/api/v1/queue/status", user)
        client.send(stream, *([status] if when == "in the same piece" else []))
        await client.until(b"event: STATUS_UPDATE")
        if when == "while it is open":
            # Cut, so that the head is put together by a parser that had gone.
            client.send(status[:40])
            await asyncio.sleep(0)
            client.send(status[40:])
        await user("POST", "/api/v1/queue/leave")
        assert b'"REMOVED"' in await client.until(b"\r\n0\r\n\r\n")
        if when == "when it is over":
            client.send(status)
        assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
        assert b'"NOT_IN_QUEUE"' in await client.until(b"}")


async def test_what_is_no_request_is_refused_behind_it(gateways: Gateways) -> None:
    async with waiting(await gateways.start()) as (_, client, user):
        client.send(request("/api/v1/queue/stream", user))
        await client.until(b"event: STATUS_UPDATE")
        client.send(b"no request at all\r\n\r\n")
        await user("POST", "/api/v1/queue/leave")
        await client.until(b"\r\n0\r\n\r\n")
        assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
