"""Who has streams here."""

from __future__ import annotations

from gateway.sse.registry import StreamLimit, StreamRegistry
from gateway.sse.subscriber import Subscriber
from tests.sse.rig import Line


def tab(user: str) -> Subscriber:
    return Subscriber(user, "ko", Line(), chunked=True, limit=1)


async def test_users_and_not_streams_have_a_place_on_the_wheel() -> None:
    registry = StreamRegistry(StreamLimit(10))
    first, second, other = tab("kim"), tab("kim"), tab("lee")
    person = registry.add(first)

    assert registry.add(second) is person
    assert registry.add(other) is not person
    assert person.tabs == (first, second)
    assert sum(len(people) for people in registry.slots()) == 2
    assert set(registry.tabs()) == {first, second, other}


async def test_closing_the_last_stream_removes_the_user() -> None:
    registry = StreamRegistry(StreamLimit(10))
    first, second = tab("kim"), tab("kim")
    registry.add(first)
    person = registry.add(second)

    assert registry.discard(first) is person
    assert registry.find("kim") is person
    assert registry.discard(second) is person
    assert registry.find("kim") is None
    assert list(registry.tabs()) == []


async def test_a_stream_that_is_not_there_can_be_discarded() -> None:
    registry = StreamRegistry(StreamLimit(10))
    gone = tab("kim")

    assert registry.discard(gone) is None
    registry.add(tab("kim"))
    assert registry.discard(gone) is None
    assert len(registry) == 1


async def test_rooms_share_the_seats_of_an_instance() -> None:
    seats = StreamLimit(2)
    default, vip = StreamRegistry(seats), StreamRegistry(seats)
    first = tab("kim")
    default.add(first)
    assert not seats.full
    vip.add(tab("kim"))

    assert seats.full
    assert (len(default), len(vip)) == (1, 1)
    default.discard(first)
    default.discard(first)
    assert (seats.full, seats.taken) == (False, 1)


async def test_streams_may_leave_while_they_are_gone_through() -> None:
    registry = StreamRegistry(StreamLimit(1000))
    tabs = [tab(f"user-{n % 150}") for n in range(450)]
    for one in tabs:
        registry.add(one)
    for one in registry.tabs():
        registry.discard(one)

    assert len(registry) == 0
