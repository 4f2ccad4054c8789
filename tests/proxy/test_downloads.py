"""Slow readers: which are counted, how many may keep a service waiting, and what becomes of one more."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from gateway.proxy import downloads as downloading
from gateway.proxy.downloads import DownloadLimits, Downloads
from gateway.proxy.response import ForwardedResponse
from gateway.server import tcp_acknowledged as acknowledging
from tests.proxy.rig import Gateway, gateway_to
from tests.support.raw_http import Peer, Talk, Upstream, raw_upstream, request
from tests.support.waiting import eventually

PIECE = b"x" * 65536
PIECES = 384
"""More than the systems of a service, the gateway and a client hold between them."""


def giving(pieces: int = PIECES, head: bytes = b"Content-Length: %d\r\n" % (PIECES * len(PIECE))) -> Talk:
    """A service with a long answer."""

    async def talk(upstream: Upstream, peer: Peer) -> None:
        upstream.heads.append(await peer.head())
        peer.send(b"HTTP/1.1 200 OK\r\n%b\r\n" % head)
        for _ in range(pieces):
            peer.send(PIECE)
            await peer.writer.drain()
        upstream.bodies.append(b"all")

    return talk


@asynccontextmanager
async def reader_of(
    gateway: Gateway, version: str = "1.1"
) -> AsyncIterator[Callable[[int], asyncio.Future[bytes]]]:
    """Asks for the answer, with a small buffer. Yields what takes so many bytes of it."""
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", gateway.port))
        await loop.sock_sendall(sock, request(version=version))
        yield lambda size: asyncio.ensure_future(loop.sock_recv(sock, size))


async def everything(take: Callable[[int], asyncio.Future[bytes]]) -> None:
    while await take(1 << 20):
        pass


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A download is slow after a fifth of a second."""
    monkeypatch.setattr(downloading, "LEAD_SECONDS", 0.2)


@pytest.mark.parametrize("told", [True, False], ids=["acknowledged", "only the size of the buffer"])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_one_slow_download_too_many_is_broken_off(
    soon: None, monkeypatch: pytest.MonkeyPatch, version: str, told: bool
) -> None:
    if not told:
        monkeypatch.setattr(acknowledging, "_TCP_INFO", None)
    downloads = Downloads(DownloadLimits(per_service=1))
    unframed = b"" if version == "1.0" else b"Content-Length: %d\r\n" % (PIECES * len(PIECE))
    async with (
        raw_upstream(giving(head=unframed)) as upstream,
        gateway_to(upstream.base, downloads=downloads, client="192.0.2.1") as gateway,
        reader_of(gateway),
    ):
        await eventually(lambda: downloads.by_service == {upstream.base: 1})
        assert downloads.by_client == {"192.0.2.1": 1}
        async with reader_of(gateway, version) as take:
            outcome = await gateway.outcome()
            assert isinstance(outcome, asyncio.CancelledError | ForwardedResponse)
            if version == "1.0":
                # Nothing else says that not all is there.
                with pytest.raises(ConnectionResetError):
                    await everything(take)
        assert downloads.by_service == {upstream.base: 1}
    assert downloads.by_service == downloads.by_client == {}


async def test_clients_count_for_themselves_and_an_ipv6_network_as_one(soon: None) -> None:
    downloads = Downloads(DownloadLimits(per_client=1))
    async with contextlib.AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(raw_upstream(giving()))
        for client in ("2001:db8::1", "2001:db8::2", "192.0.2.1"):
            gateway = await stack.enter_async_context(
                gateway_to(upstream.base, downloads=downloads, client=client)
            )
            await stack.enter_async_context(reader_of(gateway))
            if client == "2001:db8::2":
                await gateway.outcome()
            else:
                await eventually(lambda: client.partition("::1")[0] in str(downloads.by_client))  # noqa: B023
        assert downloads.by_client == {"2001:db8::": 1, "192.0.2.1": 1}
        assert downloads.by_service == {upstream.base: 2}
    assert downloads.by_service == downloads.by_client == {}


async def test_a_client_at_full_speed_is_never_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though its socket, which holds megabytes, has no room for seconds."""
    monkeypatch.setattr(downloading, "LEAD_SECONDS", 1.0)
    monkeypatch.setattr(downloading, "FULL_SPEED", 20_000)
    downloads = Downloads(DownloadLimits(per_client=0, per_service=0))
    async with (
        raw_upstream(giving()) as upstream,
        gateway_to(upstream.base, downloads=downloads) as gateway,
        reader_of(gateway) as take,
    ):
        for _ in range(120):
            assert await take(8192)
            await asyncio.sleep(0.02)
        assert gateway.outcomes.empty()


async def test_a_slow_download_that_gets_faster_is_counted_no_longer(soon: None) -> None:
    downloads = Downloads()
    async with (
        raw_upstream(giving()) as upstream,
        gateway_to(upstream.base, downloads=downloads) as gateway,
        reader_of(gateway) as take,
    ):
        await eventually(lambda: downloads.by_service)
        took = 0
        while downloads.by_service:
            took += len(await take(1 << 20))
        assert downloads.by_client == {}
        assert took < PIECES * len(PIECE)


async def test_what_the_service_has_sent_to_its_end_is_not_counted(soon: None) -> None:
    downloads = Downloads()
    async with (
        raw_upstream(giving()) as upstream,
        gateway_to(upstream.base, downloads=downloads) as gateway,
        reader_of(gateway) as take,
    ):
        await eventually(lambda: downloads.by_service)
        took, total = 0, PIECES * len(PIECE)
        while downloads.by_service:
            goal = took + (2 << 20)
            while took < goal:
                took += len(await take(goal - took))
            # Time enough to be slow again.
            await asyncio.sleep(0.3)
        # The client takes nothing, but all that is left is in the gateway's own hands.
        assert took < total
        while took < total:
            took += len(await take(1 << 20))
        answer = await gateway.outcome()
        assert isinstance(answer, web.StreamResponse)
        assert answer.body_length == total
