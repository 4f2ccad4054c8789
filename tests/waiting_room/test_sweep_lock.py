"""The lock that lets one instance sweep a second."""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis as Client

from gateway.waiting_room.redis.connection import Redis
from gateway.waiting_room.sweep import SweepLock
from tests.waiting_room.rooms import SCRIPTS

KEY = "gw:{default}:sweep-lock"


async def test_one_of_many_gets_it(place: Redis) -> None:
    links = [place.link() for _ in range(8)]
    locks = [SweepLock(link, SCRIPTS, KEY, 5_000) for link in links]
    got = await asyncio.gather(*(lock.acquire() for lock in locks))
    assert sorted(got) == [False] * 7 + [True]
    assert not any(await asyncio.gather(*(lock.acquire() for lock in locks)))
    for link in links:
        await link.close()


async def test_it_is_extended_by_its_holder_only(place: Redis, redis: Client) -> None:
    first, second = place.link(), place.link()
    holder, other = (SweepLock(link, SCRIPTS, KEY, 5_000) for link in (first, second))
    assert not await holder.extend()
    assert await holder.acquire()
    await redis.pexpire(KEY, 1_000)
    assert not await other.extend()
    assert await redis.pttl(KEY) <= 1_000
    assert await holder.extend()
    assert await redis.pttl(KEY) > 4_000
    await first.close()
    await second.close()


async def test_a_crashed_holders_lock_runs_out_and_cannot_be_extended_then(
    place: Redis, redis: Client
) -> None:
    first, second = place.link(), place.link()
    crashed = SweepLock(first, SCRIPTS, KEY, 30)
    heir = SweepLock(second, SCRIPTS, KEY, 5_000)
    assert await crashed.acquire()
    async with asyncio.timeout(5):
        while not await heir.acquire():
            await asyncio.sleep(0.005)
    assert not await crashed.extend()
    assert await redis.get(KEY) is not None
    await first.close()
    await second.close()
