"""All rooms of a gateway: found by name, made when named, and never scattered over a cluster."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import QueueUnavailable, RoomNotFound, SettingsError
from gateway.waiting_room.link import Redis
from gateway.waiting_room.room import Limits
from gateway.waiting_room.rooms import Rooms
from gateway.waiting_room.state import Kind
from tests.conftest import StartRedis


async def test_a_room_is_found_by_its_name_and_others_are_not_there(redis_url: str) -> None:
    rooms = Rooms(Redis(redis_url, 1.0))
    await rooms.provide({"default": Limits(1, 60), "vip": Limits(2, 30)})
    assert rooms["vip"].name == "vip"
    assert [room.name for room in rooms] == ["default", "vip"]
    with pytest.raises(RoomNotFound):
        rooms["none"]


async def test_a_room_may_be_added_and_given_other_limits_while_it_runs(redis_url: str) -> None:
    rooms = Rooms(Redis(redis_url, 1.0))
    await rooms.provide({"default": Limits(1, 60)})
    async with rooms.running():
        await rooms.provide({"default": Limits(3, 60), "vip": Limits(1, 60)})
        assert (await rooms["vip"].lineup("ann")).kind is Kind.ADMITTED
        async with asyncio.timeout(10):
            while (await rooms["default"].overview()).capacity != 3:
                await asyncio.sleep(0.02)


async def test_an_instance_with_other_limits_writes_them_and_one_with_the_same_changes_nothing(
    redis_url: str,
) -> None:
    async def started(limits: Limits) -> int:
        rooms = Rooms(Redis(redis_url, 1.0))
        await rooms.provide({"default": limits})
        async with rooms.running():
            await rooms["default"].configure_once()
            return (await rooms["default"].overview()).capacity

    assert await started(Limits(5, 60)) == 5
    rooms = Rooms(Redis(redis_url, 1.0))
    await rooms.provide({"default": Limits(5, 60)})
    async with rooms.running():
        await rooms["default"].set_limits(capacity=9)
    assert await started(Limits(5, 60)) == 9
    assert await started(Limits(7, 60)) == 9
    async with rooms.running():
        assert (await rooms["default"].set_limits(lift=True)).capacity == 7


async def test_without_redis_it_starts_and_says_so_to_who_asks() -> None:
    rooms = Rooms(Redis("redis://127.0.0.1:1", 0.2))
    await rooms.provide({"default": Limits(1, 60)})
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
