"""Large bodies pass in both directions in flat memory.

256 MiB each way; GATEWAY_TEST_LARGE_MIB=1024 in the environment makes it 1 GiB.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.proxy.rig import gateway_to
from tests.support.raw_http import READ_BYTES, Peer, Upstream, raw_upstream, request

_MIB = 1024 * 1024
_SIZE = int(os.environ.get("GATEWAY_TEST_LARGE_MIB", "256")) * _MIB
_GROWTH = 64 * _MIB
_PIECE = bytes(range(256)) * (_MIB // 256)
_SECONDS = 120


class Memory:
    """How much this process grows: client, gateway and service are all in it."""

    def __init__(self) -> None:
        self._before = self._now()
        self.grown = 0

    def look(self) -> None:
        self.grown = max(self.grown, self._now() - self._before)

    def must_be_flat(self) -> None:
        print(f"grew by {self.grown / _MIB:.1f} MiB")  # shown by pytest -rP
        assert self.grown < _GROWTH

    @staticmethod
    def _now() -> int:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")


async def _write(peer: Peer, chunked: bool) -> None:
    for _ in range(_SIZE // _MIB):
        peer.send(b"%x\r\n%b\r\n" % (_MIB, _PIECE) if chunked else _PIECE)
        await peer.writer.drain()
    if chunked:
        peer.send(b"0\r\n\r\n")


async def _read(peer: Peer, chunked: bool, memory: Memory) -> int:
    """Reads the body and returns its length. Each byte must be the one that was sent in its place."""
    taken = looked = 0
    while chunked or taken < _SIZE:
        piece = await peer.chunk() if chunked else await peer.reader.read(READ_BYTES)
        if not piece:
            break
        assert piece[0] == taken % 256
        assert piece[-1] == (taken + len(piece) - 1) % 256
        taken += len(piece)
        if taken - looked >= 4 * _MIB:
            looked = taken
            memory.look()
    return taken


@pytest.mark.timeout(_SECONDS)
@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
async def test_a_large_upload_passes_in_flat_memory(chunked: bool) -> None:
    taken = 0

    async def talk(upstream: Upstream, peer: Peer) -> None:
        nonlocal taken
        await peer.head()
        taken = await _read(peer, chunked, memory)
        peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with (
        raw_upstream(talk) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        memory = Memory()
        client.send(request("PUT", "/", _framing(chunked)))
        await _write(client, chunked)
        assert (await client.answer(bodiless=True)).status == 204
    assert taken == _SIZE
    memory.must_be_flat()


@pytest.mark.timeout(_SECONDS)
@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
async def test_a_large_download_passes_in_flat_memory(chunked: bool) -> None:
    async def talk(upstream: Upstream, peer: Peer) -> None:
        await peer.head()
        peer.send(f"HTTP/1.1 200 OK\r\n{_framing(chunked)}\r\n\r\n".encode())
        await _write(peer, chunked)

    async with (
        raw_upstream(talk) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        memory = Memory()
        client.send(request())
        assert (await client.head()).status == 200
        assert await _read(client, chunked, memory) == _SIZE
    memory.must_be_flat()


@pytest.mark.timeout(_SECONDS)
async def test_a_client_that_does_not_read_stops_the_service_instead_of_filling_memory() -> None:
    sent = 0
    stuck = asyncio.Event()

    async def talk(upstream: Upstream, peer: Peer) -> None:
        nonlocal sent
        await peer.head()
        peer.send(f"HTTP/1.1 200 OK\r\n{_framing(False)}\r\n\r\n".encode())
        while sent < _SIZE:
            peer.send(_PIECE)
            try:
                async with asyncio.timeout(0.5):
                    await peer.writer.drain()
            except TimeoutError:
                stuck.set()
                return
            sent += len(_PIECE)

    async with (
        raw_upstream(talk) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        memory = Memory()
        client.writer.transport.pause_reading()
        client.send(request())
        async with asyncio.timeout(_SECONDS / 2):
            await stuck.wait()
        memory.look()
        client.reset()
    assert sent < _SIZE
    memory.must_be_flat()


def _framing(chunked: bool) -> str:
    return "Transfer-Encoding: chunked" if chunked else f"Content-Length: {_SIZE}"
