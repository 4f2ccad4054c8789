"""All rooms of a gateway, and several gateways on one Redis."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from redis.asyncio import Redis as Client

from gateway.errors import RoomNotFound
from gateway.waiting_room.events import RoomEvent
from gateway.waiting_room.link import Redis
from gateway.waiting_room.room import Limits, Room
from gateway.waiting_room.rooms import Rooms
from gateway.waiting_room.state import Kind

RunRooms = Callable[..., Any]


async def capacity_in(redis: Client, room: str = "default") -> str | None:
    return await redis.hget(f"gw:{{{room}}}:settings", "capacity")


async def capacity_becomes(redis: Client, wanted: str, room: str = "default") -> None:
    async with asyncio.timeout(15):
        while await capacity_in(redis, room) != wanted:
            await asyncio.sleep(0.01)


async def test_rooms_are_found_by_name_and_unknown_ones_are_not(run_rooms: RunRooms) -> None:
    rooms = await run_rooms({"default": Limits(2, 60), "vip": Limits(1, 60)})
    assert rooms["vip"].name == "vip"
    assert {room.name for room in rooms} == {"default", "vip"}
    with pytest.raises(RoomNotFound):
        rooms["nowhere"]


async def test_a_room_provided_later_works_at_once(run_rooms: RunRooms) -> None:
    rooms = await run_rooms()
    await rooms.provide({"late": Limits(1, 60)})
    assert (await rooms["late"].lineup("ann")).kind is Kind.ADMITTED
    assert (await rooms["late"].lineup("bob")).kind is Kind.WAITING


async def test_a_room_that_is_not_named_any_more_stays(run_rooms: RunRooms) -> None:
    rooms = await run_rooms({"default": Limits(2, 60), "vip": Limits(1, 60)})
    await rooms["vip"].lineup("ann")
    await rooms.provide({"default": Limits(2, 60)})
    assert (await rooms["vip"].status("ann")).kind is Kind.ALLOWED_IN


async def test_new_limits_of_a_running_room_are_written_with_the_next_beat(
    run_rooms: RunRooms, redis: Client
) -> None:
    rooms = await run_rooms()
    await capacity_becomes(redis, "2")
    await rooms.provide({"default": Limits(9, 60)})
    await capacity_becomes(redis, "9")


async def test_an_instance_with_other_limits_writes_them_and_with_the_same_changes_nothing(
    run_rooms: RunRooms, redis: Client
) -> None:
    first = await run_rooms({"default": Limits(2, 60)})
    await first["default"].configure_once()
    second = await run_rooms({"default": Limits(5, 60)})
    await second["default"].configure_once()
    assert await capacity_in(redis) == "5"
    assert (await first["default"].overview()).capacity == 5
    third = await run_rooms({"default": Limits(5, 60)})
    await third["default"].configure_once()
    assert await capacity_in(redis) == "5"


async def test_an_operators_override_stands_when_instances_start(run_rooms: RunRooms, redis: Client) -> None:
    first = await run_rooms({"default": Limits(2, 60)})
    await first["default"].configure_once()
    await first["default"].set_limits(capacity=50)
    second = await run_rooms({"default": Limits(5, 60)})
    await second["default"].configure_once()
    assert (await second["default"].overview()).capacity == 50
    assert (await first["default"].set_limits(lift=True)).capacity == 5


async def test_every_gateway_hears_what_any_of_them_does(run_rooms: RunRooms) -> None:
    heard: list[asyncio.Queue[RoomEvent]] = [asyncio.Queue(), asyncio.Queue()]

    def hear(queue: asyncio.Queue[RoomEvent]) -> Callable[[Sequence[RoomEvent]], None]:
        return lambda events: [queue.put_nowait(event) for event in events] and None

    gateways = [await run_rooms({"default": Limits(1, 60)}, on_events=hear(queue)) for queue in heard]
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
    one = await run_rooms({"default": Limits(1, 60)}, prefix="one:")
    two = await run_rooms({"default": Limits(1, 60)}, prefix="two:")
    assert (await one["default"].lineup("ann")).kind is Kind.ADMITTED
    assert (await two["default"].lineup("bob")).kind is Kind.ADMITTED
    assert (await two["default"].status("ann")).kind is Kind.NONE


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
    await rooms.provide({"default": Limits(1, 60)})
    async with rooms.running(), asyncio.timeout(20):
        server.start()
        await rooms.subscription.listening.wait()
        assert (await rooms["default"].lineup("ann")).kind is Kind.ADMITTED


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
    await rooms.provide({"default": Limits(2, 60)})
    async with rooms.running():
        await rooms.provide({"late": Limits(2, 60)})
    assert ended == ["sweeper", "late", "default"]


async def test_at_the_end_every_connection_is_closed_those_of_later_rooms_too(
    place: Redis, redis: Client
) -> None:
    async def connections() -> int:
        return len(await redis.client_list())

    before = await connections()
    rooms = Rooms(place)
    await rooms.provide({"default": Limits(2, 60)})
    async with rooms.running():
        await rooms.provide({"late": Limits(2, 60)})
        for room in rooms:
            await room.lineup("ann")
        await rooms._sweeper.tick()
        assert await connections() > before + 4
    async with asyncio.timeout(10):
        while await connections() > before:
            await asyncio.sleep(0.01)
