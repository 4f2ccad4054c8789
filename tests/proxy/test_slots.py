"""Slots of services: who waits, who is refused, and that none is lost."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import cast
from unittest.mock import AsyncMock

import pytest
from aiohttp.test_utils import make_mocked_request

from gateway.errors import Overloaded, UpstreamBusy
from gateway.proxy.body import NO_BODY
from gateway.proxy.forward import Forwarder
from gateway.proxy.load_balancer import Instances
from gateway.proxy.plan import ForwardPlan
from gateway.proxy.pool import UpstreamPool
from gateway.proxy.response import BufferedResponse
from gateway.proxy.slots import ServiceSlots, slots_of
from gateway.proxy.websocket import TUNNEL_PLACE, TunnelPlace, Tunnels
from gateway.resilience.services import ServicePolicy
from tests.support.raw_http import OK, answering, raw_upstream


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


class Websocket:
    """The place of a WebSocket that gives its slot back soon after it is told to."""

    def __init__(self, slots: ServiceSlots, client: str) -> None:
        self.slots = slots
        self.client = client
        self.ended = False

    def give_up(self) -> None:
        self.ended = True
        asyncio.get_running_loop().call_soon(self.slots.release, self.client, cast(TunnelPlace, self))


@pytest.mark.parametrize("most_waiting", [0, 5])
async def test_one_clients_websockets_leave_slots_to_others(most_waiting: int) -> None:
    slots = ServiceSlots(4, most_waiting)
    sockets = [Websocket(slots, "many") for _ in range(4)]
    for socket in sockets:
        await slots.acquire(10, "many", cast(TunnelPlace, socket))
    await slots.acquire(0.01, "other")
    one = Websocket(slots, "other")
    await slots.acquire(0.01, "other", cast(TunnelPlace, one))
    assert [socket.ended for socket in sockets] == [False, False, True, True]
    # Two and one: neither client ends a WebSocket of the other one.
    for client in ("many", "other"):
        with pytest.raises(UpstreamBusy):
            await slots.acquire(0.01, client)
    await slots.acquire(0.01, "third")
    assert [socket.ended for socket in sockets] == [False, True, True, True]
    # No client has more than one.
    with pytest.raises(UpstreamBusy):
        await slots.acquire(0.01, "fourth")
    assert (slots.taken, slots.waiting, one.ended) == (4, 0, False)
    assert slots.taken_by == {"many": 1, "other": 2, "third": 1}


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


async def test_a_call_that_has_its_connection_needs_no_slot_of_a_limit_that_came_later() -> None:
    """A reload may bring the limit while a call of the fast path waits for its answer."""
    async with raw_upstream(answering(OK)) as upstream, UpstreamPool(60.0) as pool:
        forwarder = Forwarder(pool, Instances({"s": [str(upstream.base)]}), Tunnels(10, 0))
        connection = await pool.connect(upstream.base, 2.0, fresh=True)
        forwarder.limit_services({"s": ServicePolicy(max_connections=1)})
        await forwarder._slots["s"].acquire(1.0)
        answer = BufferedResponse()
        request, plan = make_mocked_request("GET", "/"), ForwardPlan("route", "s", "/", [])
        got = await forwarder.complete(request, plan, AsyncMock(return_value=answer), NO_BODY, connection)
        assert got is answer
        assert forwarder._slots["s"].taken == 1


@pytest.mark.parametrize("iterations", range(6))
async def test_a_service_and_the_instance_may_both_end_one_handshake(iterations: int) -> None:
    """Its task ends some iterations of the event loop later. Meanwhile, the other of the two may choose it as well."""
    tunnels, requests = Tunnels(2, 0), [make_mocked_request("GET", "/") for _ in range(3)]

    async def handshake(number: int) -> None:
        async with tunnels.place(requests[number], "many"):
            await asyncio.Event().wait()

    handshakes = [asyncio.create_task(handshake(number)) for number in range(2)]
    await _turn()
    requests[1][TUNNEL_PLACE].give_up()
    for _ in range(iterations):
        await asyncio.sleep(0)
    async with tunnels.place(requests[2], "other"):
        pass
    handshakes[0].cancel()
    results = await asyncio.gather(*handshakes, return_exceptions=True)
    assert [type(each) for each in results] == [asyncio.CancelledError, Overloaded]
    # No place is lost.
    async with tunnels.place(requests[0], "many"), tunnels.place(requests[1], "many"):
        pass


async def test_a_client_who_fills_the_line_leaves_places_to_others() -> None:
    slots = ServiceSlots(1, 4)
    await slots.acquire(10, "greedy")
    greedy = [asyncio.create_task(slots.acquire(10, "greedy")) for _ in range(4)]
    await _turn()
    with pytest.raises(UpstreamBusy):
        await slots.acquire(10, "greedy")
    others = [asyncio.create_task(slots.acquire(10, name)) for name in ("a", "b")]
    await _turn()
    assert slots.waiting == 4
    # The newest ones have left their places.
    assert [task.done() for task in greedy] == [False, False, True, True]
    for task in greedy[2:]:
        with pytest.raises(UpstreamBusy):
            await task
    # One after the other, though the two of the greedy one came first.
    for task, before in ((greedy[0], "greedy"), (others[0], "greedy"), (others[1], "a"), (greedy[1], "b")):
        assert not task.done()
        slots.release(before)
        await _turn()
        assert task.done()
    slots.release("greedy")
    assert (slots.taken, slots.waiting, slots.taken_by, slots._last) == (0, 0, {}, {})


async def test_a_free_slot_goes_to_the_client_who_has_the_fewest() -> None:
    slots = ServiceSlots(3, 10)
    for _ in range(3):
        await slots.acquire(10, "greedy")
    waiting = [asyncio.create_task(slots.acquire(10, name)) for name in ("greedy", "greedy", "a", "b")]
    await _turn()
    slots.release("greedy")
    await _turn()
    assert [task.done() for task in waiting] == [False, False, True, False]
    slots.release("greedy")
    await _turn()
    assert [task.done() for task in waiting] == [False, False, True, True]
    slots.release("greedy")
    await _turn()
    assert [task.done() for task in waiting] == [True, False, True, True]
    waiting[1].cancel()
    await _turn()
    for client in ("a", "b", "greedy"):
        slots.release(client)
    assert (slots.taken, slots.waiting, slots.taken_by, slots._last) == (0, 0, {}, {})


class CheckedSlots(ServiceSlots):
    """Compares each choice with that of a look at all clients that wait."""

    looks = 0
    """How often the rank of a client was looked at."""

    def _rank(self, client: str) -> tuple[int, int, int]:
        self.looks += 1
        return super()._rank(client)

    def _next_client(self) -> str:
        chosen = super()._next_client()
        assert chosen == min(self._waiting, key=super()._rank)
        return chosen


@pytest.mark.parametrize("seed", range(20))
async def test_however_requests_come_and_go_the_next_is_of_the_client_with_the_lowest_rank(seed: int) -> None:
    chance = random.Random(seed)
    slots, held, tasks = (
        CheckedSlots(chance.randint(1, 4), chance.randint(1, 12)),
        list[str](),
        set[asyncio.Task[None]](),
    )

    async def request(client: str) -> None:
        with contextlib.suppress(UpstreamBusy):
            await slots.acquire(1000, client)
            held.append(client)

    for _ in range(300):
        act = chance.random()
        if act < 0.55:
            tasks.add(asyncio.create_task(request(chance.choice("abcdefgh"))))
        elif act < 0.85 and held:
            slots.release(held.pop(chance.randrange(len(held))))
        elif tasks:
            tasks.pop().cancel()
        if chance.random() < 0.5:
            await _turn()
    await _turn()
    while held:
        slots.release(held.pop())
        await _turn()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (slots.taken, slots.waiting, slots.taken_by, slots._last, slots._waiting) == (0, 0, {}, {}, {})


async def test_the_next_of_thousands_is_found_without_a_look_at_all() -> None:
    slots = CheckedSlots(1, 2000)
    await slots.acquire(100, "first")
    waiting = [asyncio.create_task(slots.acquire(100, f"client {number}")) for number in range(2000)]
    await _turn()
    slots.looks = 0
    for number in range(20):
        slots.release("first" if number == 0 else f"client {number - 1}")
    for task in waiting[1000:]:
        task.cancel()
    await _turn()
    assert slots.waiting == 980
    assert slots.looks < 3000
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
