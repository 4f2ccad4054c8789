"""Connections that callers share: at most so many to a server, one caller each, and none to a server of the past."""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis as Client

from gateway.settings.redis_address import Node
from gateway.waiting_room.configured import ConfiguredLimits
from gateway.waiting_room.redis.connection import MAX_SHARED, Redis
from gateway.waiting_room.redis.shared import Connections
from gateway.waiting_room.redis.wire import OneServer
from gateway.waiting_room.rooms import Rooms

ROOMS = 40


async def _count(redis: Client) -> int:
    return len(await redis.client_list())


async def test_calls_at_a_time_share_as_many_connections_as_there_may_be(place: Redis, redis: Client) -> None:
    before = await _count(redis)
    shared = place.shared()
    links = [place.link(key=f"k{number}", shared=shared) for number in range(5 * MAX_SHARED)]
    replies = await asyncio.gather(*(link.call("ECHO", str(number)) for number, link in enumerate(links)))
    assert replies == [str(number).encode() for number in range(len(links))]
    assert await _count(redis) == before + MAX_SHARED
    await shared.close()


async def test_calls_one_after_the_other_need_one_connection(place: Redis, redis: Client) -> None:
    before = await _count(redis)
    shared = place.shared()
    for number in range(3):
        await place.link(key=f"k{number}", shared=shared).call("PING")
    assert await _count(redis) == before + 1
    await shared.close()


async def test_a_call_that_was_given_up_does_not_spoil_the_next_one(place: Redis, redis: Client) -> None:
    shared = place.shared()
    link = place.link(shared=shared)
    given_up = asyncio.ensure_future(link.call("BLPOP", "none", 0))
    async with asyncio.timeout(5):
        while not [each for each in await redis.client_list() if each["cmd"] == "blpop"]:
            await asyncio.sleep(0.01)
    given_up.cancel()
    await asyncio.wait([given_up])
    assert await link.call("ECHO", "mine") == b"mine"
    await shared.close()


async def test_rooms_share_their_connections_by_the_kind_of_call(place: Redis, redis: Client) -> None:
    before = await _count(redis)
    rooms = Rooms(place)
    await rooms.provide({f"room-{number}": ConfiguredLimits(1, 60) for number in range(ROOMS)})
    async with rooms.running():
        for call in ("lineup", "status", "enter"):
            states = await asyncio.gather(*(getattr(room, call)("ann") for room in rooms))
            assert {state.allowed_in for state in states} == {True}
        await rooms._sweeper.tick()
        await asyncio.gather(*(room.presence._beat() for room in rooms))
        # Lineups, statuses, gated calls, sweeps and reports of streams; the probe, the events and the lock.
        assert await _count(redis) <= before + 5 * MAX_SHARED + 3
    async with asyncio.timeout(10):
        while await _count(redis) > before:
            await asyncio.sleep(0.01)


class _Moving(OneServer):
    """A server whose name the test changes, as after a failover."""

    def __init__(self, url: str) -> None:
        super().__init__(url, 5.0)
        self.name = Node("one", 1)

    def current(self, slot: int) -> Node:  # type: ignore[override]
        """See ``RedisServers``."""
        return self.name


async def test_no_connection_stays_open_to_a_server_that_was_replaced(redis_url: str, redis: Client) -> None:
    before = await _count(redis)
    servers = _Moving(redis_url)
    shared = Connections(servers, 4)
    for _ in range(2):
        async with shared.taken(0) as one, shared.taken(0) as other:
            await one.ready(0)
            await other.ready(0)
    assert await _count(redis) == before + 2
    servers.name = Node("two", 2)
    async with shared.taken(0) as connection:
        await connection.ready(0)
        async with asyncio.timeout(5):
            while await _count(redis) != before + 1:
                await asyncio.sleep(0.01)
    await shared.close()
