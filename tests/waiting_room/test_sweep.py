"""The sweep of each second."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from redis.asyncio import Redis as Client

from gateway.errors import QueueUnavailable
from gateway.settings.redis_address import Node
from gateway.waiting_room.configured import ConfiguredLimits
from gateway.waiting_room.keys import RoomKeys
from gateway.waiting_room.redis.connection import Redis, RedisConnection
from gateway.waiting_room.room import Room
from gateway.waiting_room.sweep import MAX_SWEEPS, PERIOD_MS, Sweeper, SweepLock
from tests.waiting_room.rooms import SCRIPTS, make_room

LOCK = RoomKeys("", "default").sweep_lock


@pytest.fixture
def lock(link: RedisConnection) -> SweepLock:
    return SweepLock(link, SCRIPTS, LOCK, PERIOD_MS)


async def test_one_of_several_instances_sweeps_a_second(run_rooms: Callable[..., Any], redis: Client) -> None:
    swept: list[float] = []
    elsewhere: list[str] = []
    three = asyncio.Event()

    def on_sweep(room: str, outcome: str) -> None:
        if outcome != "ok":
            elsewhere.append(outcome)
            return
        swept.append(time.time())
        if len(swept) >= 3:
            three.set()

    for _ in range(4):
        await run_rooms(on_sweep=on_sweep)
    async with asyncio.timeout(20):
        await three.wait()
    assert all(later - earlier > 0.5 for earlier, later in itertools.pairwise(swept))
    assert await redis.exists(LOCK)
    assert set(elsewhere) == {"elsewhere"}


async def test_a_turn_sweeps_every_room_until_nothing_is_left(
    place: Redis, lock: SweepLock, redis: Client
) -> None:
    rooms = [make_room(place, name, capacity=1000) for name in ("default", "vip")]
    async with rooms[0].running(), rooms[1].running():
        for room in rooms:
            await redis.zadd(room.keys.line, {f"u{n}": n + 1 for n in range(900)})
        await Sweeper(lambda: rooms, lock).tick()
        for room in rooms:
            assert await redis.zcard(room.keys.line) == 0
            assert await redis.hlen(room.keys.inside) == 900


async def test_without_the_lock_nothing_is_done(place: Redis, lock: SweepLock, redis: Client) -> None:
    await redis.set(LOCK, "somebody else's", px=5_000)
    heard: list[tuple[str, str]] = []
    room = make_room(place)
    await Sweeper(lambda: [room], lock, lambda *told: heard.append(told)).tick()
    assert await redis.get(LOCK) == "somebody else's"
    assert heard == [("default", "elsewhere")]
    assert not await redis.exists(room.keys.watch)


async def test_a_turn_that_lasts_holds_the_lock_on_and_one_that_lost_it_stops(
    place: Redis, lock: SweepLock, redis: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.waiting_room.sweep.PERIOD_MS", 0)
    room = make_room(place, capacity=5000)
    async with room.running():
        await redis.zadd(room.keys.line, {f"u{n}": n + 1 for n in range(2000)})
        swept = room.sweep
        calls = 0

        async def sweep(scan: int = 0) -> Any:
            nonlocal calls
            calls += 1
            summary = await swept(scan)
            assert await redis.pttl(LOCK) > 0
            if calls == 3:
                await redis.set(LOCK, "somebody else's", px=5_000)
            return summary

        monkeypatch.setattr(room, "sweep", sweep)
        # Nobody but this turn may finish the work here.
        monkeypatch.setattr(room, "_unfinished", asyncio.Event())
        await Sweeper(lambda: [room], lock).tick()
        assert calls == 3
        assert await redis.get(LOCK) == "somebody else's"


async def test_a_room_with_unusable_keys_does_not_cost_the_others_their_sweep(
    place: Redis, lock: SweepLock, redis: Client
) -> None:
    bad, good = make_room(place, "bad"), make_room(place, "good")
    async with bad.running(), good.running():
        await redis.lpush(bad.keys.line, "x")
        await Sweeper(lambda: [bad, good], lock).tick()
        assert await redis.hexists(good.keys.watch, "swept_at")
        assert not await redis.exists(bad.keys.watch)


async def test_a_turn_does_not_begin_while_the_last_one_is_under_way(
    lock: SweepLock, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    swept = room.sweep

    async def slow_sweep(scan: int = 0) -> Any:
        assert not begun.is_set()
        begun.set()
        await go_on.wait()
        return await swept(scan)

    monkeypatch.setattr(room, "sweep", slow_sweep)
    sweeper = Sweeper(lambda: [room], lock)
    first = asyncio.create_task(sweeper.tick())
    await begun.wait()
    await sweeper.tick()
    go_on.set()
    await first


async def test_the_end_waits_for_the_turn_under_way(
    lock: SweepLock, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def endless_sweep(scan: int = 0) -> Any:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    monkeypatch.setattr(room, "sweep", endless_sweep)
    async with Sweeper(lambda: [room], lock).running():
        await asyncio.wait_for(begun.wait(), 10)
    assert ended.is_set()


async def test_a_redis_that_is_away_costs_one_turn_only(start_redis: Any) -> None:
    server = start_redis()
    place = Redis(server.url, 1)
    one = place.link()
    lock = SweepLock(one, SCRIPTS, LOCK, PERIOD_MS)
    room = make_room(place)
    swept: list[bool] = []
    sweeper = Sweeper(lambda: [room], lock, lambda room, outcome: swept.append(True))
    async with room.running():
        server.kill()
        await sweeper.tick()
        assert not swept
        server.start()
        await sweeper.tick()
        assert swept
    await one.close()


async def test_a_room_made_while_it_runs_is_swept_too(run_rooms: Callable[..., Any], redis: Client) -> None:
    rooms = await run_rooms()
    await rooms.provide({"late": ConfiguredLimits(1, 60)})
    async with asyncio.timeout(10):
        while not await redis.hexists(rooms["late"].keys.watch, "swept_at"):
            await asyncio.sleep(0.02)


async def test_an_instance_that_does_not_sweep_reads_the_room_now_and_then(
    place: Redis, lock: SweepLock, redis: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.waiting_room.sweep.OVERVIEW_EVERY_TURNS", 2)
    await redis.set(LOCK, "somebody else's", px=60_000)
    bad, good = make_room(place, "default"), make_room(place, "vip")
    await redis.set(bad.keys.line, "not a line")
    looks = 0
    overview = good.overview

    async def look() -> Any:
        nonlocal looks
        looks += 1
        return await overview()

    monkeypatch.setattr(good, "overview", look)
    async with bad.running(), good.running():
        sweeper = Sweeper(lambda: [bad, good], lock)
        for _ in range(4):
            await sweeper.tick()
    assert looks == 2


class Held:
    """A room at a node, which answers as soon as it is let."""

    off = True

    def __init__(self, number: int, server: Node, free: asyncio.Event) -> None:
        self.name = f"{server.host}-{number}"
        self.server = server
        self.asked = 0
        self._free = free

    async def sweep(self, scan: int = 0) -> Any:
        self.asked += 1
        if not self._free.is_set():
            await self._free.wait()
            raise QueueUnavailable("Redis did not answer in time")
        return SimpleNamespace(more=False)

    overview = sweep


class OneLock:
    """The lock, which this instance gets or does not."""

    def __init__(self, free: bool = True) -> None:
        self._free = free

    async def acquire(self) -> bool:
        return self._free


@pytest.mark.parametrize("swept_here", [True, False])
async def test_rooms_at_a_node_that_is_away_hold_up_no_others_but_once(swept_here: bool) -> None:
    away, there = asyncio.Event(), asyncio.Event()
    there.set()
    silent = [Held(number, Node("silent", 1), away) for number in range(5 * MAX_SWEEPS)]
    sound = [Held(number, Node("sound", 1), there) for number in range(5 * MAX_SWEEPS)]
    outcomes: dict[str, str] = {}
    rooms = cast(Any, [*silent, *sound])
    lock = cast(Any, OneLock(swept_here))
    sweeper = Sweeper(lambda: rooms, lock, outcomes.__setitem__)
    first = asyncio.create_task(sweeper.tick())
    for _ in range(5):
        await asyncio.sleep(0)
    assert sum(room.asked for room in silent) == (MAX_SWEEPS if swept_here else 1)
    away.set()
    await first
    away.clear()
    assert all(room.asked == 1 for room in sound)
    # The next turns wait for none of those.
    for turn in (2, 3):
        if swept_here:
            await asyncio.wait_for(sweeper.tick(), 5)
            assert all(room.asked == turn for room in sound)
    away.set()
    if swept_here:
        async with asyncio.timeout(5):
            while sweeper._trying is not None:
                await asyncio.sleep(0)
        for _ in range(2):
            await sweeper.tick()
            if sweeper._trying is not None:
                await sweeper._trying
        assert {outcomes[room.name] for room in silent} == {"ok"}
        assert not sweeper._failing
