"""Who has streams here."""

from __future__ import annotations

from gateway.sse.registry import StreamLimit, StreamRegistry
from gateway.sse.subscriber import Subscriber
from tests.sse.rig import Line


def subscriber(user: str) -> Subscriber:
    return Subscriber(user, "ko", "ko", Line(), chunked=True, limit=1)


async def test_users_and_not_streams_have_a_place_on_the_wheel() -> None:
    registry = StreamRegistry(StreamLimit(10))
    first, second, other = subscriber("kim"), subscriber("kim"), subscriber("lee")
    entry = registry.add(first)

    assert registry.add(second) is entry
    assert registry.add(other) is not entry
    assert entry.subscribers == (first, second)
    assert sum(len(entries) for entries in registry.slots()) == 2
    assert set(registry.subscribers()) == {first, second, other}


async def test_closing_the_last_stream_removes_the_user() -> None:
    registry = StreamRegistry(StreamLimit(10))
    first, second = subscriber("kim"), subscriber("kim")
    registry.add(first)
    entry = registry.add(second)

    assert registry.discard(first) is entry
    assert registry.find("kim") is entry
    assert registry.discard(second) is entry
    assert registry.find("kim") is None
    assert list(registry.subscribers()) == []


async def test_a_stream_that_is_not_there_can_be_discarded() -> None:
    registry = StreamRegistry(StreamLimit(10))
    gone = subscriber("kim")

    assert registry.discard(gone) is None
    registry.add(subscriber("kim"))
    assert registry.discard(gone) is None
    assert len(registry) == 1


async def test_rooms_share_the_seats_of_an_instance() -> None:
    stream_limit = StreamLimit(2)
    default, vip = StreamRegistry(stream_limit), StreamRegistry(stream_limit)
    first = subscriber("kim")
    default.add(first)
    assert not stream_limit.full
    vip.add(subscriber("kim"))

    assert stream_limit.full
    assert (len(default), len(vip)) == (1, 1)
    default.discard(first)
    default.discard(first)
    assert (stream_limit.full, stream_limit.taken) == (False, 1)


async def test_streams_may_leave_while_they_are_gone_through() -> None:
    registry = StreamRegistry(StreamLimit(1000))
    subscribers = [subscriber(f"user-{n % 150}") for n in range(450)]
    for one in subscribers:
        registry.add(one)
    for one in registry.subscribers():
        registry.discard(one)

    assert len(registry) == 0
