"""Rooms that calls make: known to every instance, run where there is work, and forgotten when nobody was in them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from redis.asyncio import Redis as Client
from redis.crc import key_slot

from gateway.errors import RoomNotFound, TooManyRooms
from gateway.waiting_room.configured import ConfiguredLimits
from gateway.waiting_room.keys import DirectoryKeys
from gateway.waiting_room.named_room import UnmadeRoom
from gateway.waiting_room.named_rooms import NamedRoomLimits
from gateway.waiting_room.redis.connection import Redis
from gateway.waiting_room.room import Room
from gateway.waiting_room.rooms import Rooms
from gateway.waiting_room.rules import RoomRules
from gateway.waiting_room.state import Left, StateKind
from tests.support.redis_fleet import Cluster, cluster

START = {"default": ConfiguredLimits(1, 60), "concert-*": ConfiguredLimits(1, 60)}
pytestmark = pytest.mark.timeout(120)
"""Dead instances are noticed after ten seconds, and a room is at work for as long after it was said to be."""

StartRooms = Callable[..., Awaitable[Rooms]]


@pytest.fixture
async def start(place: Redis) -> AsyncIterator[StartRooms]:
    """Starts instances that share Redis; each ends with the test, or by its ``end``."""
    async with AsyncExitStack() as stack:

        async def begin(limits: dict[str, ConfiguredLimits] = START, **options: Any) -> Rooms:
            rooms = Rooms(place, **options)
            await rooms.provide(limits)
            own = await stack.enter_async_context(AsyncExitStack())
            await own.enter_async_context(rooms.running())
            rooms.end = own.aclose  # type: ignore[attr-defined]
            return rooms

        yield begin


async def until(condition: Callable[[], Any], seconds: float = 15.0) -> None:
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.02)


async def keys_of(redis: Client, room: str) -> list[str]:
    return [key async for key in redis.scan_iter(match=f"gw:{{{room}}}*")]


async def test_only_a_lineup_makes_a_room(start: StartRooms, redis: Client) -> None:
    rooms = await start()
    room = await rooms.find("concert-17")
    assert isinstance(room, UnmadeRoom)
    assert (await room.status("ann")).kind is (await room.enter("ann")).kind is StateKind.NONE
    assert await room.leave("ann", "both") is Left.NOTHING
    assert await room.history("ann") == []
    assert await keys_of(redis, "concert-17") == []
    made = await rooms.make("concert-17", "ann")
    assert (await made.lineup("ann")).kind is StateKind.ADMITTED
    assert rooms["concert-17"] is await rooms.find("concert-17") is made


@pytest.mark.parametrize("name", ["concert-", "cinema-1", "concert-*", "concert-a b", "concert-" + "x" * 41])
async def test_no_call_makes_a_room_that_no_entry_is_for(start: StartRooms, name: str) -> None:
    rooms = await start()
    with pytest.raises(RoomNotFound):
        await rooms.find(name)
    with pytest.raises(RoomNotFound):
        await rooms.make(name, "ann")


async def test_a_crowd_that_comes_at_once_makes_one_room(start: StartRooms, redis: Client) -> None:
    rooms = await start()
    made = await asyncio.gather(*(rooms.make("concert-17", "ann") for _ in range(200)))
    assert len(set(map(id, made))) == 1
    states = await asyncio.gather(*(made[0].lineup(f"user-{number}") for number in range(200)))
    assert [state.kind for state in states].count(StateKind.ADMITTED) == 1
    assert await redis.zcard(DirectoryKeys("").rooms) == 1


async def test_every_instance_knows_a_room_at_once_and_runs_it_within_a_second(start: StartRooms) -> None:
    one, other = await start(), await start()
    await (await one.make("concert-17", "ann")).lineup("ann")
    # By asking; without that it hears of the room in its next turn.
    third = await start()
    found = await third.find("concert-17")
    assert isinstance(found, Room)
    assert (await found.status("ann")).allowed_in
    began = time.monotonic()
    await until(lambda: "concert-17" in [room.name for room in other])
    assert time.monotonic() - began < 1.5


async def test_there_are_so_many_rooms_and_no_more(start: StartRooms) -> None:
    one = await start(named=NamedRoomLimits(rooms=3))
    other = await start(named=NamedRoomLimits(rooms=3))
    for number in range(3):
        await (await one.make(f"concert-{number}", "ann")).lineup("ann")
    for rooms in (one, other):
        with pytest.raises(TooManyRooms) as refused:
            await rooms.make("concert-3", "ann")
        assert 5 <= refused.value.retry_after <= 15
        assert isinstance(await rooms.find("concert-3"), UnmadeRoom)
        assert (await (await rooms.make("concert-0", "ann")).lineup("ann")).allowed_in


async def test_one_client_makes_so_many_rooms_and_no_more(start: StartRooms) -> None:
    limits = NamedRoomLimits(per_client=2)
    one, other = await start(named=limits), await start(named=limits)
    await one.make("concert-1", "ann")
    await other.make("concert-2", "ann")
    # Both ask at the same time, and only one of them has made too many.
    refused, made = await asyncio.gather(
        one.make("concert-3", "ann"), one.make("concert-3", "bob"), return_exceptions=True
    )
    assert isinstance(refused, TooManyRooms)
    assert isinstance(made, Room)
    assert str(refused) == "this client has made too many rooms"
    # Those that there are take a lineup of any client.
    assert (await (await other.make("concert-3", "ann")).lineup("ann")).allowed_in


async def test_a_room_without_anyone_in_it_is_forgotten_by_all(start: StartRooms, redis: Client) -> None:
    instances = [await start(named=NamedRoomLimits(idle=1.0)) for _ in range(2)]
    room = await instances[0].make("concert-17", "ann")
    await room.lineup("ann")
    await until(lambda: "concert-17" in [each.name for each in instances[1]])
    await room.leave("ann", "both")
    await until(lambda: _is_empty(redis, "concert-17"), 30)
    await until(lambda: not any(len(each.named) for each in instances))
    assert await redis.zcard(DirectoryKeys("").rooms) == 0
    for rooms in instances:
        assert isinstance(await rooms.find("concert-17"), UnmadeRoom)


async def _is_empty(redis: Client, room: str) -> bool:
    return await keys_of(redis, room) == []


async def test_a_room_with_someone_in_it_or_with_settings_of_an_operator_is_kept(
    start: StartRooms, redis: Client
) -> None:
    rooms = await start(
        {"default": ConfiguredLimits(1, 60), "concert-*": ConfiguredLimits(1, 600)},
        named=NamedRoomLimits(idle=0.5),
    )
    await (await rooms.make("concert-1", "ann")).lineup("ann")
    await (await rooms.make("concert-2", "ann")).operations.set_limits(capacity=5)
    gone = await rooms.make("concert-3", "ann")
    await gone.lineup("ann")
    await gone.leave("ann", "both")
    await until(lambda: _is_empty(redis, "concert-3"), 30)
    assert (await (await rooms.make("concert-1", "ann")).status("ann")).allowed_in
    kept = await rooms.find("concert-2")
    assert isinstance(kept, Room)
    assert (await kept.overview()).capacity == 5


async def test_a_lineup_in_a_room_that_was_forgotten_meanwhile_makes_it_again(
    start: StartRooms, redis: Client
) -> None:
    one, other = await start(), await start()
    room = await one.make("concert-17", "ann")
    await room.lineup("ann")
    await room.leave("ann", "both")
    here = await other.make("concert-17", "ann")
    await redis.delete(*await keys_of(redis, "concert-17"))
    assert (await here.status("ann")).kind is StateKind.NONE
    assert (await here.enter("ann")).kind is StateKind.NONE
    assert await here.leave("ann", "both") is Left.NOTHING
    assert (await here.lineup("bob")).kind is StateKind.ADMITTED
    assert (await room.status("bob")).allowed_in


async def test_no_user_is_lost_between_forgetting_and_lining_up(start: StartRooms, redis: Client) -> None:
    """A user lines up and leaves again and again while instances forget the room as fast as they can. After each
    lineup the room is on the list, and the user in it."""
    instances = [await start(named=NamedRoomLimits(idle=0.001)) for _ in range(3)]

    async def forget(rooms: Rooms) -> None:
        while True:
            await rooms.named.tick()
            for name in list(rooms.named._due):
                rooms.named._due[name] = 0.0
            for room in list(rooms.named):
                room.used_at = 0.0

    forgetting = [asyncio.create_task(forget(rooms)) for rooms in instances[1:]]
    try:
        for number in range(150):
            room = await instances[0].make("concert-17", "ann")
            state = await room.lineup(f"user-{number}")
            assert state.kind is StateKind.ADMITTED
            assert await redis.zscore(DirectoryKeys("").rooms, "concert-17") is not None
            assert (await room.status(f"user-{number}")).allowed_in
            await room.leave(f"user-{number}", "both")
            await asyncio.sleep(0.003)
    finally:
        for task in forgetting:
            task.cancel()
        results = await asyncio.gather(*forgetting, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)


async def test_an_instance_that_starts_finds_the_rooms_again(start: StartRooms, redis: Client) -> None:
    limits = {"default": ConfiguredLimits(1, 60), "concert-*": ConfiguredLimits(1, 2, RoomRules(absent=0))}
    before = await start(limits)
    room = await before.make("concert-17", "ann")
    await room.lineup("ann")
    await room.lineup("bob")
    await before.end()  # type: ignore[attr-defined]
    await asyncio.sleep(2)
    after = await start(limits)
    await until(lambda: "concert-17" in [each.name for each in after])
    # No call has named the room: the sweep alone lets the next user in.
    await until(lambda: redis.hexists("gw:{concert-17}:inside", "bob"))


async def test_a_room_is_swept_by_whichever_instance_sweeps(start: StartRooms, redis: Client) -> None:
    limits = {"default": ConfiguredLimits(1, 60), "concert-*": ConfiguredLimits(1, 1)}
    instances = [await start(limits) for _ in range(2)]
    for number, rooms in enumerate(instances):
        room = await rooms.make(f"concert-{number}", "ann")
        await room.lineup("ann")
        await room.lineup("bob")
    for number in range(2):
        await until(lambda number=number: redis.hexists(f"gw:{{concert-{number}}}:inside", "bob"))  # type: ignore[misc]


async def test_idle_rooms_run_nowhere(start: StartRooms, redis: Client) -> None:
    rooms = await start(named=NamedRoomLimits(idle=1.0))
    tasks = len(asyncio.all_tasks())
    for number in range(20):
        room = await rooms.make(f"concert-{number}", "ann")
        await room.operations.set_limits(capacity=3)
    await until(lambda: not list(rooms.named), 30)
    assert len(rooms.named) == 20
    await until(lambda: len(asyncio.all_tasks()) <= tasks)
    assert not [key async for key in redis.scan_iter(match="gw:{concert-*}:instances")]


async def test_a_stream_keeps_its_room_running(start: StartRooms, redis: Client) -> None:
    rooms = await start(named=NamedRoomLimits(idle=0.2))
    room = await rooms.make("concert-17", "ann")
    room.presence.arrived("ann")
    await until(lambda: redis.hexists(room.keys.streams, "ann"))
    await asyncio.sleep(2)
    assert rooms.get("concert-17") is room
    room.presence.departed("ann")
    await until(lambda: _is_empty(redis, "concert-17"), 30)


async def test_streams_of_an_instance_that_died_do_not_keep_a_room_for_ever(
    start: StartRooms, redis: Client, place: Redis
) -> None:
    rooms = await start(named=NamedRoomLimits(idle=0.2))
    room = await rooms.make("concert-17", "ann")
    await room.lineup("ann")
    await room.leave("ann", "both")
    # As an instance leaves them that is killed.
    await redis.hset(room.keys.streams, "ann", 1)
    await redis.sadd(room.keys.here("dead"), "ann")
    await redis.zadd(room.keys.instances, {"dead": (time.time() - 60) * 1000})
    await until(lambda: _is_empty(redis, "concert-17"), 60)


async def test_a_mode_that_lets_everyone_in_needs_no_room(start: StartRooms, redis: Client) -> None:
    off = ConfiguredLimits(1, 60, RoomRules(mode="off"))
    rooms = await start({"default": off, "concert-*": off})
    assert rooms.mode_of("concert-17") == "off"
    room = await rooms.find("concert-17")
    assert isinstance(room, UnmadeRoom)
    assert (await room.enter("ann")).allowed_in
    assert await keys_of(redis, "concert-17") == []


async def test_new_limits_of_the_entry_hold_for_rooms_that_run_and_for_those_that_do_not(
    start: StartRooms,
) -> None:
    rooms = await start()
    room = await rooms.make("concert-17", "ann")
    await room.lineup("ann")
    await rooms.provide({"default": ConfiguredLimits(1, 60), "concert-*": ConfiguredLimits(7, 60)})
    await until(lambda: _has_capacity(room, 7))
    assert (await (await rooms.make("concert-18", "ann")).overview()).capacity == 7


async def _has_capacity(room: Room, capacity: int) -> bool:
    return (await room.overview()).capacity == capacity


async def test_rooms_that_calls_make_share_a_label(start: StartRooms) -> None:
    rooms = await start()
    await rooms.make("concert-17", "ann")
    assert [rooms.label_of(name) for name in ("concert-17", "concert-18", "default", "other")] == [
        "concert-*",
        "concert-*",
        "default",
        "other",
    ]


def _keys_in(nodes: Cluster, pattern: str) -> list[str]:
    found = []
    for server in nodes.servers:
        with server.client as client:
            found += client.keys(pattern)
    return found


async def test_in_a_cluster_rooms_spread_over_the_nodes_share_connections_and_are_forgotten() -> None:
    with cluster() as nodes:
        redis = Redis(nodes.url(), 5.0)
        limits = {"default": ConfiguredLimits(1, 60), "concert-*": ConfiguredLimits(1, 60)}
        one, other = (
            Rooms(redis, named=NamedRoomLimits(idle=1.0)),
            Rooms(redis, named=NamedRoomLimits(idle=1.0)),
        )
        for rooms in (one, other):
            await rooms.provide(limits)
        async with one.running(), other.running():
            names = [f"concert-{number}" for number in range(12)]
            for name in names:
                assert (await (await one.make(name)).lineup("ann")).kind is StateKind.ADMITTED
            owners = {nodes.owner(key_slot(f"gw:{{{name}}}:line".encode())).port for name in names}
            assert len(owners) == 3
            for name in names:
                found = await other.find(name)
                assert (await found.status("ann")).allowed_in
                await found.leave("ann", "both")
            await until(lambda: not _keys_in(nodes, "gw:{concert-*"), 40)

            # The instance that did not remove the keys notices a moment later, if nobody asks it for the room.
            await until(lambda: "concert-0" not in [room.name for room in other])
            # Whoever asks for a room while it is on the list keeps it there.
            await until(lambda: not _keys_in(nodes, DirectoryKeys("").rooms))

            async def is_forgotten() -> bool:
                return isinstance(await other.find("concert-0"), UnmadeRoom)

            await until(is_forgotten)
