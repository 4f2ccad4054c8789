"""A stream on its own connection: what the client sends, how it ends, and how long it may take."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest
import uvloop
from aiohttp import web

from gateway.server.limits import ConnectionLimits
from gateway.sse import frames, protocol
from gateway.sse.protocol import MAX_RECEIVED_BYTES
from gateway.sse.response import EventStream
from gateway.sse.subscriber import Subscriber
from tests.sse.rig import ALLOWED_IN, Event, State, Tab, World, world
from tests.support.waiting import eventually

REQUEST = b"GET /stream?user=ann HTTP/1.1\r\nHost: test\r\n\r\n"
QUICK = ConnectionLimits(slow_client_seconds=0.2, slow_client_rate=0, linger_seconds=0.2)
LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]


async def opened(here: World, user: str = "kim", version: str = "1.1") -> Tab:
    """A stream of a waiting user that has had its first event."""
    here.room.states[user] = State(ticket=5)
    subscriber = await here.subscriber(user, version)
    assert (await subscriber.next()).event == "STATUS_UPDATE"
    return subscriber


def behind(stream: Subscriber) -> None:
    """Writes to the stream of a client that does not read, until bytes wait here."""
    while not stream._transport.get_write_buffer_size() > 100_000:
        assert stream.write(frames.comment("x" * 10_000))


class TestWhatTheClientSends:
    @pytest.mark.parametrize("pieces", [[REQUEST], [REQUEST[:20], REQUEST[20:]], [b"no request\r\n\r\n"]])
    async def test_it_is_dropped_and_the_stream_goes_on_to_its_last_frame(self, pieces: list[bytes]) -> None:
        async with world() as here:
            subscriber = await opened(here)
            (stream,) = here.hub._registry.subscribers()
            for piece in pieces:
                before = stream._received
                subscriber._writer.write(piece)
                await eventually(lambda before=before: stream._received > before)
            here.hub.deliver(Event("kim", 5))

            assert [block.event for block in await subscriber.rest()] == ["ALLOWED_IN"]
            assert await subscriber.closed()
            assert ["ann"] not in here.room.calls
            subscriber.close()
            await eventually(lambda: bool(here.ended))
            assert here.ended[0][2] == ""

    async def test_a_request_in_the_same_piece_is_not_answered(self) -> None:
        async with world() as here:
            here.room.states["kim"] = ALLOWED_IN
            reader, writer = await asyncio.open_connection(*here.address)
            writer.write(REQUEST.replace(b"ann", b"kim") + REQUEST)
            answer = await reader.read()
            writer.close()

        assert answer.count(b"HTTP/1.1 200 OK") == 1
        assert answer.endswith(b"0\r\n\r\n")
        assert here.room.calls == [["kim"]]

    async def test_a_body_that_comes_late_is_dropped(self) -> None:
        async with world() as here:
            here.room.states["kim"] = State(ticket=5)
            reader, writer = await asyncio.open_connection(*here.address)
            writer.write(b"GET /stream?user=kim HTTP/1.1\r\nHost: t\r\nContent-Length: 5000\r\n\r\nfirst")
            await reader.readuntil(b"STATUS_UPDATE")
            writer.write(b"x" * 4995)
            (stream,) = here.hub._registry.subscribers()
            await eventually(lambda: stream._received == 4995)
            here.hub.deliver(Event("kim", 5))

            assert (await reader.read()).endswith(b"0\r\n\r\n")
            writer.close()

    async def test_of_a_client_that_sends_much_no_more_is_read_and_it_gets_its_last_frame(self) -> None:
        async with world(limits=QUICK) as here:
            subscriber = await opened(here)
            (stream,) = here.hub._registry.subscribers()
            subscriber._writer.write(b"x" * 8 * 1024 * 1024)
            await eventually(lambda: stream._received > MAX_RECEIVED_BYTES)
            received = stream._received
            await asyncio.sleep(0)
            assert stream._received == received < 4 * MAX_RECEIVED_BYTES + 256 * 1024
            here.hub.deliver(Event("kim", 5))

            assert [block.event for block in await subscriber.rest()] == ["ALLOWED_IN"]
            subscriber.close()
            await eventually(lambda: bool(here.ended))

    async def test_one_whose_connection_aiohttp_had_stopped_reading_is_noticed_as_well(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        start = EventStream.start

        async def paused(self: EventStream, request: web.BaseRequest, **options: Any) -> object:
            # As aiohttp does for a body that the handler does not read.
            assert request.transport is not None
            request.transport.pause_reading()
            return await start(self, request, **options)

        monkeypatch.setattr(EventStream, "start", paused)
        async with world() as here:
            subscriber = await opened(here)
            subscriber.close()
            await here.gone()

            assert here.told.log == ["+kim", "closed", "-kim"]

    async def test_a_client_that_is_still_sending_gets_time_to_read_the_end(self) -> None:
        async with world(limits=QUICK) as here:
            subscriber = await opened(here)
            (stream,) = here.hub._registry.subscribers()
            subscriber._writer.write(b"x")
            await eventually(lambda: stream._received == 1)
            here.hub.deliver(Event("kim", 5))
            # Closed, it would answer what still comes with a reset.
            assert not stream._transport.is_closing()
            subscriber._writer.write(b"x" * 1000)

            assert [block.event for block in await subscriber.rest()] == ["ALLOWED_IN"]
            # The client does not close, but the gateway does.
            await eventually(lambda: not here.connections)
            assert here.ended[0][2] == ""


class TestTheEnd:
    async def test_a_client_that_closes_leaves_the_hub_at_once(self) -> None:
        async with world() as here:
            subscriber = await opened(here)
            (stream,) = here.hub._registry.subscribers()
            subscriber.close()
            await here.gone()
            await eventually(lambda: bool(here.ended))

            assert here.ended == [(True, stream.sent, "aborted")]
            assert stream.ended == "gone"
            assert here.told.log == ["+kim", "closed", "-kim"]

    async def test_half_a_close_is_a_close(self) -> None:
        async with world() as here:
            subscriber = await opened(here)
            subscriber._writer.write_eof()

            assert await subscriber.closed()
            await here.gone()
            await eventually(lambda: bool(here.ended))
            assert here.ended[0][2] == "aborted"

    async def test_a_reset_is_noticed_at_once(self) -> None:
        async with world() as here:
            subscriber = await opened(here)
            sock = subscriber._writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            subscriber._writer.transport.abort()
            await here.gone()
            await eventually(lambda: bool(here.ended))

            assert (len(here.ended), here.ended[0][2]) == (1, "aborted")

    async def test_a_client_that_goes_before_the_first_event_gets_nothing(self) -> None:
        async with world() as here:
            here.room.states["kim"] = State()
            here.room.open.clear()
            _, writer = await asyncio.open_connection(*here.address)
            writer.write(REQUEST.replace(b"ann", b"kim"))
            await here.room.asked.wait()
            writer.transport.abort()
            await here.gone()
            here.room.open.set()
            await eventually(lambda: bool(here.ended))

            assert here.ended == [(False, 0, "aborted")]

    @pytest.mark.parametrize("stream_limit", [0, 10])
    async def test_a_full_hub_or_a_draining_one_ends_the_connection_too(self, stream_limit: int) -> None:
        async with world(stream_limit=stream_limit) as here:
            here.room.states["kim"] = State()
            if stream_limit:
                await here.hub.drain(0.0)
            subscriber = await here.subscriber()

            assert len(await subscriber.rest()) == 1
            assert await subscriber.closed()
            await eventually(lambda: bool(here.ended))
            assert here.ended[0][2] == ""

    async def test_over_http_1_0_a_stream_leaves_aiohttp_too(self) -> None:
        async with world() as here:
            subscriber = await opened(here, version="1.0")
            await eventually(lambda: not here.server.connections)
            assert len(here.connections) == 1
            here.hub.deliver(Event("kim", 5))

            assert [block.event for block in await subscriber.rest()] == ["ALLOWED_IN"]


class TestSlowClients:
    @pytest.mark.parametrize("loop_factory", LOOPS)
    def test_one_that_takes_nothing_is_cut_off_in_time(
        self, loop_factory: Callable[[], asyncio.AbstractEventLoop]
    ) -> None:
        async def scenario() -> None:
            async with world(max_buffer=10_000_000, limits=QUICK) as here, here.deaf("deaf") as (stream, _):
                behind(stream)
                await here.gone()
                await eventually(lambda: bool(here.ended))

                assert here.ended[0][2] == "aborted"
                assert "cut_off" in here.told.log

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(scenario())

    @pytest.mark.parametrize("loop_factory", LOOPS)
    def test_one_that_does_not_take_its_last_frame_is_cut_off_and_logged_as_such(
        self, loop_factory: Callable[[], asyncio.AbstractEventLoop]
    ) -> None:
        async def scenario() -> None:
            async with world(max_buffer=10_000_000, limits=QUICK) as here, here.deaf("deaf") as (stream, _):
                behind(stream)
                here.hub.deliver(Event("deaf", 99))
                assert len(here.hub) == 0
                assert len(here.connections) == 1
                await eventually(lambda: bool(here.ended))

                assert here.ended[0][2] == "aborted"
                assert not here.connections

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(scenario())

    async def test_one_for_whom_little_waits_is_cut_off_behind_the_last_frame_too(self) -> None:
        async with world(max_buffer=10_000_000, limits=QUICK) as here, here.deaf("deaf") as (stream, _):
            while not stream._transport.get_write_buffer_size():
                assert stream.write(frames.comment("x" * 1000))
            assert stream._timer is None
            here.hub.deliver(Event("deaf", 99))
            await eventually(lambda: bool(here.ended))

            assert here.ended[0][2] == "aborted"

    async def test_one_that_resets_before_it_has_its_last_frame_is_logged_as_such(self) -> None:
        async with world(max_buffer=10_000_000) as here, here.deaf("deaf") as (stream, sock):
            behind(stream)
            here.hub.deliver(Event("deaf", 99))
            assert stream.completed
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
            await eventually(lambda: bool(here.ended))

            assert here.ended[0][2] == "aborted"

    async def test_one_that_is_behind_but_reads_gets_all_to_the_last_frame(self) -> None:
        limits = ConnectionLimits(slow_client_seconds=5.0, slow_client_rate=0)
        async with world(max_buffer=10_000_000, limits=limits) as here, here.deaf("kim") as (stream, sock):
            for _ in range(400):
                assert stream.write(frames.comment("x" * 10_000))
            here.hub.deliver(Event("kim", 99))
            loop = asyncio.get_running_loop()
            received, tail = 0, b""
            while piece := await loop.sock_recv(sock, 1 << 20):
                received += len(piece)
                tail = (tail + piece)[-200:]
            await eventually(lambda: bool(here.ended))

            assert received > 4_000_000
            assert tail.endswith(b"\n\n\r\n0\r\n\r\n")
            assert here.ended[0][2] == ""

    async def test_one_that_takes_most_of_it_in_time_stays(self) -> None:
        limits = ConnectionLimits(slow_client_seconds=1.0, slow_client_rate=0)
        async with world(max_buffer=10_000_000, limits=limits) as here, here.deaf("kim") as (stream, sock):
            behind(stream)
            assert stream._timer is not None
            loop = asyncio.get_running_loop()
            while stream._transport.get_write_buffer_size():
                await loop.sock_recv(sock, 1 << 20)
            await eventually(lambda: stream._timer is None)

            assert not stream.ended
            assert stream.write(frames.comment("on"))

    @pytest.mark.parametrize(("seconds", "end"), [(60.0, ""), (0.0, "aborted")])
    async def test_over_tls_one_that_took_all_late_is_not_waited_for(
        self, monkeypatch: pytest.MonkeyPatch, seconds: float, end: str
    ) -> None:
        """Such a client never says that it ends the connection. In the second case its time is over before."""
        unsent = [100, 100, 0]
        monkeypatch.setattr(protocol, "over_tls", lambda _: True)
        monkeypatch.setattr(protocol, "unsent_bytes", lambda _: unsent.pop(0))
        limits = ConnectionLimits(slow_client_seconds=seconds, slow_client_rate=0, linger_seconds=0.05)
        async with world(max_buffer=10_000_000, limits=limits) as here, here.deaf("kim") as (stream, _):
            stream._transport.set_write_buffer_limits(1 << 30)
            behind(stream)
            here.hub.deliver(Event("kim", 99))
            await eventually(lambda: bool(here.ended))

            assert here.ended[0][2] == end
            assert len(unsent) == (2 if end else 0)

    async def test_the_lowest_rate_that_is_served_gives_time_for_what_waits(self) -> None:
        limits = ConnectionLimits(slow_client_seconds=2.0, slow_client_rate=1000)
        async with world(max_buffer=10_000_000, limits=limits) as here, here.deaf("kim") as (stream, _):
            behind(stream)
            waiting = stream._transport.get_write_buffer_size()

            assert stream._write_seconds() == 2.0 + waiting / 1000


async def test_an_open_stream_has_no_dictionary_and_no_timer() -> None:
    async with world() as here:
        await opened(here)
        (stream,) = here.hub._registry.subscribers()

        assert not hasattr(stream, "__dict__")
        assert stream._timer is None


@pytest.mark.parametrize("loop_factory", LOOPS)
def test_all_of_it_works_on_both_loops(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def scenario() -> None:
        async with world() as here:
            kim, ann = await opened(here), await opened(here, "ann")
            await eventually(lambda: not here.server.connections)
            here.hub.deliver(Event("kim", 5))
            assert [block.event for block in await kim.rest()] == ["ALLOWED_IN"]
            assert await kim.closed()
            ann._writer.write(REQUEST)
            await eventually(lambda: all(stream._received for stream in here.hub._registry.subscribers()))
            await here.hub.drain(0.0)
            assert [block.event for block in await ann.rest()] == [""]
            assert await ann.closed()
            ann.close()
            await eventually(lambda: len(here.ended) == 2)
            assert {end for _, _, end in here.ended} == {""}

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())
