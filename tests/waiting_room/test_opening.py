"""The opening as gateways do it: several at once, by themselves, and with what Redis has lost."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from gateway.draw.formulas import entry_of, order_key, seed_of
from gateway.errors import QueueUnavailable
from gateway.waiting_room.configured import ConfiguredLimits, RoomPolicy
from gateway.waiting_room.keys import RoomKeys
from gateway.waiting_room.observer import NoObserver
from gateway.waiting_room.opening import BeaconAnswer, salt_for
from gateway.waiting_room.redis.connection import Redis, RedisConnection
from gateway.waiting_room.room import Room
from gateway.waiting_room.rules import Prequeue, RoomRules
from gateway.waiting_room.scripts import load_all
from gateway.waiting_room.state import Phase, StateKind

USERS = 700
SCRIPTS = load_all()

StartRoom = Callable[..., Any]


def limits(prequeue: Prequeue | None) -> ConfiguredLimits:
    """Those of an instance; None: of one whose route file has no pre-queue."""
    if prequeue is None:
        return ConfiguredLimits(3, 60.0)
    rules = RoomRules(opens_at=time.time() + 600.0, prequeue=3600.0)
    return ConfiguredLimits(3, 60.0, rules, prequeue=prequeue)


@pytest.fixture
async def start(place: Redis) -> AsyncIterator[StartRoom]:
    """Starts an instance's room that does nothing by itself, as no sweep is made."""
    async with AsyncExitStack() as stack:

        async def started(prequeue: Prequeue | None) -> Room:
            given = limits(prequeue)
            room = Room(place, SCRIPTS, RoomKeys("", "sale"), given, RoomPolicy(), NoObserver())
            await stack.enter_async_context(room.running())
            return room

        yield started


async def register(room: Room, count: int = USERS) -> None:
    states = await asyncio.gather(*(room.lineup(f"user-{number}") for number in range(count)))
    assert {state.kind for state in states} == {StateKind.REGISTERED}


async def close(room: Room) -> None:
    """An operator moves the opening to now, and the next lineup finds it."""
    await room.operations.set_limits(rules={"opens_at": time.time() - 1})
    assert (await room.lineup("late")).kind is StateKind.WAITING


async def order_of(room: Room) -> list[str]:
    """All users who are in or in line, by ticket; those inside first, by name."""
    call = room.presence._link.call
    inside = sorted(user.decode() for user in await call("HKEYS", room.keys.inside))
    line = [user.decode() for user in await call("ZRANGE", room.keys.line, 0, -1)]
    return [*inside, *line]


async def drawn(room: Room, count: int = USERS) -> list[str]:
    record = await room.opener.record()
    users = [f"user-{number}" for number in range(count)]
    entries = {entry_of("sale", user, salt_for(record.salt_key, user)): user for user in users}
    seed = seed_of(bytes.fromhex(record.secret), bytes.fromhex(record.root), record.beacon)
    return [entries[entry] for entry in sorted(entries, key=lambda entry: order_key(seed, entry))]


async def test_the_first_lineup_begins_the_pre_queue_and_a_second_instance_changes_nothing(
    start: StartRoom,
) -> None:
    one, other = await start(Prequeue("draw")), await start(Prequeue("draw"))
    await asyncio.gather(register(one, 300), register(other, 300))
    record = await one.opener.record()
    assert record == await other.opener.record()
    assert (record.phase, record.order) == (Phase.GATHERING, "draw")
    await other.opener.begin()
    await other.opener.work()
    assert await one.opener.record() == record
    assert (await one.overview()).registered == 300


async def test_an_instance_without_this_pre_queue_leaves_its_begin_to_another_one(start: StartRoom) -> None:
    rooms = []
    async with asyncio.timeout(10):
        for prequeue in (None, Prequeue("draw")):
            rooms.append(await start(prequeue))
            # The settings in force are those of the instance that was configured last.
            while not rooms[-1]._configured:
                await asyncio.sleep(0.01)
    old, new = rooms
    assert (await old.lineup("ann")).kind is StateKind.UNPREPARED
    await old.opener.work()
    assert (await old.opener.record()).phase is Phase.NONE
    assert (await new.lineup("ann")).kind is StateKind.REGISTERED
    assert (await new.opener.record()).order == "draw"
    assert (await old.lineup("bob")).kind is StateKind.REGISTERED


async def test_two_instances_at_once_give_each_user_one_ticket_in_the_order_of_the_draw(
    start: StartRoom,
) -> None:
    one, other = await start(Prequeue("draw")), await start(Prequeue("draw"))
    await register(one)
    await close(one)
    await asyncio.gather(one.opener.work(), other.opener.work(), one.opener.work())
    expected = await drawn(one)
    found = await order_of(one)
    assert sorted(found[:3]) == sorted(expected[:3])
    assert found[3:] == [*expected[3:], "late"]
    summary = await one.overview()
    assert (summary.waiting, summary.allowed_in, summary.registered) == (USERS - 2, 3, 0)


async def test_by_arrival_the_registrations_decide(start: StartRoom) -> None:
    room = await start(Prequeue())
    await register(room)
    await close(room)
    await room.opener.work()
    assert await order_of(room) == [f"user-{number}" for number in range(USERS)] + ["late"]


async def test_with_a_beacon_the_root_is_there_first_and_the_value_opens_the_room(start: StartRoom) -> None:
    room = await start(Prequeue("draw", "a lottery"))
    await register(room, 300)
    assert await room.opener.enter_beacon("7", "anna", "") is BeaconAnswer.TOO_EARLY
    await close(room)
    await room.opener.work()
    record = await room.opener.record()
    assert (record.phase, record.size, record.placed, len(record.root)) == (Phase.AWAITING, 300, 0, 64)
    await room.opener.work()
    assert await room.opener.record() == record
    assert await room.opener.enter_beacon("7", "anna", "") is BeaconAnswer.ACCEPTED
    assert await room.opener.enter_beacon("7", "anna", "") is BeaconAnswer.KNOWN
    # The instance at which it was entered goes on at once.
    async with asyncio.timeout(20):
        while (await room.opener.record()).phase is not Phase.OPEN:
            await asyncio.sleep(0.01)
    assert (await order_of(room))[3:] == [*(await drawn(room, 300))[3:], "late"]


async def test_running_gateways_open_by_themselves(run_rooms: Any) -> None:
    given = {"default": ConfiguredLimits(3, 60.0), "sale": limits(Prequeue("draw"))}
    one, other = await run_rooms(given), await run_rooms(given)
    await asyncio.gather(register(one["sale"], 300), register(other["sale"], 300))
    await one["sale"].operations.set_limits(rules={"opens_at": time.time() + 0.2})
    async with asyncio.timeout(20):
        while (await one["sale"].opener.record()).phase is not Phase.OPEN:
            await asyncio.sleep(0.01)
    summary = await other["sale"].overview()
    assert (summary.waiting, summary.allowed_in, summary.registered) == (297, 3, 0)
    expected = await drawn(one["sale"], 300)
    assert (await order_of(one["sale"]))[3:] == expected[3:]


async def test_a_room_whose_registered_users_redis_has_lost_opens_for_the_others(
    start: StartRoom, link: RedisConnection, caplog: pytest.LogCaptureFixture
) -> None:
    room = await start(Prequeue("draw"))
    await register(room, 10)
    await close(room)
    await link.call("ZREM", room.keys.registered, "user-3", "user-4")
    with caplog.at_level(logging.ERROR):
        await room.opener.work()
    assert "Redis has lost 2 registered users" in caplog.text
    assert (await room.opener.record()).phase is Phase.OPEN
    assert sorted(await order_of(room)) == sorted(
        ["late", *(f"user-{number}" for number in range(10) if number not in {3, 4})]
    )


async def test_published_entries_are_in_redis_by_rank(start: StartRoom) -> None:
    room = await start(Prequeue("draw"))
    await register(room, 300)
    await close(room)
    await room.opener.work()
    record = await room.opener.record()
    expected = b"".join(
        entry_of("sale", user, salt_for(record.salt_key, user)) for user in await drawn(room, 300)
    )
    assert await room.draws.entries(0, 300) == expected
    assert await room.draws.entries(256, 2) == expected[32 * 256 : 32 * 258]


async def test_a_failing_opening_is_logged_and_tried_again(
    start: StartRoom, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    room = await start(Prequeue())
    await register(room, 3)
    await close(room)
    failed = asyncio.Event()

    async def fail() -> None:
        failed.set()
        raise RuntimeError("a fault")

    with monkeypatch.context() as patch:
        patch.setattr(room.opener, "work", fail)
        await room.sweep()
        async with asyncio.timeout(5):
            await failed.wait()
    await room.sweep()
    async with asyncio.timeout(10):
        while (await room.opener.record()).phase is not Phase.OPEN:
            await asyncio.sleep(0.01)
    assert "room sale: the opening did not go on" in caplog.text


async def test_an_opening_that_fails_for_long_is_warned_of_once(
    start: StartRoom, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    room = await start(Prequeue())
    await register(room, 3)
    worked = asyncio.Event()
    reasons = ["away", "DRAW_DIFFERS aa", "DRAW_DIFFERS aa", "", "away", "away"]

    async def work() -> None:
        worked.set()
        if reason := reasons.pop(0):
            raise QueueUnavailable(reason)

    monkeypatch.setattr(room.opener, "work", work)
    monkeypatch.setattr("gateway.waiting_room.opening.QUIET_SECONDS", 0.0)
    seen = []
    async with asyncio.timeout(10):
        while reasons:
            worked.clear()
            room.opener.wanted.set()
            await worked.wait()
            await asyncio.sleep(0)
            seen.append(len([one for one in caplog.records if one.levelno == logging.WARNING]))
    assert seen == [1, 1, 1, 1, 2, 2]
    assert "room sale: the opening has not gone on for 0 s" in caplog.text


async def test_an_opening_that_another_gateway_finishes_meanwhile_has_lost_nobody(
    start: StartRoom, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = await start(Prequeue("draw")), await start(Prequeue("draw"))
    await register(one, 10)
    await close(one)
    read = one.opener._users

    async def read_later(size: int) -> list[bytes]:
        await other.opener.work()
        return await read(size)

    monkeypatch.setattr(one.opener, "_users", read_later)
    await one.opener.work()
    assert (await one.opener.record()).phase is Phase.OPEN
    assert "lost" not in caplog.text


async def test_a_crowd_that_looks_at_the_draw_costs_one_call_a_second(
    start: StartRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await start(Prequeue("draw"))
    await register(room, 3)
    calls: list[str] = []
    run = room.draws._call

    async def counted(script: str, *args: Any, extra_keys: Any) -> Any:
        calls.append(script)
        return await run(script, *args, extra_keys=extra_keys)

    monkeypatch.setattr(room.draws, "_call", counted)
    records = await asyncio.gather(*(room.draws.recent() for _ in range(50)))
    assert set(records) == {await room.opener.record()}
    assert calls == ["draw"]
    monkeypatch.setattr("gateway.waiting_room.draw_record.KEPT_SECONDS", 0.0)
    room.draws._good_until = 0.0
    await room.draws.recent()
    await room.draws.recent()
    assert calls == ["draw"] * 3


async def test_a_draw_that_cannot_be_read_is_asked_for_once(
    start: StartRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await start(Prequeue("draw"))
    calls: list[str] = []

    async def fail(script: str, *args: Any, extra_keys: Any) -> Any:
        calls.append(script)
        raise QueueUnavailable("away")

    monkeypatch.setattr(room.draws, "_call", fail)
    answers = await asyncio.gather(*(room.draws.recent() for _ in range(9)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {QueueUnavailable}
    assert calls == ["draw"]
