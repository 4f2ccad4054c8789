"""Rooms on a real Redis, with links that are closed at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest

from gateway.waiting_room.configured import ConfiguredLimits
from gateway.waiting_room.redis.connection import Redis, RedisConnection
from gateway.waiting_room.room import Room
from gateway.waiting_room.rooms import Rooms
from tests.waiting_room.rooms import TIMEOUT, make_room


@pytest.fixture
def place(redis_url: str) -> Redis:
    """Where the shared Redis is, its databases empty."""
    return Redis(redis_url, TIMEOUT)


@pytest.fixture
async def link(place: Redis) -> AsyncIterator[RedisConnection]:
    one = place.link()
    yield one
    await one.close()


@pytest.fixture
async def room(place: Redis) -> AsyncIterator[Room]:
    """A running room with two slots and sessions of a minute."""
    one = make_room(place)
    async with one.running():
        yield one


@pytest.fixture
async def run_rooms(place: Redis) -> AsyncIterator[Callable[..., Any]]:
    """Runs one more gateway's rooms until the test ends."""
    async with AsyncExitStack() as stack:

        async def run(limits: Mapping[str, ConfiguredLimits] | None = None, **options: Any) -> Rooms:
            rooms = Rooms(place, **options)
            await rooms.provide(limits or {"default": ConfiguredLimits(2, 60)})
            await stack.enter_async_context(rooms.running())
            return rooms

        yield run
