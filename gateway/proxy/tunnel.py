"""A tunnel: bytes both ways between a client and a service that have agreed on another protocol (WebSocket).

Nothing of it is read or changed. Each direction has a bound: while the one side does not take what was written for
it, nothing is read from the other.

Inner parts relied on, all of aiohttp 3.14: what protocols call behind ``set_parser`` (``feed_data``, ``feed_eof``),
as if an ``End`` were its own WebSocket reader; ``pause_reading``, ``resume_reading`` and ``_drain_helper``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp.base_protocol import BaseProtocol

# What may wait on its way in one direction is this, what one read of a socket brings, and what asyncio takes before it
# says that a socket is slow (64 KiB): about 400 KB.
_WAITING_BYTES = 64 * 1024


class End:
    """One end of a tunnel: what came from it and waits to be passed on. ``heard`` is called when something comes."""

    def __init__(self, protocol: BaseProtocol, heard: Callable[[], None]) -> None:
        self._protocol = protocol
        self._heard = heard
        self._pieces: list[bytes] = []
        self._size = 0
        self._held = False
        self._ended = False
        self._came = asyncio.Event()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Takes what came. Called by aiohttp, which is told that more may come and nothing is left over."""
        if data and not self._ended:
            self._heard()
            self._pieces.append(data)
            self._size += len(data)
            self._came.set()
            if self._size >= _WAITING_BYTES and not self._held:
                self._held = True
                self._protocol.pause_reading()
        return False, b""

    def feed_eof(self) -> None:
        """Nothing more will come."""
        self._ended = True
        self._came.set()

    def rest(self) -> bytes:
        """All that waits; more may come then."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        if self._held:
            self._held = False
            self._protocol.resume_reading()
        return data

    async def read(self) -> bytes:
        """What waits, as soon as there is something; empty at the end."""
        while not self._pieces and not self._ended:
            self._came.clear()
            await self._came.wait()
        return self.rest()

    def push(self, data: bytes) -> bool:
        """Writes without waiting. Returns whether there is still somebody to write to."""
        transport = self._protocol.transport
        if transport is None or transport.is_closing():
            return False
        if data:
            transport.write(data)
        return True

    async def drain(self) -> None:
        """Waits until enough of what was written has been taken. Raises ConnectionError if it can't be any more."""
        if self._protocol.writing_paused:
            await self._protocol._drain_helper()


class Tunnel:
    """Two ends, connected until ``end`` is called, one of them has ended, or both were silent for ``idle`` seconds
    (0: however long)."""

    def __init__(self, client: BaseProtocol, service: BaseProtocol, idle: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.client = End(client, self._note)
        self.service = End(service, self._note)
        self.sent = 0
        """How many bytes went to the client."""
        self._idle = idle
        self._last = self._loop.time()
        self._over: asyncio.Future[str] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None

    def end(self, by: str) -> None:
        """Ends it; the first ``by`` counts."""
        if not self._over.done():
            self._over.set_result(by)

    async def run(self) -> str:
        """Passes on until it is over. Returns by what. What has come by then still goes out."""
        if self._idle:
            self._timer = self._loop.call_later(self._idle, self._look)
        try:
            async with asyncio.TaskGroup() as group:
                pumps = (
                    group.create_task(self._pump(self.client, self.service, "client", "service")),
                    group.create_task(self._pump(self.service, self.client, "service", "client")),
                )
                try:
                    return await self._over
                finally:
                    for pump in pumps:
                        pump.cancel()
        finally:
            if self._timer is not None:
                self._timer.cancel()
            for source, sink in ((self.client, self.service), (self.service, self.client)):
                source.feed_eof()
                sink.push(source.rest())

    async def _pump(self, source: End, sink: End, source_name: str, sink_name: str) -> None:
        by = sink_name
        try:
            while data := await source.read():
                if not sink.push(data):
                    break
                if sink is self.client:
                    self.sent += len(data)
                await sink.drain()
            else:
                by = source_name
        except ConnectionError:
            pass
        finally:
            self.end(by)

    def _note(self) -> None:
        self._last = self._loop.time()

    def _look(self) -> None:
        left = self._last + self._idle - self._loop.time()
        if left <= 0:
            self.end("idle")
        else:
            self._timer = self._loop.call_later(left, self._look)
