"""The rooms that calls have made: which there are, which of them run here, and which are forgotten.

An instance runs a room that has work: users in it, or streams. All others cost nothing but their entries in the
directory, and a look from time to time whether they have been idle for long enough. Every instance runs the rooms with
work, because any of them may have to sweep them.

A room's keys and the directory may be at different nodes of a cluster, so no script can change both. This order keeps a
room with users on the list all the same: it is entered first and made then, and its keys are deleted first and the
entry is struck off then, but only if it was not entered again meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Final

from gateway.errors import NoSuchRoom, QueueUnavailable, TooManyRooms
from gateway.waiting_room.directory import Directory, Listing
from gateway.waiting_room.named_room import MAKE_SECONDS, NamedRoom, Use
from gateway.waiting_room.presence import DEAD_SECONDS

log = logging.getLogger(__name__)

PERIOD_SECONDS: Final = 0.5
"""Every instance knows a room within a second."""

LINGER_SECONDS: Final = 30.0
"""A room runs for so long after the last call that looked for it: longer than a dead instance takes to be noticed."""

LOOK_AGAIN_SECONDS: Final = 60.0
"""When a room is looked at again that runs, or that operators have said something of."""

STALE_SECONDS: Final = 2 * MAKE_SECONDS
"""A room that was entered but is not there is struck off after this time: nobody can make it any more."""

MAX_LOOKS: Final = 100
"""Rooms that are looked at in one turn, at most."""

_LOOKS_AT_A_TIME: Final = 8

RETRY_SECONDS: Final = (5.0, 15.0)
"""When to line up again in a room that there was no space for. Each caller gets a random time from this range."""


@dataclass(frozen=True, slots=True)
class NamedRoomLimits:
    """How many rooms calls may make, after how many seconds without anyone in it a room is forgotten, and how many of
    the rooms that there are one client may have made (up to 1000; 0: no bound)."""

    rooms: int = 1000
    idle: float = 3600.0
    per_client: int = 0


@dataclass(slots=True)
class _Running:
    room: NamedRoom
    stack: AsyncExitStack


class NamedRooms:
    """Works inside ``running()``.

    ``make`` makes the object of a room. ``beside`` is entered while a room runs. ``on_stopped`` is called with the name
    of a room that runs here no longer.
    """

    def __init__(
        self,
        directory: Directory,
        make: Callable[[str], NamedRoom],
        limits: NamedRoomLimits,
        beside: Callable[[NamedRoom], AbstractAsyncContextManager[None]],
        on_stopped: Callable[[str], None] = lambda room: None,
    ) -> None:
        self._directory = directory
        self._make = make
        self._limits = limits
        self._beside = beside
        self._on_stopped = on_stopped
        self._running: dict[str, _Running] = {}
        self._entered: dict[str, int] = {}
        """All rooms that the directory lists, and when they were entered."""
        self._due: dict[str, float] = {}
        """When each of these is looked at next, by the clock of the event loop."""
        self._version = ""
        self._turn = asyncio.Lock()
        self._making: dict[tuple[str, str], asyncio.Task[NamedRoom]] = {}
        """By room and client: whether a client has made too many rooms already says nothing of another one."""
        self._open = False
        self.needed = False
        """Whether the configuration lets calls make rooms. Otherwise Redis is not asked."""

    def __iter__(self) -> Iterator[NamedRoom]:
        """The rooms that run here."""
        return iter([each.room for each in self._running.values()])

    def __len__(self) -> int:
        """All rooms that there are."""
        return len(self._entered)

    def get(self, name: str) -> NamedRoom | None:
        """The room if it runs here. It goes on running for a while."""
        found = self._running.get(name)
        if found is None:
            return None
        found.room.used_at = asyncio.get_running_loop().time()
        return found.room

    async def find(self, name: str) -> NamedRoom | None:
        """The room, which runs here from now on; None: there is no such room. Raises QueueUnavailable."""
        room = self.get(name)
        if room is not None:
            return room
        if name not in self._entered:
            entered = await self._directory.find(name)
            if entered is None:
                return None
            self._list(name, entered)
        return await self._start(self._make(name))

    async def make(self, name: str, client: str = "") -> NamedRoom:
        """The room, made if there is none. ``client``: who is counted as having made it; "": no client. Raises
        TooManyRooms and QueueUnavailable."""
        room = await self.find(name)
        if room is not None:
            return room
        making = name, client
        task = self._making.get(making)
        if task is None:
            task = self._making[making] = asyncio.create_task(
                self._make_new(name, client), name=f"making {name}"
            )
            task.add_done_callback(lambda _: self._making.pop(making, None))
        # All callers share the task, so none may cancel it.
        return await asyncio.shield(task)

    async def _make_new(self, name: str, client: str) -> NamedRoom:
        room = self._make(name)
        await room.create(await self._enter(name, client))
        return await self._start(room)

    async def _enter(self, name: str, client: str = "") -> int:
        entered = await self._directory.enlist(name, self._limits.rooms, client, self._limits.per_client)
        if entered <= 0:
            raise TooManyRooms(random.uniform(*RETRY_SECONDS), of_client=entered < 0)
        self._list(name, entered)
        return entered

    def _list(self, name: str, entered: int) -> None:
        self._entered[name] = entered
        self._due.setdefault(name, asyncio.get_running_loop().time() + LOOK_AGAIN_SECONDS)

    async def _start(self, room: NamedRoom) -> NamedRoom:
        """Runs the room, unless it runs already; returns the one that runs."""
        async with self._turn:
            running = self.get(room.name)
            if running is not None:
                return running
            if not self._open:
                raise QueueUnavailable("the waiting room is closed")
            room.enter_again = lambda: self._enter(room.name)
            room.used_at = asyncio.get_running_loop().time()
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(room.running())
                await stack.enter_async_context(self._beside(room))
                self._running[room.name] = _Running(room, stack.pop_all())
            return room

    async def _stop(self, name: str) -> None:
        running = self._running.pop(name, None)
        if running is not None:
            await running.stack.aclose()
            self._on_stopped(name)

    async def drop(self, name: str) -> None:
        """The room runs here no longer, because the configuration has made another one of it."""
        await self._stop(name)

    async def tick(self) -> None:
        """One turn: learns which rooms there are and which have work, starts and stops rooms, and looks at some of
        those that do not run. Raises QueueUnavailable."""
        working = [name for name, each in self._running.items() if each.room.has_work]
        listing = await self._directory.sync(self._version, working)
        await self._follow(listing)
        now = asyncio.get_running_loop().time()
        linger = min(LINGER_SECONDS, self._limits.idle)
        for name, each in tuple(self._running.items()):
            used = each.room.has_work or name in listing.at_work
            if not used and now - each.room.used_at > linger:
                self._due[name] = now
                await self._stop(name)
        await self._look_at_due_rooms(now)

    async def _follow(self, listing: Listing) -> None:
        now = asyncio.get_running_loop().time()
        self._version = listing.version
        if listing.rooms is not None:
            for name in self._entered.keys() - listing.rooms.keys():
                self._due.pop(name, None)
            for name in listing.rooms.keys() - self._entered.keys():
                self._due[name] = now
            self._entered = listing.rooms
        for name in listing.at_work:
            if name not in self._running and name in self._entered:
                await self._start_if_possible(name)

    async def _start_if_possible(self, name: str) -> None:
        room = self._configured(name)
        if room is not None:
            await self._start(room)

    def _configured(self, name: str) -> NamedRoom | None:
        """The object of a room; None if the configuration here has no entry for it, as that of another instance may."""
        try:
            return self._make(name)
        except KeyError:
            return None

    async def _look_at_due_rooms(self, now: float) -> None:
        due = [name for name, moment in self._due.items() if moment <= now][:MAX_LOOKS]
        turns = asyncio.Semaphore(_LOOKS_AT_A_TIME)

        async def look(name: str) -> None:
            async with turns:
                await self._look(name)

        for name in due:
            self._due[name] = now + LOOK_AGAIN_SECONDS
        await asyncio.gather(*(look(name) for name in due if name not in self._running))

    async def _look(self, name: str) -> None:
        entered, room = self._entered.get(name), self._configured(name)
        if entered is None or room is None:
            return
        try:
            use, wait = await room.look(self._limits.idle)
        except NoSuchRoom:
            if await self._directory.delist(name, entered, after_seconds=STALE_SECONDS):
                self._unlist(name)
            return
        if use is Use.USED:
            # It may be used by the streams of a dead instance alone, and it takes a while to find that out.
            (await self._start(room)).used_at += 2 * DEAD_SECONDS
        elif use is Use.FORGOTTEN:
            log.info("room %s: nobody was in it for %g s, so it is forgotten", name, self._limits.idle)
            if await self._directory.delist(name, entered):
                self._unlist(name)
        elif use is Use.IDLE:
            # Not all instances at once.
            self._due[name] = asyncio.get_running_loop().time() + wait + random.uniform(0.0, 1.0)

    def _unlist(self, name: str) -> None:
        self._entered.pop(name, None)
        self._due.pop(name, None)

    async def _keep(self) -> None:
        while True:
            if self.needed:
                try:
                    await self.tick()
                except QueueUnavailable as error:
                    log.debug("rooms that calls have made: %s", error.reason)
                except Exception:
                    log.exception("rooms that calls have made could not be kept")
            await asyncio.sleep(PERIOD_SECONDS)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serves until the block ends."""
        async with self._directory.running():
            self._open = True
            task = asyncio.create_task(self._keep(), name="named rooms")
            try:
                yield
            finally:
                self._open = False
                tasks = [task, *self._making.values()]
                for each in tasks:
                    each.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                async with self._turn:
                    for name in tuple(self._running):
                        await self._stop(name)
