"""One room as Python offers it: what is batched, what is finished by itself, what is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from gateway.errors import QueueUnavailable
from gateway.waiting_room.events import RoomEvent
from gateway.waiting_room.link import Redis
from gateway.waiting_room.room import Limits, Room
from gateway.waiting_room.rooms import Rooms
from gateway.waiting_room.state import Kind, Left, Summary
from tests.conftest import StartRedis


class Watcher:
    """Remembers what a room tells."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.lineups = 0

    def on_call(self, script: str, _seconds: float, size: int, _failed: bool, /) -> None:
        self.calls.append((script, size))

    def on_summary(self, _room: str, summary: Summary, /) -> None:
        self.lineups += summary.lineups


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


@pytest.fixture
async def room(redis_url: str, watcher: Watcher) -> AsyncIterator[Room]:
    rooms = Rooms(Redis(redis_url, 1.0), observer=watcher)
    await rooms.provide({"default": Limits(2, 60)})
    async with rooms.running():
        yield rooms["default"]


async def test_who_comes_at_once_is_sent_together_and_in_order(room: Room, watcher: Watcher) -> None:
    states = await asyncio.gather(*(room.lineup(f"u{number}") for number in range(600)))
    assert [state.kind for state in states[:3]] == [Kind.ADMITTED, Kind.ADMITTED, Kind.WAITING]
    assert [state.ticket for state in states[2:]] == list(range(1, 599))
    sizes = [size for script, size in watcher.calls if script == "lineup"]
    assert len(sizes) <= 4
    assert max(sizes) == 256
    assert watcher.lineups == 598


async def test_two_thousand_at_two_instances_fill_exactly_the_room(redis_url: str) -> None:
    instances = [Rooms(Redis(redis_url, 2.0)) for _ in range(2)]
    for rooms in instances:
        await rooms.provide({"default": Limits(100, 60)})
    async with instances[0].running(), instances[1].running():
        states = await asyncio.gather(
            *(instances[number % 2]["default"].lineup(f"u{number}") for number in range(2000))
        )
    assert sum(state.allowed_in for state in states) == 100
    assert sorted(state.ticket for state in states if state.waiting) == list(range(1, 1901))


async def test_more_than_one_call_may_admit_is_finished_by_itself(room: Room) -> None:
    await asyncio.gather(*(room.lineup(f"u{number}") for number in range(700)))
    assert (await room.set_limits(capacity=1000)).more
    async with asyncio.timeout(5):
        while (await room.overview()).waiting:
            await asyncio.sleep(0.005)
    assert (await room.overview()).allowed_in == 700


async def test_leaving_says_what_was_given_up(room: Room) -> None:
    for user in ("in-1", "in-2", "waiting"):
        await room.lineup(user)
    assert await room.leave("waiting", "slot") is Left.NOTHING
    assert await room.leave("waiting", "line") is Left.PLACE
    assert await room.leave("in-1", "both") is Left.SLOT
    assert await room.remove(["in-2", "nobody"]) == [Left.SLOT, Left.NOTHING]


async def test_asking_for_others_is_bounded_and_no_sighting(room: Room, redis_url: str) -> None:
    for user in ("in-1", "in-2", "waiting"):
        await room.lineup(user)
    states = await room.statuses(["waiting", "in-1", "nobody"])
    assert [state.kind for state in states] == [Kind.WAITING, Kind.ALLOWED_IN, Kind.NONE]
    with pytest.raises(ValueError, match="at most 256"):
        await room.statuses(["u"] * 257)


async def test_the_gate_renews_and_refuses(room: Room) -> None:
    for user in ("in-1", "in-2", "waiting"):
        await room.lineup(user)
    assert (await room.enter("in-1")).allowed_in
    refused = await room.enter("waiting")
    assert (refused.waiting, refused.position) == (True, 1)
    assert (await room.enter("nobody")).kind is Kind.NONE


async def test_an_estimate_is_given_once_something_was_measured(room: Room) -> None:
    await asyncio.gather(*(room.lineup(f"u{number}") for number in range(10)))
    assert (await room.status("u9")).estimated_wait is None
    for number in range(2):
        await asyncio.sleep(0.2)
        await room.leave(f"u{number}", "slot")
    estimate = (await room.status("u9")).estimated_wait
    assert estimate is not None
    assert 0 < estimate < 5


async def test_a_failed_batch_is_told_to_each_and_leaves_the_next_unharmed(start_redis: StartRedis) -> None:
    server = start_redis()
    rooms = Rooms(Redis(server.url, 0.5))
    await rooms.provide({"default": Limits(2, 60)})
    async with rooms.running():
        room = rooms["default"]
        await room.lineup("before")
        server.freeze()
        errors: Sequence[object] = await asyncio.gather(
            *(room.status(f"u{number}") for number in range(5)), return_exceptions=True
        )
        assert all(isinstance(error, QueueUnavailable) for error in errors)
        assert len({id(error) for error in errors}) == 5
        server.thaw()
        assert (await room.status("before")).allowed_in


async def test_events_name_the_ticket_they_are_about(redis_url: str) -> None:
    heard: asyncio.Queue[RoomEvent] = asyncio.Queue()

    def hear(events: Sequence[RoomEvent]) -> None:
        for event in events:
            heard.put_nowait(event)

    rooms = Rooms(Redis(redis_url, 1.0), on_events=hear)
    await rooms.provide({"default": Limits(1, 60)})
    async with rooms.running():
        await rooms.subscription.listening.wait()
        room = rooms["default"]
        for user in ("in", "ann", "bob"):
            await room.lineup(user)
        await room.leave("bob", "line")
        await room.leave("in", "slot")
        async with asyncio.timeout(5):
            first, second = await heard.get(), await heard.get()
    assert (first.user, first.ticket, first.kind, first.reason) == ("bob", 2, "REMOVED", "LEFT")
    assert (second.user, second.ticket, second.kind, second.expires_in) == ("ann", 1, "ADMITTED", 60.0)
