"""Slots of services: who waits, who is refused, and that none is lost."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import UpstreamBusy
from gateway.proxy.slots import ServiceSlots, slots_of
from gateway.resilience.services import ServicePolicy


async def _turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_requests_wait_for_their_turn_and_more_are_refused() -> None:
    slots, order = ServiceSlots(1, 2), list[str]()

    async def request(name: str) -> None:
        await slots.acquire(10)
        order.append(name)

    await request("first")
    tasks = [asyncio.create_task(request(name)) for name in ("second", "third")]
    await _turn()
    assert slots.waiting == 2
    with pytest.raises(UpstreamBusy):
        await slots.acquire(10)
    for expected in (["first", "second"], ["first", "second", "third"]):
        slots.release()
        await _turn()
        assert order == expected
    slots.release()
    await asyncio.gather(*tasks)
    assert (slots.taken, slots.waiting) == (0, 0)


async def test_a_wait_is_bounded() -> None:
    slots = ServiceSlots(1, 5)
    await slots.acquire(10)
    with pytest.raises(UpstreamBusy):
        await slots.acquire(0.01)
    assert (slots.taken, slots.waiting) == (1, 0)


async def test_a_client_that_leaves_gives_its_turn_on() -> None:
    slots = ServiceSlots(1, 5)
    await slots.acquire(10)
    gone, waiting = (asyncio.create_task(slots.acquire(10)) for _ in range(2))
    await _turn()
    gone.cancel()
    slots.release()
    await _turn()
    assert gone.cancelled()
    assert waiting.done()
    assert (slots.taken, slots.waiting) == (1, 0)
    # It leaves at the very moment when the slot comes.
    late = asyncio.create_task(slots.acquire(10))
    await _turn()
    slots.release()
    late.cancel()
    await _turn()
    assert (slots.taken, slots.waiting) == (0, 0)


async def test_without_room_to_wait_the_next_is_refused_at_once() -> None:
    slots = ServiceSlots(1, 0)
    await slots.acquire(10)
    with pytest.raises(UpstreamBusy):
        await slots.acquire(10)


def test_slots_stay_while_their_limits_do() -> None:
    policies = {"a": ServicePolicy(max_connections=1, max_waiting=2), "b": ServicePolicy()}
    first = slots_of(policies, {})
    assert first.keys() == {"a"}
    assert slots_of(policies, first)["a"] is first["a"]
    changed = {"a": ServicePolicy(max_connections=2, max_waiting=2)}
    assert slots_of(changed, first)["a"] is not first["a"]
    assert slots_of({}, first) == {}
