"""The streams of one room on this instance: who has them, what each is told, and when.

Nothing here waits for a reader. Every change of a stream happens between two awaits, and whatever is read
from the room carries a number: a read that began before a stream joined, or before a read that has already
told it something, says nothing about that stream. So replies may overtake events and one another.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, cycle
from time import monotonic

from gateway.sse import termination as verdict
from gateway.sse.frames import Encoder, Frame, joined
from gateway.sse.interfaces import Counts, Presence, Renderer, RoomEvent, States, UserState
from gateway.sse.pacing import HOLD_SECONDS, HeartbeatSchedule, evenly, every, in_slices
from gateway.sse.registry import StreamLimit, StreamRegistry, UserStreams
from gateway.sse.state_reader import OnRun, Reader
from gateway.sse.subscriber import Subscriber
from gateway.sse.termination import AllowedIn, Refused, StreamEnd

OPENING_SECONDS = 0.1
"""The head of an answer goes out together with the first status, unless that takes longer than this."""


@dataclass(frozen=True, slots=True)
class StreamTimings:
    """How often a stream is written to (seconds), and how many one user may have."""

    status_interval: float = 10.0
    heartbeat: float = 30.0
    streams_per_user: int = 8


class Hub:
    """One room's streams. ``seats`` is shared by all hubs of an instance."""

    def __init__(
        self,
        states: States,
        presence: Presence,
        renderer: Renderer,
        seats: StreamLimit,
        *,
        tempo: StreamTimings,
        counts: Counts,
        on_run: OnRun = lambda outcome, seconds: None,
        on_kept: Callable[[float, float], None] = lambda promised, real: None,
    ) -> None:
        """``on_kept`` hears, of each user told of the admission, the first estimate and how long it really took."""
        self._presence = presence
        self._encoder = Encoder(renderer)
        self._seats = seats
        self._tempo = tempo
        self._counts = counts
        self._on_kept = on_kept
        self._reader = Reader(states, on_run)
        self._registry = StreamRegistry(seats)
        slots = len(self._registry.wheel)
        self._slots = cycle(range(slots))
        self._pulse = HeartbeatSchedule(slots, tempo.heartbeat, tempo.status_interval)
        self._frames = 0
        self._opening: set[Subscriber] = set()
        self._late: asyncio.TimerHandle | None = None
        self._missed = asyncio.Event()
        self._draining = False
        # One for all streams: each look at ``self.leave`` would make another.
        self._leave = self.leave

    def __len__(self) -> int:
        """Open streams of this room."""
        return len(self._registry)

    @property
    def full(self) -> bool:
        """Whether a newcomer would be turned away."""
        return self._draining or self._seats.full

    # -- a stream's life ------------------------------------------------------------------------------

    def serve(self, tab: Subscriber) -> None:
        """Takes over a stream, from its first event to its end.

        A hub that is full tells the state once and ends the stream; a draining one says come back.
        """
        if self._draining:
            self._turn_away(tab, None, 0)
        elif self._seats.full:
            self._reader.one(tab.user, partial(self._turn_away, tab))
        else:
            self.join(tab)
            self._opening.add(tab)
            if self._late is None:
                self._late = asyncio.get_running_loop().call_later(OPENING_SECONDS, self._open_late)
            self._reader.one(tab.user, partial(self._open, tab))

    def join(self, tab: Subscriber) -> None:
        """Registers a stream: from now on events reach it. One too many of a user ends that user's oldest."""
        tab.since = self._reader.latest
        tab.on_gone = self._leave
        person = self._registry.add(tab)
        self._counts.stream_opened()
        if len(person.tabs) == 1:
            self._presence.arrived(tab.user)
        elif len(person.tabs) > self._tempo.streams_per_user:
            self._end(person.tabs[0], Refused("TOO_MANY_STREAMS"))
        tab.hold(self._encoder.opening())
        self._frames += 1

    def leave(self, tab: Subscriber) -> None:
        """Forgets a stream, which is over then. Whoever isn't here has left already."""
        person = self._registry.discard(tab)
        if person is None:
            return
        tab.close("gone")
        self._counts.stream_closed()
        if tab.ended == "cut_off":
            self._counts.reader_cut_off()
        if not person.tabs:
            self._presence.departed(tab.user)

    def deliver(self, event: RoomEvent) -> None:
        """Passes on what happened to a user, at once; streams that it is not about ignore it.

        A stream whose own ticket isn't known yet keeps the event until its state comes.
        """
        person = self._registry.find(event.user)
        if person is None:
            return
        if event.kind == "ADMITTED" and person.promised and event.ticket == person.promised[0]:
            self._on_kept(person.promised[1], monotonic() - person.promised[2])
        for tab in person.tabs:
            if tab.ticket is None:
                tab.held = verdict.newer(tab.held, event)
            elif verdict.concerns(event, tab.ticket):
                self._end(tab, verdict.of_event(event))

    # -- everybody ------------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Turns the wheel, beats the heart and reconciles when told to, while inside."""
        tick = self._tempo.status_interval / len(self._registry.wheel)
        tasks = [
            asyncio.create_task(every(tick, self._turn), name="stream-wheel"),
            asyncio.create_task(every(self._pulse.period, self._beat), name="stream-heartbeat"),
            asyncio.create_task(self._reconcile_when_missed(), name="stream-reconcile"),
        ]
        try:
            yield
        finally:
            if self._late is not None:
                self._late.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def restored(self) -> None:
        """Events come again, and some may have been missed: a ``reconcile`` begins at once."""
        self._missed.set()

    async def reconcile(self) -> None:
        """Ends what should have ended; those who wait hear nothing.

        Goes through all streams at once, one call at a time.
        """
        for people in self._registry.slots():
            await self._reader.each(people, partial(self._tell, quiet=True))

    async def drain(self, seconds: float) -> None:
        """Ends all streams evenly over ``seconds`` and asks their readers to come back; takes no new ones."""
        self._draining = True
        await evenly(list(self._registry.tabs()), seconds, self._dismiss)

    async def _reconcile_when_missed(self) -> None:
        while True:
            await self._missed.wait()
            self._missed.clear()
            await self.reconcile()

    async def _turn(self) -> None:
        self._counts.frames(self._frames)
        self._frames = 0
        slot = next(self._slots)
        people = self._registry.wheel[slot]
        if not self._pulse.goes_along(slot):
            await self._reader.each(people, self._tell)
            return
        beat, before = self._encoder.heartbeat(), self._reader.latest
        await self._reader.each(people, partial(self._tell, beat=beat))
        # What could not be read was not told to anybody.
        await self._send_heartbeats(
            beat, (tab for person in people for tab in person.tabs if tab.since <= before)
        )

    async def _beat(self) -> None:
        slots = self._pulse.overdue()
        if slots:
            people = chain.from_iterable(self._registry.wheel[slot] for slot in slots)
            await self._send_heartbeats(
                self._encoder.heartbeat(), (tab for person in people for tab in person.tabs)
            )

    async def _send_heartbeats(self, beat: Frame, tabs: Iterable[Subscriber]) -> None:
        # Half of the time is left to others: to some a heartbeat comes a little later.
        await in_slices(tabs, partial(self._send, frame=beat), rest=HOLD_SECONDS)

    # -- one user, one stream -------------------------------------------------------------------------

    def _open(self, tab: Subscriber, state: UserState | None, read: int) -> None:
        self._opening.discard(tab)
        person = self._registry.find(tab.user)
        # Without an answer the stream lives on, and the wheel comes round to it.
        if state is not None and person is not None:
            self._tell(person, state, read)
        tab.flush()

    def _open_late(self) -> None:
        """One timer for all: whoever has come just now is opened a little early."""
        self._late = None
        for tab in self._opening:
            tab.flush()
        self._opening.clear()

    def _tell(
        self, person: UserStreams, state: UserState, read: int, quiet: bool = False, beat: Frame | None = None
    ) -> None:
        update: Frame | None = None
        estimate = state.estimated_wait
        if estimate is not None and (person.promised is None or person.promised[0] != state.ticket):
            person.promised = (state.ticket or 0, estimate, monotonic())
        for tab in person.tabs:
            if read <= tab.since:
                if beat is not None:
                    self._send(tab, beat)
                continue
            tab.since = read
            ending = verdict.of_state(state, tab.held)
            if ending is not None:
                self._end(tab, ending)
                continue
            first = tab.ticket is None
            tab.ticket, tab.held = state.ticket or 0, None
            if first or not quiet:
                if update is None:
                    update = self._encoder.status(state)
                    if beat is not None:
                        update = joined(update, beat)
                self._send(tab, update, frames=1 if beat is None else 2)

    def _turn_away(self, tab: Subscriber, state: UserState | None, _read: int) -> None:
        if state is None:
            frame = self._encoder.no_room()
        elif ending := verdict.of_state(state, held=None):
            frame = self._encoder.ending(ending, tab.locale)
        else:
            frame = self._encoder.only_status(state)
        self._frames += tab.finish(frame, "turned_away")

    def _dismiss(self, tab: Subscriber) -> None:
        self._frames += tab.finish(self._encoder.going_away(), "drained")
        self.leave(tab)

    def _end(self, tab: Subscriber, ending: StreamEnd) -> None:
        cause = "admitted" if isinstance(ending, AllowedIn) else "refused"
        self._frames += tab.finish(self._encoder.ending(ending, tab.locale), cause)
        self.leave(tab)

    def _send(self, tab: Subscriber, frame: Frame, frames: int = 1) -> None:
        if tab.write(frame):
            self._frames += frames
        else:
            self.leave(tab)
