"""The watch over sessions of connections: how many of them end at a time."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import cast

from gateway.waiting_room.rooms import Rooms
from gateway.waiting_room.sessions import ENDS_AT_ONCE, SessionWatch
from tests.support.waiting import eventually


class Room:
    """A room in which one session runs until it is ended."""

    server = None
    mode = "on"
    session = "1"

    async def find(self, name: str) -> Room:
        return self

    async def sessions(self, users: list[str]) -> list[str]:
        return [self.session for _ in users]


class Connections:
    """Connections that are told that their session is over: which ones, and how many in each iteration of the loop."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self.at_a_time: list[int] = []
        self._now = 0

    def end(self, number: int) -> None:
        self.told.append(number)
        if not self._now:
            asyncio.get_running_loop().call_soon(self._count)
        self._now += 1

    def _count(self) -> None:
        self.at_a_time.append(self._now)
        self._now = 0


async def test_many_connections_of_one_user_end_some_at_a_time() -> None:
    room, connections = Room(), Connections()
    watch = SessionWatch(cast(Rooms, room), period=0.01)
    most = 3 * ENDS_AT_ONCE
    forget = [watch.watch("default", "one", partial(connections.end, number)) for number in range(most)]
    async with watch.running():
        await eventually(lambda: not watch._new)
        room.session = ""
        await eventually(lambda: connections.told)
        # A connection that ends meanwhile is told nothing.
        gone = next(number for number in range(most) if number not in connections.told)
        forget[gone]()
        await eventually(lambda: sum(connections.at_a_time) == most - 1)
    assert max(connections.at_a_time) == ENDS_AT_ONCE
    assert sorted(connections.told) == [number for number in range(most) if number != gone]
    assert not len(watch)
