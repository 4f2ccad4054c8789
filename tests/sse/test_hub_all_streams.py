"""What a hub does to all its streams over time: updates, heartbeats, slow readers, the end."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, cast

import pytest
import uvloop

from gateway.sse import frames
from gateway.sse.hub import OPENED_AT_ONCE, Hub, StreamTimings
from gateway.sse.pacing import SLOTS
from gateway.sse.subscriber import Subscriber
from tests.sse.rig import ALLOWED_IN, NONE, STILL, Event, Line, State, Tab, World, world
from tests.support.waiting import eventually

QUICK = StreamTimings(status_interval=0.1, heartbeat=3600.0, streams_per_user=3)


async def open_many(here: World, count: int) -> list[Tab]:
    """Streams of as many waiting users, each of which has had its first event."""
    here.room.states |= {f"user-{number}": State(ticket=number + 1) for number in range(count)}
    subscribers = [await here.subscriber(f"user-{number}") for number in range(count)]
    for subscriber in subscribers:
        assert (await subscriber.next()).event == "STATUS_UPDATE"
    return subscribers


class TestStatusUpdates:
    async def test_they_come_again_and_again(self) -> None:
        async with world(QUICK) as here:
            here.room.states["kim"] = State(ticket=5, position=2)
            subscriber = await here.subscriber()
            await subscriber.next()
            here.room.states["kim"] = State(ticket=5, position=1)
            while (await subscriber.next()).data["userQueuePosition"] != 1:
                pass
            await subscriber.next()

    async def test_an_admission_with_a_lower_ticket_counts_if_the_state_says_so(self) -> None:
        """The user has got the place of another user."""
        async with world(STILL) as here:
            here.room.states["kim"] = State(ticket=5)
            subscriber = await here.subscriber()
            await subscriber.next()
            here.hub.deliver(Event("kim", 3))
            await eventually(lambda: len(here.room.calls) == 2)
            here.room.states["kim"] = ALLOWED_IN
            here.hub.deliver(Event("kim", 3))
            assert (await subscriber.next()).event == "ALLOWED_IN"

    async def test_the_update_with_a_worse_position_says_why(self) -> None:
        async with world(QUICK) as here:
            here.room.states["kim"] = State(ticket=5, position=2)
            subscriber = await here.subscriber()
            assert "reason" not in (await subscriber.next()).data

            async def next_with(position: int) -> dict[str, object]:
                while (found := (await subscriber.next()).data)["userQueuePosition"] != position:
                    assert "reason" not in found
                return found

            here.room.states["kim"] = State(ticket=5, position=4)
            assert (await next_with(4))["reason"] == "RETURNED"
            assert "reason" not in (await subscriber.next()).data
            # A new ticket is another place.
            here.room.states["kim"] = State(ticket=9, position=8)
            assert "reason" not in await next_with(8)
            here.room.states["kim"] = State(ticket=9, position=3)
            assert "reason" not in await next_with(3)

    async def test_frames_and_streams_are_counted(self) -> None:
        async with world(QUICK) as here:
            subscribers = await open_many(here, 3)
            await eventually(lambda: here.told.written >= 9)
            assert here.told.open == 3
            subscribers[0].close()
            await here.gone(2)

            assert here.told.open == 2

    async def test_a_new_place_in_line_shows_and_events_are_about_that_place(self) -> None:
        async with world(QUICK) as here:
            here.room.states["kim"] = State(ticket=5)
            subscriber = await here.subscriber()
            here.room.states["kim"] = State(ticket=9)
            while (await subscriber.next()).data["ticket"] != 9:
                pass
            here.hub.deliver(Event("kim", 5, "REMOVED", "LEFT"))
            here.hub.deliver(Event("kim", 9))
            blocks = [block for block in await subscriber.rest() if block.event != "STATUS_UPDATE"]

            assert [block.event for block in blocks] == ["ALLOWED_IN"]

    @pytest.mark.parametrize(("state", "told"), [(ALLOWED_IN, "ALLOWED_IN"), (NONE, "ERROR")])
    async def test_status_updates_reconcile_missed_events(self, state: State, told: str) -> None:
        async with world(QUICK) as here:
            (subscriber,) = await open_many(here, 1)
            here.room.states["user-0"] = state

            assert (await subscriber.rest())[-1].event == told

    async def test_a_turn_asks_for_one_slot_of_the_users(self) -> None:
        async with world(QUICK) as here:
            subscribers = await open_many(here, 150)
            here.room.calls.clear()
            await eventually(lambda: sum(map(len, here.room.calls)) >= 300)
            calls = list(here.room.calls)
            del subscribers

        # A slot has at most twice as many users as another one, and one more.
        sizes = {len(call) for call in calls}
        assert max(sizes) <= 2 * min(sizes) + 1
        assert min(sizes) <= 150 / SLOTS <= max(sizes)
        asked = Counter(itertools.chain.from_iterable(calls))
        assert set(asked) == {f"user-{number}" for number in range(150)}
        assert max(asked.values()) - min(asked.values()) <= 1

    async def test_while_the_room_is_away_streams_live_and_afterwards_nothing_bursts(self) -> None:
        async with world(QUICK) as here:
            (subscriber,) = await open_many(here, 1)
            here.room.away = True
            here.told.turns.clear()
            await eventually(lambda: here.told.turns.count("skipped") >= 5)
            here.room.away = False
            here.told.turns.clear()
            loop = asyncio.get_running_loop()
            began = loop.time()
            await eventually(lambda: here.told.turns.count("done") >= 5)

            assert loop.time() - began >= 0.3
            assert (await subscriber.next()).event == "STATUS_UPDATE"

    async def test_a_fault_of_ours_does_not_stop_the_wheel(self, caplog: pytest.LogCaptureFixture) -> None:
        async with world(QUICK) as here:
            (subscriber,) = await open_many(here, 1)
            here.room.broken = True
            await eventually(lambda: "failed" in here.told.turns)
            here.room.broken = False
            here.room.states["user-0"] = ALLOWED_IN

            assert (await subscriber.rest())[-1].event == "ALLOWED_IN"
        assert "a fault of ours" in caplog.text

    async def test_an_admission_does_not_wait_for_a_turn_that_hangs(self) -> None:
        async with world(QUICK) as here:
            (subscriber,) = await open_many(here, 1)
            here.room.open.clear()
            here.room.asked.clear()
            await here.room.asked.wait()
            here.hub.deliver(Event("user-0", 1))

            assert (await subscriber.rest())[-1].event == "ALLOWED_IN"
            here.room.open.set()


class TestHeartbeats:
    async def test_every_stream_gets_the_same_one(self) -> None:
        async with world(StreamTimings(status_interval=3600.0, heartbeat=0.1)) as here:
            *others, last = await open_many(here, 20)
            moment = await _moment(last)
            for subscriber in others:
                # The streams open one after the other, so the first ones may have got some that others have not.
                while (own := await _moment(subscriber)) < moment:
                    pass
                assert own == moment

    async def test_they_go_on_while_the_room_is_away(self) -> None:
        async with world(StreamTimings(status_interval=3600.0, heartbeat=0.05)) as here:
            here.room.away = True
            subscriber = await here.subscriber()

            assert [(await subscriber.next()).event for _ in range(3)] == ["HEARTBEAT"] * 3


async def _moment(subscriber: Tab) -> int:
    """What the next heartbeat says of the time."""
    block = await subscriber.next()
    assert block is not None
    assert block.event == "HEARTBEAT"
    moment = block.data["timestamp"]
    assert isinstance(moment, int)
    return moment


class TestSlowReaders:
    async def test_the_slow_one_alone_is_cut_off_and_the_others_miss_nothing(self) -> None:
        async with world(max_buffer=100_000) as here:
            (subscriber,) = await open_many(here, 1)
            frame = frames.event("FILL", {"text": "x" * 2000})
            sent = 0
            async with here.deaf("deaf"):
                while len(here.hub) == 2:
                    for stream in list(here.hub._registry.subscribers()):
                        here.hub._send(stream, frame)
                    sent += 1
                    assert (await subscriber.next()).event == "FILL"

            assert here.told.log == ["+user-0", "+deaf", "closed", "cut_off", "-deaf"]
            assert sent * 2000 < 1_000_000
            here.hub.deliver(Event("user-0", 1))
            assert [block.event for block in await subscriber.rest()] == ["ALLOWED_IN"]

    async def test_what_waits_for_a_slow_reader_stays_below_the_limit_and_is_freed(self) -> None:
        async with world(max_buffer=50_000) as here, here.deaf("deaf") as (stream, _):
            frame = frames.comment("x" * 1000)
            most = 0
            while stream.write(frame):
                most = max(most, stream._transport.get_write_buffer_size())
                await asyncio.sleep(0)

            assert 50_000 < most <= 50_000 + len(frame.chunked)
            assert stream._transport.get_write_buffer_size() == 0
            await here.gone()


class TestDrain:
    async def test_every_stream_is_asked_to_reconnect_and_ends_without_a_last_event(self) -> None:
        async with world() as here:
            subscribers = await open_many(here, 30)
            await here.hub.drain(0.1)
            ends = [await subscriber.rest() for subscriber in subscribers]

        assert all(len(blocks) == 1 for blocks in ends)
        assert {(block.event, block.last_id, block.comments) for (block,) in ends} == {
            ("", None, ("going away",))
        }
        retries = [block.retry for (block,) in ends if block.retry is not None]
        assert 2000 <= min(retries) < max(retries) <= 10_000
        assert len(set(retries)) > 15

    async def test_it_takes_its_time_evenly(self) -> None:
        async with world() as here:
            await open_many(here, 20)
            draining = asyncio.create_task(here.hub.drain(0.4))
            loop = asyncio.get_running_loop()
            began = loop.time()
            await eventually(lambda: len(here.hub) <= 10)
            half = loop.time() - began
            await draining

            assert half > 0.1
            assert len(here.hub) == 0
            assert here.told.log.count("closed") == 20

    async def test_a_stream_opened_while_draining_is_sent_on(self) -> None:
        async with world() as here:
            await here.hub.drain(0.0)
            here.room.states["kim"] = State()
            subscriber = await here.subscriber()
            (block,) = await subscriber.rest()

            assert (subscriber.status, block.event, len(here.hub)) == (200, "", 0)
            assert here.room.calls == []

    async def test_an_admission_during_it_still_gets_through(self) -> None:
        async with world() as here:
            subscribers = await open_many(here, 5)
            draining = asyncio.create_task(here.hub.drain(0.2))
            await asyncio.sleep(0)
            last = list(here.hub._registry.subscribers())[-1].user
            here.hub.deliver(Event(last, 99))
            await draining
            ends = [(await subscriber.rest())[-1].event for subscriber in subscribers]

        assert sorted(ends) == ["", "", "", "", "ALLOWED_IN"]


async def test_leaving_the_hub_leaves_no_task() -> None:
    async with world() as here:
        async with here.hub.running():
            assert sum("stream-" in task.get_name() for task in asyncio.all_tasks()) == 6
        assert sum("stream-" in task.get_name() for task in asyncio.all_tasks()) == 3
    assert not any("stream-" in task.get_name() for task in asyncio.all_tasks())


class SlowLine(Line):
    """Takes half a millisecond of the loop for each write."""

    def write(self, data: bytes) -> None:
        end = perf_counter() + 0.0005
        while perf_counter() < end:
            pass


def hearten(hub: Hub) -> Awaitable[None]:
    return hub._send_heartbeats(frames.comment(""), hub._registry.subscribers())


@pytest.mark.parametrize("job", [hearten, Hub.reconcile])
async def test_a_long_run_of_writes_leaves_the_loop_to_others_again_and_again(
    job: Callable[[Hub], Awaitable[None]],
) -> None:
    async with world(STILL) as here:
        for number in range(200):
            here.room.states[f"user-{number}"] = State()
            here.hub.join(Subscriber(f"user-{number}", "ko", "ko", SlowLine(), chunked=True, limit=1))
        turns = []

        async def others() -> None:
            while True:
                turns.append(1)
                await asyncio.sleep(0)

        working = asyncio.create_task(others())
        await job(here.hub)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)

    # 200 writes of half a millisecond, given away at least every four (and one more) of those.
    assert len(turns) >= 20


def test_streams_run_on_uvloop_too() -> None:
    async def scenario() -> list[str]:
        async with world(max_buffer=50_000) as here:
            (subscriber,) = await open_many(here, 1)
            async with here.deaf("deaf") as (slow, _):
                while slow.write(frames.comment("x" * 1000)):
                    await asyncio.sleep(0)
                await here.gone(1)
            here.hub.deliver(Event("user-0", 1))
            return [block.event for block in await subscriber.rest()] + here.told.log

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        told = runner.run(scenario())

    assert told[0] == "ALLOWED_IN"
    assert "cut_off" in told


async def test_of_thousands_of_late_answers_only_some_are_begun_in_each_iteration_of_the_loop() -> None:
    class Late:
        def flush(self) -> None:
            begun.append(self)

    begun: list[Late] = []
    async with world(STILL) as here:
        here.hub._opening |= cast(Any, {Late() for _ in range(3 * OPENED_AT_ONCE + 1)})
        here.hub._open_overdue()
        most = len(begun)
        async with asyncio.timeout(5):
            while here.hub._opening:
                before = len(begun)
                await asyncio.sleep(0)
                most = max(most, len(begun) - before)
    assert most == OPENED_AT_ONCE
    assert len(set(begun)) == 3 * OPENED_AT_ONCE + 1
