"""A tunnel of which the gateway reads the frames: thousands of small ones hold up no other connection."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from gateway.proxy.websocket import Tunnel
from gateway.proxy.websocket_frames import FRAMES_PER_TURN

TURNS = 50
DATA = b"\x89\x00" * (TURNS * FRAMES_PER_TURN)
"""Empty frames."""


class Side:
    """One connection: what is written to it, and whether it is read."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.reading = True
        self.writing_paused = False
        self.transport = self

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


@contextlib.asynccontextmanager
async def running(client: Side, service: Side) -> AsyncIterator[Tunnel]:
    tunnel = Tunnel(cast(Any, client), cast(Any, service), 0.0, closable=True)
    task = asyncio.create_task(tunnel.run())
    # Both directions wait for bytes.
    for _ in range(3):
        await asyncio.sleep(0)
    yield tunnel
    tunnel.end("client")
    await task


@pytest.mark.parametrize("from_client", [True, False])
async def test_small_frames_are_passed_on_over_many_iterations_of_the_loop(from_client: bool) -> None:
    client, service = Side(), Side()
    source, sink = (client, service) if from_client else (service, client)
    async with running(client, service) as tunnel:
        (tunnel.client if from_client else tunnel.service).feed_data(DATA)
        counts = []
        while sum(map(len, sink.written)) < len(DATA):
            await asyncio.sleep(0)
            counts.append(len(sink.written))
            # What waits already is enough.
            assert source.reading == (sum(map(len, sink.written)) > len(DATA) - 64 * 1024)
    assert b"".join(sink.written) == DATA
    assert len(sink.written) == TURNS
    assert all(after - before <= 1 for before, after in itertools.pairwise(counts))


async def test_what_waits_at_the_end_is_passed_on_at_once() -> None:
    client, service = Side(), Side()
    async with running(client, service) as tunnel:
        tunnel.client.feed_data(DATA)
        await asyncio.sleep(0)
        assert len(service.written) <= 1
    assert b"".join(service.written) == DATA
