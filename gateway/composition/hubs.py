"""The hubs: they hold the streams of every room and pass the rooms' events to them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol

from gateway import __version__
from gateway.api.stream import EventRenderer
from gateway.auth.passes import Passes
from gateway.sse.hub import Hub, StreamTimings
from gateway.sse.interfaces import StreamCounters
from gateway.sse.registry import StreamLimit
from gateway.waiting_room.events import RoomEvent
from gateway.waiting_room.instances import report
from gateway.waiting_room.room import Room


class HubCounts(StreamCounters, Protocol):
    """The counts that the hubs report, and those that each hub reports for its room."""

    def estimated(self, room: str, first_estimate: float, real: float, /) -> None:
        """A stream sent an admission ``real`` seconds after its first estimate, which was ``first_estimate``
        seconds."""


class Hubs(Mapping[str, Hub]):
    """One hub per room, by the room's name. Works inside ``running()``."""

    def __init__(
        self,
        stream_limit: StreamLimit,
        timings: StreamTimings,
        counts: HubCounts,
        passes: Passes | None = None,
        lag: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """``lag`` returns how late the event loop is, in seconds."""
        self._lag = lag
        self.stream_limit = stream_limit
        self._timings = timings
        self._counts = counts
        self._passes = passes
        self._hubs: dict[str, Hub] = {}
        self._stack: contextlib.AsyncExitStack | None = None

    def __getitem__(self, name: str) -> Hub:
        return self._hubs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._hubs)

    def __len__(self) -> int:
        return len(self._hubs)

    async def provide(self, rooms: Iterable[Room]) -> None:
        """Makes a hub for each room that does not have one yet."""
        for room in rooms:
            if room.name in self._hubs:
                continue
            hub = self._make(room)
            if self._stack is not None:
                await self._stack.enter_async_context(hub.running())
            self._hubs[room.name] = hub

    def _report(self, hub: Hub) -> str:
        """What this instance reports of itself for the hub's room."""
        return report(len(hub), __version__, self._lag())

    @contextlib.asynccontextmanager
    async def beside(self, room: Room) -> AsyncIterator[None]:
        """Runs a hub for ``room`` until the block ends."""
        hub = self._make(room)
        async with hub.running():
            self._hubs[room.name] = hub
            try:
                yield
            finally:
                del self._hubs[room.name]

    def _make(self, room: Room) -> Hub:
        hub = Hub(
            room,
            room.presence,
            EventRenderer(room.name, room.notices, self._passes),
            self.stream_limit,
            timings=self._timings,
            counts=self._counts,
            on_admitted=partial(self._note_estimate, room),
        )
        room.presence.about = partial(self._report, hub)
        room.notices.on_change = hub.announce
        return hub

    def _note_estimate(self, room: Room, first_estimate: float, real: float) -> None:
        """Counts how far an estimate was off: in the metrics of this instance, and in the report of the room."""
        self._counts.estimated(room.name, first_estimate, real)
        room.presence.estimated(first_estimate, real)

    def deliver(self, events: Sequence[RoomEvent]) -> None:
        """Passes events on to the streams they are about."""
        for event in events:
            hub = self._hubs.get(event.room)
            if hub is not None:
                hub.deliver(event)

    def restored(self) -> None:
        """Events may have been missed: every hub reads the state of its users itself."""
        for hub in self._hubs.values():
            hub.restored()

    async def drain(self, seconds: float) -> None:
        """Ends all streams, spread evenly over ``seconds``."""
        await asyncio.gather(*(hub.drain(seconds) for hub in self._hubs.values()))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Runs all hubs until the block ends."""
        async with contextlib.AsyncExitStack() as stack:
            for hub in tuple(self._hubs.values()):
                await stack.enter_async_context(hub.running())
            self._stack = stack
            try:
                yield
            finally:
                self._stack = None
