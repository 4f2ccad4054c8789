"""A crowd that comes at once: exactly as many get in as there are slots."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from redis.asyncio import Redis as Client

from gateway.waiting_room.configured import ConfiguredLimits
from gateway.waiting_room.state import Left, StateKind

CROWD = 2_000
CAPACITY = 100


async def rush(gateways: list[Any]) -> list[Any]:
    calls = [gateways[n % len(gateways)]["default"].lineup(f"u{n:04}") for n in range(CROWD)]
    return await asyncio.gather(*calls)


def assert_exact(states: list[Any]) -> None:
    kinds = Counter(state.kind for state in states)
    assert kinds == {StateKind.ADMITTED: CAPACITY, StateKind.WAITING: CROWD - CAPACITY}
    tickets = [state.ticket for state in states if state.waiting]
    assert sorted(tickets) == list(range(1, CROWD - CAPACITY + 1))


async def test_of_2000_at_once_exactly_100_get_in_first_come_first_served(
    run_rooms: Callable[..., Any],
) -> None:
    rooms = await run_rooms({"default": ConfiguredLimits(CAPACITY, 60)})
    states = await rush([rooms])
    assert_exact(states)
    assert [state.kind for state in states[:CAPACITY]] == [StateKind.ADMITTED] * CAPACITY
    waiting = [state.ticket for state in states[CAPACITY:]]
    assert waiting == sorted(waiting)


async def test_with_two_gateways_on_one_redis_exactly_100_get_in_too(
    run_rooms: Callable[..., Any], redis: Client
) -> None:
    gateways = [await run_rooms({"default": ConfiguredLimits(CAPACITY, 60)}) for _ in range(2)]
    assert_exact(await rush(gateways))
    assert await redis.hlen("allowedIn:users") == CAPACITY


async def test_while_a_crowd_comes_and_goes_at_two_gateways_no_user_is_too_many_or_lost(
    run_rooms: Callable[..., Any], redis: Client
) -> None:
    gateways = [await run_rooms({"default": ConfiguredLimits(CAPACITY, 60)}) for _ in range(2)]
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, await redis.hlen("allowedIn:users"))

    async def visit(n: int) -> None:
        room, other = gateways[n % 2]["default"], gateways[(n + 1) % 2]["default"]
        state = await room.lineup(f"u{n:04}")
        if n % 7 == 0 and state.waiting:
            assert await other.leave(f"u{n:04}", "both") is not Left.NOTHING
            return
        while state.waiting:
            await asyncio.sleep(0.01)
            (state,) = await other.statuses([f"u{n:04}"])
        assert state.allowed_in
        assert (await other.enter(f"u{n:04}")).kind is StateKind.ALLOWED_IN
        assert await room.leave(f"u{n:04}", "slot") is Left.SLOT

    watching = asyncio.create_task(watch())
    async with asyncio.timeout(50):
        await asyncio.gather(*(visit(n) for n in range(600)))
    watching.cancel()
    await asyncio.wait([watching])
    assert watching.cancelled()
    assert most <= CAPACITY
    summary = await gateways[0]["default"].overview()
    assert (summary.waiting, summary.allowed_in) == (0, 0)
