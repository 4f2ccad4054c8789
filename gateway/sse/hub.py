"""The streams of one room on this instance: whose they are, what each is sent, and when.

Nothing here waits for a client. Every change of a stream happens between two awaits. Each read of the room has a
number. The result of a read is ignored for a stream if the read began before the stream joined, or before another read
whose result the stream already has. So replies may overtake events and one another.
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
"""Maximum delay in seconds of an answer's head: until then it waits for the first status, to go out together with
it."""


@dataclass(frozen=True, slots=True)
class StreamTimings:
    """Intervals of updates and heartbeats (seconds), and how many streams one user may have."""

    status_interval: float = 10.0
    heartbeat: float = 30.0
    streams_per_user: int = 8


class Hub:
    """One room's streams. All hubs of an instance share ``seats``, the stream limit."""

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
        """``on_kept`` is called for each user admitted while streaming: first estimate and actual wait, in seconds."""
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
        # Bound once for all streams: each access to ``self.leave`` would create another bound method.
        self._leave = self.leave

    def __len__(self) -> int:
        """The number of open streams of this room."""
        return len(self._registry)

    @property
    def full(self) -> bool:
        """Whether a new stream would be turned away."""
        return self._draining or self._seats.full

    # -- a stream's life ------------------------------------------------------------------------------

    def serve(self, tab: Subscriber) -> None:
        """Takes over a stream, from its first event to its end.

        A full hub sends the state once and ends the stream. A draining hub asks the client to come back.
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
        """Registers a stream: from now on it gets events. If the user has too many streams, ends the user's oldest."""
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
        """Removes a stream, which ends it. A stream that is not registered has already left and is ignored."""
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
        """Passes an event on to the user's streams at once. Streams with a newer ticket ignore it.

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

    # -- all streams ----------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Runs the wheel, the heartbeats and the reconciliation inside this context."""
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
        """Events arrive again, and some may have been missed: starts a ``reconcile`` at once."""
        self._missed.set()

    async def reconcile(self) -> None:
        """Ends the streams that should have ended; sends nothing to users who still wait.

        Goes through all streams without a pause, one call at a time.
        """
        for people in self._registry.slots():
            await self._reader.each(people, partial(self._tell, quiet=True))

    async def drain(self, seconds: float) -> None:
        """Ends all streams evenly over ``seconds`` and asks their clients to come back; accepts no new streams."""
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
        # Streams whose state could not be read have not been sent the heartbeat yet.
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
        # Half of the time is left to other work, so some streams get their heartbeat a little later.
        await in_slices(tabs, partial(self._send, frame=beat), rest=HOLD_SECONDS)

    # -- one user, one stream -------------------------------------------------------------------------

    def _open(self, tab: Subscriber, state: UserState | None, read: int) -> None:
        self._opening.discard(tab)
        person = self._registry.find(tab.user)
        # Without an answer the stream stays open, and the wheel comes round to it.
        if state is not None and person is not None:
            self._tell(person, state, read)
        tab.flush()

    def _open_late(self) -> None:
        """One timer for all waiting streams: a stream that has just joined is opened a little early."""
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
