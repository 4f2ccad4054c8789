"""The list of the rooms that calls have made, which all instances share: ``concert-17`` and its like."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple

from redis.exceptions import ResponseError

from gateway.errors import QueueUnavailable
from gateway.waiting_room.batch import Batcher
from gateway.waiting_room.keys import DirectoryKeys
from gateway.waiting_room.redis.connection import CallObserver, Redis
from gateway.waiting_room.redis.wire import Argument
from gateway.waiting_room.scripts import Script

AT_WORK_SECONDS = 10.0
"""A room counts as at work for so long after an instance last said so."""


class Listing(NamedTuple):
    """What ``Directory.sync`` returns. ``rooms``: each with the moment at which it was entered last, in epoch
    milliseconds; None if nothing has changed."""

    version: str
    at_work: list[str]
    rooms: dict[str, int] | None


class Directory:
    """Every method raises QueueUnavailable if Redis can't be reached. ``find`` works inside ``running()``."""

    def __init__(
        self, redis: Redis, scripts: Mapping[str, Script], prefix: str, observe: CallObserver
    ) -> None:
        self._keys = DirectoryKeys(prefix)
        self._scripts = scripts
        self._link = redis.link(observe, key=self._keys.rooms)
        self._searches: Batcher[str, int | None] = Batcher(self._search, patience=redis.timeout)

    async def enlist(self, room: str, most: int, client: str = "", per_client: int = 0) -> int:
        """Enters a room that is about to be made, and returns the moment in epoch milliseconds.

        0: there are ``most`` already. -1: ``client`` has made ``per_client`` of those that there are. That number is at
        most 1000; 0: no bound. ``client`` is "" if no client is counted as having made the room.
        """
        keys: tuple[str, ...] = (self._keys.rooms, self._keys.version)
        arguments: tuple[Argument, ...] = (room, most)
        if client and per_client:
            keys, arguments = (*keys, self._keys.of_client(client)), (*arguments, per_client)
        return int(await self._link.run(self._scripts["enlist"], keys, arguments))

    async def delist(self, room: str, entered: int, *, after_seconds: float = 0.0) -> bool:
        """Strikes off a room that is no more, unless it was entered again, or less than ``after_seconds`` ago. Returns
        whether it is struck off."""
        keys = (self._keys.rooms, self._keys.version)
        arguments: tuple[Argument, ...] = (room, entered, round(after_seconds * 1000))
        return bool(await self._link.run(self._scripts["delist"], keys, arguments))

    async def sync(self, version: str, working: Sequence[str]) -> Listing:
        """Says which rooms have work as far as this instance knows; returns what has changed since ``version``."""
        keys = (self._keys.rooms, self._keys.version, self._keys.at_work)
        arguments: tuple[Argument, ...] = (version, round(AT_WORK_SECONDS * 1000), *working)
        now, at_work, *listed = await self._link.run(self._scripts["directory"], keys, arguments)
        rooms = None
        if listed:
            pairs = iter(listed[0])
            rooms = {name.decode(): int(float(entered)) for name, entered in zip(pairs, pairs, strict=True)}
        return Listing(now.decode(), [name.decode() for name in at_work], rooms)

    async def find(self, room: str) -> int | None:
        """When the room was entered; None: there is no such room. Searches at a time share a call."""
        return await self._searches.submit(room)

    async def _search(self, rooms: list[str]) -> list[int | None]:
        try:
            found = await self._link.call("ZMSCORE", self._keys.rooms, *rooms)
        except ResponseError as error:
            raise QueueUnavailable(f"Redis: {error}") from error
        return [None if each is None else int(float(each)) for each in found]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Searches until the block ends."""
        try:
            async with self._searches.running():
                yield
        finally:
            await self._link.close()
