"""Connections that are used again, bodies and WebSockets, with both of aiohttp's parsers."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest
from aiohttp import WSMsgType

from tests.compat.rig import PIECE, PIECES, a_site
from tests.support import gateway_process
from tests.support.gateway import Stream
from tests.support.raw_http import request

PARSERS = pytest.mark.parametrize("parser", ["", "1"], ids=["c", "python"])

CHUNKED = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"


def test_gateways_with_the_other_parser_are_not_forked() -> None:
    """Else the forked one would have the parser that was imported before."""
    assert gateway_process._READ_AT_START.match("AIOHTTP_NO_EXTENSIONS")


@PARSERS
async def test_a_connection_answers_one_request_after_the_other(
    tmp_path: Path, redis_url: str, parser: str
) -> None:
    async with a_site(tmp_path, redis_url, AIOHTTP_NO_EXTENSIONS=parser) as site, site.connection() as client:
        for _ in range(3):
            assert (await client.ask("GET", "/actuator/health")).status == 200
            assert (await client.ask("GET", "/shop/x")).body == b"GET "
            assert (
                await client.ask("POST", "/shop/x", "Content-Length: 5", body=b"abcde")
            ).body == b"POST abcde"
            chunked = await client.ask("POST", "/shop/x", "Transfer-Encoding: chunked", body=CHUNKED)
            assert chunked.body == b"POST abcde"
            assert (await client.ask("HEAD", "/shop/x")).status == 200
            client.send(request("DELETE", "/shop/none"))
            assert (await client.answer(bodiless=True)).status == 204
            assert (await client.ask("GET", "/actuator/nothing")).status == 404
            assert (await client.ask("POST", "/buy/x", "Content-Length: 5", body=b"abcde")).status == 401
            assert (await client.ask("GET", "/refusing/x")).status == 502
            assert (await client.ask("GET", "/api/v1/queue/status")).status == 401
        client.send(request("GET", "/shop/1") * 3 + request("GET", "/api/v1/queue/status"))
        assert [(await client.answer()).status for _ in range(4)] == [200, 200, 200, 401]
        assert (await client.ask("GET", "/shop/x", "Connection: close")).status == 200
        assert await client.rest() == b""
    # Connections to services are used again as well.
    assert len(site.shop.peers) < 20


@PARSERS
async def test_bodies_pass_whole_and_as_they_come(tmp_path: Path, redis_url: str, parser: str) -> None:
    large = PIECE * PIECES
    async with a_site(tmp_path, redis_url, AIOHTTP_NO_EXTENSIONS=parser) as site:
        caller = site.bearer(None)
        for target in ("/shop/large", "/shop/large?length"):
            answer = await caller("POST", target, data=io.BytesIO(large))
            assert (answer.body == large, answer.headers["X-Received"]) == (True, str(len(large)))
            assert answer.headers["X-Route"] == "shop"
        async with caller.stream(path="/shop/stream") as stream:
            assert await _data(stream) == 1
            site.shop.sent_on.set()
            assert await _data(stream) == 2
            assert await stream.next() is None
        async with caller.stream(path="/shop/stream") as stream:
            assert await _data(stream) == 1


async def _data(stream: Stream) -> object:
    event = await stream.next()
    return event and event.data


@PARSERS
async def test_a_websocket_passes_both_ways(tmp_path: Path, redis_url: str, parser: str) -> None:
    async with a_site(tmp_path, redis_url, AIOHTTP_NO_EXTENSIONS=parser) as site:
        url = site.base + "/shop/socket"
        async with site.session.ws_connect(url, protocols=("chat",), max_msg_size=0) as socket:
            assert socket.protocol == "chat"
            await socket.send_str("hello")
            assert await socket.receive_str(timeout=10) == "hello"
            await socket.send_bytes(PIECE)
            assert await socket.receive_bytes(timeout=10) == PIECE
            await socket.send_str("bye")
            assert (await socket.receive(timeout=10)).type is WSMsgType.CLOSE
            assert socket.close_code == 4000
        # A handshake that is answered otherwise leaves the connection as it was.
        async with site.connection() as client:
            upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
            key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
            assert (await client.ask("GET", "/shop/x", *upgrade, key)).body == b"GET "
            assert (await client.ask("GET", "/shop/x")).body == b"GET "


async def test_many_clients_at_once(tmp_path: Path, redis_url: str) -> None:
    async with a_site(tmp_path, redis_url) as site:

        async def one(number: int) -> None:
            async with site.connection() as client:
                for size in (0, 1, number * 100):
                    length = f"Content-Length: {size}"
                    answer = await client.ask("PUT", "/shop/x", length, body=b"x" * size)
                    assert answer.body == b"PUT " + b"x" * size

        async with asyncio.TaskGroup() as group:
            for number in range(50):
                group.create_task(one(number))
