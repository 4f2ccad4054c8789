"""An instance tells who has a stream open here, whatever happens to it or to Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis as Client

from gateway.errors import QueueUnavailable
from gateway.waiting_room.keys import RoomKeys
from gateway.waiting_room.presence import Presence
from gateway.waiting_room.redis.connection import Redis, RedisConnection
from tests.support.redis_client import open_redis
from tests.support.waiting import eventually
from tests.waiting_room.rooms import SCRIPTS

KEYS = RoomKeys("", "default")


async def nothing_first() -> None:
    return None


def make(
    link: RedisConnection,
    *,
    beat: float = 0.05,
    dead: float = 0.3,
    first: Callable[[], Awaitable[None]] = nothing_first,
) -> Presence:
    return Presence(KEYS, link, SCRIPTS, lambda: ("events", 10, 60_000, ""), first, beat=beat, dead=dead)


async def counts(redis: Client, expected: dict[str, int]) -> None:
    """Waits until Redis counts these streams."""

    async def told() -> bool:
        found = await redis.hgetall(KEYS.streams)
        return {user: int(count) for user, count in found.items()} == expected

    await eventually(told)


async def test_arrivals_and_departures_are_told(link: RedisConnection, redis: Client) -> None:
    presence = make(link)
    async with presence.running():
        presence.arrived("ann")
        presence.arrived("bob")
        await counts(redis, {"ann": 1, "bob": 1})
        presence.departed("ann")
        await counts(redis, {"bob": 1})


async def test_more_than_one_calls_worth_is_told(link: RedisConnection, redis: Client) -> None:
    presence = make(link)
    async with presence.running():
        users = {f"u{n}": 1 for n in range(1000)}
        for user in users:
            presence.arrived(user)
        await counts(redis, users)


async def test_the_last_changes_are_told_at_the_end(link: RedisConnection, redis: Client) -> None:
    presence = make(link)
    async with presence.running():
        presence.arrived("ann")
        await counts(redis, {"ann": 1})
        presence.departed("ann")
    assert await redis.hgetall(KEYS.streams) == {}


async def test_an_instance_beats(link: RedisConnection, redis: Client) -> None:
    presence = make(link)
    async with presence.running():

        async def beaten(than: float) -> bool:
            scores = [score for _, score in await redis.zrange(KEYS.instances, 0, -1, withscores=True)]
            return len(scores) == 1 and scores[0] > than

        await eventually(lambda: beaten(0))
        first = await redis.zrange(KEYS.instances, 0, -1, withscores=True)
        await eventually(lambda: beaten(first[0][1]))


async def test_a_dead_instance_is_drained_by_another(place: Redis, redis: Client) -> None:
    first, second = place.link(), place.link()
    dying, other = make(first), make(second)
    async with dying.running():
        for user in ("ann", "bob"):
            dying.arrived(user)
        await counts(redis, {"ann": 1, "bob": 1})
    # It ends without a word about its streams, as a killed one does.
    assert await redis.zcard(KEYS.instances) == 1
    async with other.running():
        other.arrived("bob")
        await counts(redis, {"bob": 1})

        async def alone() -> bool:
            return await redis.zcard(KEYS.instances) == 1

        await eventually(alone)
    await first.close()
    await second.close()


async def test_an_instance_that_just_came_back_declares_no_other_dead(
    link: RedisConnection, redis: Client
) -> None:
    await redis.zadd(KEYS.instances, {"old": 1})
    presence = make(link, beat=0.05, dead=30)
    async with presence.running():
        presence.arrived("ann")
        await counts(redis, {"ann": 1})
        await asyncio.sleep(0.3)
        assert await redis.zscore(KEYS.instances, "old") == 1


async def test_a_redis_that_forgot_everything_is_told_everything_again_under_a_new_name(
    link: RedisConnection, redis: Client
) -> None:
    presence = make(link)
    async with presence.running():
        presence.arrived("ann")
        await counts(redis, {"ann": 1})
        (old,) = await redis.zrange(KEYS.instances, 0, -1)
        await redis.flushall()
        await counts(redis, {"ann": 1})
        assert await redis.exists(KEYS.here(old)) == 0


async def test_after_a_failed_call_all_is_told_again_under_a_new_name(start_redis: Any) -> None:
    server = start_redis()
    link = Redis(server.url, 0.3).link()
    presence = make(link, dead=2)
    async with open_redis(server.url, decode_responses=True) as redis, presence.running():
        presence.arrived("ann")
        await counts(redis, {"ann": 1})
        (old,) = await redis.zrange(KEYS.instances, 0, -1)
        server.freeze()
        presence.arrived("bob")
        await asyncio.sleep(0.6)
        server.thaw()

        async def told() -> bool:
            names = await redis.zrange(KEYS.instances, 0, -1)
            here = [await redis.smembers(KEYS.here(name)) for name in names if name != old]
            return {"ann", "bob"} in here

        await eventually(told)
        # What stood under the old name is drained, and everybody counts once.
        await counts(redis, {"ann": 1, "bob": 1})
    await link.close()


async def test_told_to_it_tells_again(link: RedisConnection, redis: Client) -> None:
    presence = make(link)
    async with presence.running():
        presence.arrived("ann")
        await counts(redis, {"ann": 1})
        await redis.delete(KEYS.streams)
        presence.resend()
        await counts(redis, {"ann": 1})


class Gated(RedisConnection):
    """Lets the test act between a call's being sent and its being answered."""

    def __init__(self, link: RedisConnection) -> None:
        self._link = link
        self.scripts: list[str] = []
        self.meanwhile: dict[str, Callable[[], None]] = {}

    async def run(self, script: Any, *args: Any, **options: Any) -> Any:
        self.scripts.append(script.name)
        reply = await self._link.run(script, *args, **options)
        act = self.meanwhile.pop(script.name, None)
        if act is not None:
            act()
        return reply


async def test_a_name_taken_while_a_beat_was_under_way_is_announced_before_anything_stands_under_it(
    link: RedisConnection, redis: Client
) -> None:
    gated = Gated(link)
    presence = make(gated, beat=5, dead=20)
    unannounced: list[bool] = []
    run = gated.run

    async def watched(script: Any, keys: Any, *args: Any, **options: Any) -> Any:
        if script.name == "presence":
            names = await redis.zrange(KEYS.instances, 0, -1)
            unannounced.append(keys[-2] not in {KEYS.here(name) for name in names})
        return await run(script, keys, *args, **options)

    gated.run = watched  # type: ignore[method-assign]

    def begin_anew() -> None:
        presence._good_beats = 1
        presence.resend()

    gated.meanwhile["beat"] = begin_anew
    async with presence.running():
        presence.arrived("ann")
        await counts(redis, {"ann": 1})
    assert unannounced
    assert not any(unannounced)


async def test_telling_again_while_changes_are_under_way_loses_none(
    link: RedisConnection, redis: Client
) -> None:
    gated = Gated(link)
    presence = make(gated, dead=0.2)
    gated.meanwhile["presence"] = presence.resend
    async with presence.running():
        presence.arrived("ann")
        presence.arrived("bob")
        await eventually(lambda: redis.hexists(KEYS.streams, "bob"))
        await counts(redis, {"ann": 1, "bob": 1})
        presence.departed("ann")
        await counts(redis, {"bob": 1})


async def test_at_the_end_nothing_is_left_under_a_name_that_was_never_announced(
    link: RedisConnection, redis: Client
) -> None:
    presence = make(link, beat=5, dead=20)
    async with presence.running():
        presence.arrived("ann")
        await counts(redis, {"ann": 1})
        # No turn of the loop in between: the end comes before the new name could be announced.
        presence.resend()
    names = set(await redis.zrange(KEYS.instances, 0, -1))
    stands = {key async for key in redis.scan_iter(match=KEYS.here("*"))}
    assert stands <= {KEYS.here(name) for name in names}


async def test_what_is_to_be_done_first_is_done_before_the_first_beat_and_its_failure_is_no_end(
    link: RedisConnection, redis: Client
) -> None:
    tries = 0

    async def first() -> None:
        nonlocal tries
        tries += 1
        assert await redis.zcard(KEYS.instances) == 0 or tries > 2
        if tries == 1:
            raise QueueUnavailable("not yet")

    presence = make(link, first=first)
    async with presence.running():
        presence.arrived("ann")
        await counts(redis, {"ann": 1})
    assert tries >= 2


@pytest.mark.parametrize(
    "moves", [("arrived", "departed"), ("departed",), ("arrived", "departed", "arrived")]
)
async def test_quick_changes_end_as_they_stand(
    link: RedisConnection, redis: Client, moves: tuple[str, ...]
) -> None:
    presence = make(link)
    async with presence.running():
        for move in moves:
            getattr(presence, move)("ann")
        presence.arrived("last")
        await counts(redis, {"last": 1} | ({"ann": 1} if moves[-1] == "arrived" else {}))
