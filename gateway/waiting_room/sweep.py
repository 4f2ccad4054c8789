"""The sweep of each second: a lock selects one instance that does it for all.

The lock only saves work: two sweeps at once would be wasteful, never wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Mapping

import aiocron

from gateway.errors import NoSuchRoom, QueueUnavailable
from gateway.settings.redis_address import Node
from gateway.waiting_room.redis.connection import RedisConnection
from gateway.waiting_room.room import SCAN_PER_SECOND, Room
from gateway.waiting_room.scripts import Script


class SweepLock:
    """``SET NX PX`` under ``key``, with a token so that only the holder can extend it.

    It is never released: it expires after ``period_ms``. If it were released, each of N instances would do the work of
    the same second in turn.
    """

    def __init__(
        self, link: RedisConnection, scripts: Mapping[str, Script], key: str, period_ms: int
    ) -> None:
        self._link = link
        self._scripts = scripts
        self._key = key
        self._period_ms = period_ms
        self._token = secrets.token_hex(8)

    async def acquire(self) -> bool:
        """Takes the lock; returns whether this instance has it for this period. Raises QueueUnavailable."""
        return await self._run("lock")

    async def extend(self) -> bool:
        """Extends the lock by another period; False if it has expired meanwhile. Raises QueueUnavailable."""
        return await self._run("hold")

    async def _run(self, script: str) -> bool:
        return bool(await self._link.run(self._scripts[script], (self._key,), (self._token, self._period_ms)))


log = logging.getLogger(__name__)

EVERY_SECOND = "* * * * * *"
"""Six fields, seconds first."""

PERIOD_MS = 900
"""Milliseconds that one sweep's lock lasts: nearly a second, so that it is free again for the next sweep."""

MAX_SWEEPS = 8
"""Rooms that are swept at a time. In a cluster, rooms at a node that is away must not hold up those at other nodes."""

OVERVIEW_EVERY_TURNS = 5
"""While another instance sweeps, this one reads the rooms' numbers once in this many seconds."""


class Sweeper:
    """Sweeps ``rooms()`` each second, some at a time, if this instance gets the lock of that second. Works inside
    ``running()``.

    A room with much to do is swept in bounded steps until nothing is left; the lock is extended meanwhile. ``on_sweep``
    gets the outcome of each room's sweep: ``ok``, ``failed``, or ``elsewhere`` if another instance sweeps.
    """

    def __init__(
        self,
        rooms: Callable[[], Iterable[Room]],
        lock: SweepLock,
        on_sweep: Callable[[str, str], None] = lambda room, outcome: None,
    ) -> None:
        self._rooms = rooms
        self._lock = lock
        self._on_sweep = on_sweep
        self._at_work = False
        self._looked_on = 0
        self._failing: set[str] = set()
        """Rooms that could not be swept the last time, and those at the same servers."""
        self._trying: asyncio.Task[None] | None = None
        """Sweeps these, beside the turns: each may take as long as the time-out of Redis."""

    async def tick(self) -> None:
        """The work of one second. Does nothing if the previous one is still running, and takes no lock if there are no
        rooms."""
        if self._at_work or not tuple(self._rooms()):
            return
        self._at_work = True
        try:
            if await self._lock.acquire():
                await self._sweep_all()
            else:
                await self._read_overview()
        except QueueUnavailable as error:
            log.debug("no sweep: %s", error.reason)
        finally:
            self._at_work = False

    async def _sweep_all(self) -> None:
        rooms = tuple(self._rooms())
        self._failing.intersection_update(room.name for room in rooms)
        late = [room for room in rooms if room.name in self._failing]
        turns, away = asyncio.Semaphore(MAX_SWEEPS), set[Node]()

        async def sweep(room: Room) -> None:
            async with turns:
                if room.server in away:
                    late.append(room)
                    self._failing.add(room.name)
                elif not await self._sweep_and_tell(room) and room.server is not None:
                    away.add(room.server)

        await asyncio.gather(*(sweep(room) for room in rooms if room.name not in self._failing))
        if late and self._trying is None:
            self._trying = asyncio.create_task(self._try(late), name="sweep of rooms that failed")

    async def _try(self, rooms: Iterable[Room]) -> None:
        turns = asyncio.Semaphore(MAX_SWEEPS)

        async def sweep(room: Room) -> None:
            async with turns:
                await self._sweep_and_tell(room)

        try:
            await asyncio.gather(*map(sweep, rooms))
        finally:
            self._trying = None

    async def _sweep_and_tell(self, room: Room) -> bool:
        """Returns whether the room could be swept."""
        outcome = await self._sweep_safely(room)
        self._on_sweep(room.name, outcome)
        if outcome == "ok":
            self._failing.discard(room.name)
        else:
            self._failing.add(room.name)
        return outcome == "ok"

    async def _read_overview(self) -> None:
        """Another instance sweeps. Once in a while this one reads the rooms' numbers, so that those that it shows are
        at most a few seconds old even if no user comes to it. No call of a user asks a room that is off, so such a room
        is read every second, to hear when it is on again."""
        self._looked_on += 1
        away = set[Node]()
        for room in self._rooms():
            self._on_sweep(room.name, "elsewhere")
            if room.server not in away and (room.off or self._looked_on % OVERVIEW_EVERY_TURNS == 0):
                try:
                    await room.overview()
                except QueueUnavailable:
                    if room.server is not None:
                        away.add(room.server)

    async def _sweep_safely(self, room: Room) -> str:
        """Sweeps one room and returns the outcome. A room with unusable keys must not keep the others from being
        swept."""
        try:
            await self._sweep(room)
        except NoSuchRoom:
            # Another instance has found it idle. It does not run here for long.
            return "ok"
        except QueueUnavailable as error:
            log.debug("room %s was not swept: %s", room.name, error.reason)
            return "failed"
        return "ok"

    async def _sweep(self, room: Room) -> None:
        loop = asyncio.get_running_loop()
        extend_at = loop.time() + PERIOD_MS / 2000
        summary = await room.sweep(scan=SCAN_PER_SECOND)
        while summary.more:
            if loop.time() >= extend_at:
                extend_at = loop.time() + PERIOD_MS / 2000
                if not await self._lock.extend():
                    return
            summary = await room.sweep()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sweeps until the block ends."""
        turns: set[asyncio.Task[None]] = set()

        def begin_turn() -> None:
            turn = asyncio.create_task(self.tick(), name="sweep")
            turns.add(turn)
            turn.add_done_callback(turns.discard)

        cron = aiocron.crontab(EVERY_SECOND, func=begin_turn, start=False)
        cron.start()
        try:
            yield
        finally:
            cron.stop()
            tasks = [*turns, *([] if self._trying is None else [self._trying])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
