"""Services that refuse, hang, and break off, while people wait and are let in."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from tests.faults.site import StartSite, memory
from tests.support.gateway import ROUTES
from tests.support.waiting import eventually


class Rude:
    """A service that accepts, reads, and then misbehaves as ``manner`` says."""

    def __init__(self) -> None:
        self.manner = "hang"
        self.asked = 0
        self.open = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            if self.manner == "hang":
                await reader.read()
            elif self.manner == "break off":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")
                await writer.drain()
            elif self.manner == "break off in a chunk":
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nonly this")
                await writer.drain()
            elif self.manner == "say nothing":
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()


@asynccontextmanager
async def rude_service() -> AsyncIterator[Rude]:
    rude = Rude()
    server = await asyncio.start_server(rude.serve, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()[:2]
        rude.url = f"http://{host}:{port}"
        yield rude
        server.close()


def routes_to(rude: str) -> str:
    """The usual routes, reservations being at the rude service."""
    return ROUTES.replace(
        "- id: reservations\n    uri: lb://reservations", f"- id: reservations\n    uri: {rude}"
    )


@pytest.mark.parametrize("manner", ["hang", "break off", "break off in a chunk", "say nothing"])
async def test_a_rude_service_affects_no_other_connection(start_site: StartSite, manner: str) -> None:
    async with (
        rude_service() as rude,
        # A gateway that gets no processor for a second takes that for Redis's silence, which is none of this test's.
        start_site(
            routes=routes_to(rude.url), proxy_response_timeout_seconds=0.7, redis_timeout_seconds=10
        ) as site,
    ):
        rude.manner = manner
        people = await site.crowd(12)
        insider = people[0]
        used = [memory(each) for each in site.gateways]

        async def rudely_served() -> str:
            try:
                answer = await insider.gated()
            except aiohttp.ClientPayloadError:
                return "broken"
            return f"{answer.status} {answer.code}"

        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(rudely_served()) for _ in range(40)]
            # Meanwhile everything else goes on.
            await site.assert_truth(people)
            for base in site.bases():
                assert (await insider.call("GET", "/api/v1/products/1", base=base)).status == 200
        expected = {"hang": "504 UPSTREAM_TIMEOUT", "say nothing": "502 UPSTREAM_UNREACHABLE"}
        told = [line for each in site.gateways for line in each.lines if "Redis" in line]
        assert {call.result() for call in calls} == {expected.get(manner, "broken")}, told
        assert rude.asked == 40
        # The session was renewed by each of these calls, and nothing of them stays.
        await eventually(lambda: rude.open == 0, 3.0, "no connection to the service")
        for each, megabytes in zip(site.gateways, used, strict=True):
            assert memory(each) < megabytes + 20
        await site.assert_moves_on(people)


async def test_a_service_that_refuses_is_said_to_be_away_and_found_again(start_site: StartSite) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        async with start_site(routes=routes_to(f"http://127.0.0.1:{port}")) as site:
            people = await site.crowd(8)
            for base in site.bases():
                answer = await people[0].gated(base=base)
                assert (answer.status, answer.code) == (502, "UPSTREAM_UNREACHABLE")
            await site.assert_truth(people)
            rude = Rude()
            rude.manner = "say nothing"
            server = await asyncio.start_server(rude.serve, sock=sock)
            async with server:
                assert (await people[0].gated()).status == 502
                assert rude.asked == 1
            await site.assert_moves_on(people)
