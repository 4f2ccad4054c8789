"""All rooms of a gateway: found by name, made when named, and never scattered over a cluster."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis as Client
from redis.exceptions import ResponseError

from gateway.errors import NewerSchema, QueueUnavailable, RoomNotFound, SettingsError
from gateway.waiting_room.configured import ConfiguredLimits, RoomPolicy
from gateway.waiting_room.events import RoomEvent
from gateway.waiting_room.redis.connection import Redis
from gateway.waiting_room.room import Room
from gateway.waiting_room.rooms import Rooms
from gateway.waiting_room.rules import SCHEMA
from gateway.waiting_room.state import StateKind
from tests.support.redis_client import open_redis
from tests.support.redis_server import StartRedis
from tests.waiting_room.rooms import make_room

RunRooms = Callable[..., Any]


async def test_a_room_is_found_by_its_name_and_others_are_not_there(redis_url: str) -> None:
    rooms = Rooms(Redis(redis_url, 1.0))
    await rooms.provide({"default": ConfiguredLimits(1, 60), "vip": ConfiguredLimits(2, 30)})
    assert rooms["vip"].name == "vip"
    assert [room.name for room in rooms] == ["default", "vip"]
    with pytest.raises(RoomNotFound):
        rooms["none"]


async def test_a_room_may_be_added_and_given_other_limits_while_it_runs(redis_url: str) -> None:
    rooms = Rooms(Redis(redis_url, 1.0))
    await rooms.provide({"default": ConfiguredLimits(1, 60)})
    async with rooms.running():
        await rooms.provide({"default": ConfiguredLimits(3, 60), "vip": ConfiguredLimits(1, 60)})
        assert (await rooms["vip"].lineup("ann")).kind is StateKind.ADMITTED
        async with asyncio.timeout(10):
            while (await rooms["default"].overview()).capacity != 3:
                await asyncio.sleep(0.02)


async def test_an_instance_with_other_limits_writes_them_and_one_with_the_same_changes_nothing(
    redis_url: str,
) -> None:
    async def started(limits: ConfiguredLimits) -> int:
        rooms = Rooms(Redis(redis_url, 1.0))
        await rooms.provide({"default": limits})
        async with rooms.running():
            await rooms["default"].configure_once()
            return (await rooms["default"].overview()).capacity

    assert await started(ConfiguredLimits(5, 60)) == 5
    rooms = Rooms(Redis(redis_url, 1.0))
    await rooms.provide({"default": ConfiguredLimits(5, 60)})
    async with rooms.running():
        await rooms["default"].operations.set_limits(capacity=9)
    assert await started(ConfiguredLimits(5, 60)) == 9
    assert await started(ConfiguredLimits(7, 60)) == 9
    async with rooms.running():
        assert (await rooms["default"].operations.set_limits(lift=True)).capacity == 7


async def test_without_redis_it_starts_and_health_says_so() -> None:
    rooms = Rooms(Redis("redis://127.0.0.1:1", 0.2))
    await rooms.provide({"default": ConfiguredLimits(1, 60)})
    async with rooms.running():
        with pytest.raises(QueueUnavailable):
            await rooms["default"].lineup("ann")


async def test_on_a_cluster_the_prefix_must_keep_keys_together(start_redis: StartRedis) -> None:
    cluster = Redis(start_redis("--cluster-enabled", "yes").url, 1.0)
    with pytest.raises(SettingsError) as caught:
        async with Rooms(cluster, prefix="gw:").running():
            pass
    assert caught.value.variable == "REDIS_KEY_PREFIX"
    assert "hash tag" in caught.value.allowed
    async with Rooms(cluster, prefix="{gw}:").running():
        pass


async def test_a_room_that_is_not_named_any_more_stays(run_rooms: RunRooms) -> None:
    rooms = await run_rooms({"default": ConfiguredLimits(2, 60), "vip": ConfiguredLimits(1, 60)})
    await rooms["vip"].lineup("ann")
    await rooms.provide({"default": ConfiguredLimits(2, 60)})
    assert (await rooms["vip"].status("ann")).kind is StateKind.ALLOWED_IN


async def test_every_gateway_hears_what_any_of_them_does(run_rooms: RunRooms) -> None:
    heard: list[asyncio.Queue[RoomEvent]] = [asyncio.Queue(), asyncio.Queue()]

    def hear(queue: asyncio.Queue[RoomEvent]) -> Callable[[Sequence[RoomEvent]], None]:
        return lambda events: [queue.put_nowait(event) for event in events] and None

    gateways = [
        await run_rooms({"default": ConfiguredLimits(1, 60)}, on_events=hear(queue)) for queue in heard
    ]
    async with asyncio.timeout(10):
        for rooms in gateways:
            await rooms.subscription.listening.wait()
        await gateways[0]["default"].lineup("ann")
        ticket = (await gateways[1]["default"].lineup("bob")).ticket
        await gateways[0]["default"].leave("ann", "slot")
        for queue in heard:
            event = await queue.get()
            assert event == RoomEvent("default", "bob", ticket, "ADMITTED", None, 60)


async def test_prefixes_keep_gateways_apart(run_rooms: RunRooms) -> None:
    one = await run_rooms({"default": ConfiguredLimits(1, 60)}, prefix="one:")
    two = await run_rooms({"default": ConfiguredLimits(1, 60)}, prefix="two:")
    assert (await one["default"].lineup("ann")).kind is StateKind.ADMITTED
    assert (await two["default"].lineup("bob")).kind is StateKind.ADMITTED
    assert (await two["default"].status("ann")).kind is StateKind.NONE


async def test_a_lost_subscription_makes_presence_tell_again_and_the_gateway_look(
    run_rooms: RunRooms, redis: Client
) -> None:
    restored: asyncio.Queue[bool] = asyncio.Queue()
    rooms = await run_rooms(on_restored=lambda: restored.put_nowait(True))
    keys = rooms["default"].keys
    async with asyncio.timeout(20):
        await restored.get()
        rooms["default"].presence.arrived("ann")
        while not await redis.hexists(keys.streams, "ann"):
            await asyncio.sleep(0.01)
        await redis.delete(keys.streams)
        await redis.client_kill_filter(_type="pubsub")
        await restored.get()
        while not await redis.hexists(keys.streams, "ann"):
            await asyncio.sleep(0.01)


async def test_redis_may_be_away_at_the_start(start_redis: Any) -> None:
    server = start_redis()
    server.kill()
    rooms = Rooms(Redis(server.url, 0.5))
    await rooms.provide({"default": ConfiguredLimits(1, 60)})
    async with rooms.running(), asyncio.timeout(20):
        server.start()
        await rooms.subscription.listening.wait()
        assert (await rooms["default"].lineup("ann")).kind is StateKind.ADMITTED


async def test_rooms_of_whatever_age_end_after_the_sweeper_that_would_open_their_links_again(
    place: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []
    rooms = Rooms(place)

    close = Room._close_links

    async def close_links(room: Room) -> None:
        ended.append(room.name)
        await close(room)

    @contextlib.asynccontextmanager
    async def sweeping() -> AsyncIterator[None]:
        yield
        ended.append("sweeper")

    monkeypatch.setattr(rooms._sweeper, "running", sweeping)
    monkeypatch.setattr(Room, "_close_links", close_links)
    await rooms.provide({"default": ConfiguredLimits(2, 60)})
    async with rooms.running():
        await rooms.provide({"late": ConfiguredLimits(2, 60)})
    assert ended == ["sweeper", "late", "default"]


async def test_at_the_end_every_connection_is_closed_those_of_later_rooms_too(
    place: Redis, redis: Client
) -> None:
    async def connections() -> int:
        return len(await redis.client_list())

    before = await connections()
    rooms = Rooms(place)
    await rooms.provide({"default": ConfiguredLimits(2, 60)})
    async with rooms.running():
        await rooms.provide({"late": ConfiguredLimits(2, 60)})
        for room in rooms:
            await room.lineup("ann")
        await rooms._sweeper.tick()
        assert await connections() > before + 4
    async with asyncio.timeout(10):
        while await connections() > before:
            await asyncio.sleep(0.01)


async def test_the_user_that_the_docs_make_for_the_gateway_may_do_all_it_needs(
    start_redis: StartRedis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "redis.md").read_text(encoding="utf-8")
    command = re.search(r"^ACL SETUSER gateway .*$", page, re.MULTILINE)
    assert command
    server = start_redis()
    async with open_redis(server.url) as client:
        await client.execute_command(*command[0].replace("PREFIX", "{gw}:").split())
    redis = Redis(server.url.replace("unix://", "unix://gateway:secret@"), 5.0)
    rooms = Rooms(redis, prefix="{gw}:", policy=RoomPolicy(wait_replicas=1))
    await rooms.provide({"default": ConfiguredLimits(1, 60)})
    async with rooms.running(), asyncio.timeout(30):
        room = rooms["default"]
        await rooms.subscription.listening.wait()
        # There is no replica, but there would be.
        with pytest.raises(QueueUnavailable, match="0 of 1 replicas"):
            await room.lineup("ann")
        assert (await room.status("ann")).allowed_in
        assert (await room.enter("ann")).allowed_in
        room.presence.arrived("ann")
        await room.operations.set_limits(capacity=2)
        await room.sweep(scan=500)
        await room.leave("ann", "both")
        link = redis.link()
        assert (await link.call("ROLE"))[0] == b"master"
        with pytest.raises(ResponseError, match="cluster support disabled"):
            await link.call("CLUSTER", "SLOTS")
        with pytest.raises(ResponseError, match="permissions"):
            await link.call("FLUSHALL")
        await link.close()
    assert "NOPERM" not in caplog.text
    assert "permissions" not in caplog.text


async def test_a_version_does_not_start_on_the_data_of_a_later_one(redis_url: str, redis: Client) -> None:
    await redis.hset("gw:{vip}:settings", "schema", SCHEMA + 1)
    rooms = Rooms(Redis(redis_url, 1.0))
    await rooms.provide({"default": ConfiguredLimits(5, 60), "vip": ConfiguredLimits(5, 60)})
    with pytest.raises(
        NewerSchema, match=f"room vip to Redis .schema {SCHEMA + 1}; this version knows {SCHEMA}"
    ):
        async with rooms.running():
            pass


@pytest.mark.parametrize("schema", [None, "", "1", "x", SCHEMA])
async def test_a_version_starts_on_its_own_data_and_on_that_of_earlier_ones(
    redis: Client, run_rooms: RunRooms, schema: str | int | None
) -> None:
    if schema is not None:
        await redis.hset("gw:{default}:settings", "schema", schema)
    rooms = await run_rooms({"default": ConfiguredLimits(5, 60)})
    await rooms["default"].configure_once()
    assert await redis.hget("gw:{default}:settings", "schema") == str(SCHEMA)


async def test_a_version_that_runs_goes_on_beside_a_later_one(redis: Client, run_rooms: RunRooms) -> None:
    rooms = await run_rooms({"default": ConfiguredLimits(5, 60)})
    await rooms["default"].configure_once()
    await redis.hset("gw:{default}:settings", "schema", SCHEMA + 1)
    await rooms.provide({"default": ConfiguredLimits(6, 60)})
    await rooms["default"].configure_once()
    assert (await rooms["default"].lineup("ann")).kind is StateKind.ADMITTED
    assert await redis.hget("gw:{default}:settings", "schema") == str(SCHEMA + 1)


async def test_a_room_of_a_later_version_that_was_found_only_after_the_start_is_left_alone(
    place: Redis, redis: Client, caplog: pytest.LogCaptureFixture
) -> None:
    await redis.hset("gw:{default}:settings", "schema", SCHEMA + 1)
    room = make_room(place)
    async with room.running():
        for _ in range(2):
            with pytest.raises(QueueUnavailable):
                await room.configure_once()
        with pytest.raises(QueueUnavailable, match="a later version"):
            await room.lineup("ann")
    assert caplog.text.count("Until then every call of this room gets 503") == 1
    assert await redis.keys("*") == ["gw:{default}:settings"]
