"""The streams of one room on this instance: whose they are, what each is sent, and when.

Nothing here waits for a client. Every change of a stream happens between two awaits. Each read of the room has a
number. The result of a read is ignored for a stream if the read began before the stream joined, or before another read
whose result the stream already has. So replies may overtake events and one another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, cycle, islice
from time import monotonic

from gateway.sse import termination
from gateway.sse.frames import Encoder, Frame, join
from gateway.sse.interfaces import Presence, Renderer, States, StreamCounters, UserEvent, UserState
from gateway.sse.pacing import MAX_SLICE_SECONDS, HeartbeatSchedule, evenly, every, in_slices
from gateway.sse.registry import StreamLimit, StreamRegistry, UserStreams
from gateway.sse.state_reader import OnRun, StateReader
from gateway.sse.subscriber import Subscriber
from gateway.sse.termination import AllowedIn, StreamEnd, StreamRefused

log = logging.getLogger(__name__)

OPENING_SECONDS = 0.1
"""Maximum delay in seconds of an answer's head: until then it waits for the first status, to go out together with
it."""


OPENED_AT_ONCE = 256
"""Answers of which the heads are written in one iteration of the event loop because their first status is late."""


@dataclass(frozen=True, slots=True)
class StreamTimings:
    """Intervals of updates and heartbeats (seconds), and how many streams one user may have."""

    status_interval: float = 10.0
    heartbeat: float = 30.0
    streams_per_user: int = 8


class Hub:
    """One room's streams. All hubs of an instance share ``stream_limit``, the stream limit."""

    def __init__(
        self,
        states: States,
        presence: Presence,
        renderer: Renderer,
        stream_limit: StreamLimit,
        *,
        timings: StreamTimings,
        counts: StreamCounters,
        on_run: OnRun = lambda outcome, seconds: None,
        on_admitted: Callable[[float, float], None] = lambda first_estimate, real: None,
    ) -> None:
        """``on_admitted`` is called for each user admitted while streaming: first estimate and actual wait, in
        seconds."""
        self._presence = presence
        self._encoder = Encoder(renderer)
        self._stream_limit = stream_limit
        self._timings = timings
        self._counts = counts
        self._on_admitted = on_admitted
        self._reader = StateReader(states, on_run)
        self._registry = StreamRegistry(stream_limit)
        slots = len(self._registry.wheel)
        self._slots = cycle(range(slots))
        self._heartbeats = HeartbeatSchedule(slots, timings.heartbeat, timings.status_interval)
        self._frames = 0
        self._opening: set[Subscriber] = set()
        self._late_timer: asyncio.TimerHandle | None = None
        self._events_missed = asyncio.Event()
        self._draining = False
        self._fronts = 0
        """How many users operators have put in front while this hub listened."""
        self._announcing: asyncio.Task[None] | None = None
        self._announce_again = False
        # Bound once for all streams: each access to ``self.leave`` would create another bound method.
        self._leave = self.leave

    def __len__(self) -> int:
        """The number of open streams of this room."""
        return len(self._registry)

    @property
    def full(self) -> bool:
        """Whether a new stream would be turned away."""
        return self._draining or self._stream_limit.full

    # -- a stream's life ------------------------------------------------------------------------------

    def serve(self, subscriber: Subscriber) -> None:
        """Takes over a stream, from its first event to its end.

        A full hub sends the state once and ends the stream. A draining hub asks the client to come back.
        """
        if self._draining:
            self._turn_away(subscriber, None, 0)
        elif self._stream_limit.full:
            self._reader.read_one(subscriber.user, partial(self._turn_away, subscriber))
        else:
            self.join(subscriber)
            self._opening.add(subscriber)
            if self._late_timer is None:
                self._late_timer = asyncio.get_running_loop().call_later(OPENING_SECONDS, self._open_overdue)
            self._reader.read_one(subscriber.user, partial(self._open, subscriber))

    def join(self, subscriber: Subscriber) -> None:
        """Registers a stream: from now on it gets events. If the user has too many streams, ends the user's oldest."""
        subscriber.since = self._reader.latest
        subscriber.on_gone = self._leave
        entry = self._registry.add(subscriber)
        self._counts.stream_opened()
        if len(entry.subscribers) == 1:
            self._presence.arrived(subscriber.user)
        elif len(entry.subscribers) > self._timings.streams_per_user:
            self._end(entry.subscribers[0], StreamRefused("TOO_MANY_STREAMS"))
        else:
            self._presence.counted(subscriber.user, len(entry.subscribers))
        subscriber.buffer(self._encoder.opening())
        self._frames += 1

    def leave(self, subscriber: Subscriber) -> None:
        """Removes a stream, which ends it. A stream that is not registered has already left and is ignored."""
        entry = self._registry.discard(subscriber)
        if entry is None:
            return
        subscriber.close("gone")
        self._counts.stream_closed()
        if subscriber.ended == "cut_off":
            self._counts.slow_client_cut_off()
        if entry.subscribers:
            self._presence.counted(subscriber.user, len(entry.subscribers))
        else:
            self._presence.departed(subscriber.user)

    def deliver(self, event: UserEvent) -> None:
        """Passes an event on to the user's streams at once. Streams with a higher ticket do not end by it; if the user
        was admitted, their state is read. After FRONT the user's state is sent at once.

        A stream whose own ticket isn't known yet keeps the event until its state comes.
        """
        entry = self._registry.find(event.user)
        if event.kind == "FRONT":
            self._fronts += 1
        if entry is None:
            return
        if event.kind == "FRONT":
            self._reader.read_one(event.user, partial(self._look_again, event.user, quiet=False))
            return
        if event.kind == "ADMITTED" and entry.first_estimate and event.ticket == entry.first_estimate[0]:
            self._on_admitted(entry.first_estimate[1], monotonic() - entry.first_estimate[2])
        outdated = False
        for subscriber in entry.subscribers:
            if subscriber.ticket is None:
                subscriber.pending_event = termination.newer(subscriber.pending_event, event)
            elif termination.concerns(event, subscriber.ticket):
                self._end(subscriber, termination.of_event(event))
            else:
                outdated = True
                if event.kind == "REMOVED":
                    subscriber.pending_event = event
        if outdated:
            # Either about an earlier place, or the user has got a lower ticket: another user's, or one in front.
            self._reader.read_one(event.user, partial(self._look_again, event.user))

    # -- all streams ----------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Runs the wheel, the heartbeats and the reconciliation inside this context."""
        tick = self._timings.status_interval / len(self._registry.wheel)
        tasks = [
            asyncio.create_task(every(tick, self._serve_slot), name="stream-wheel"),
            asyncio.create_task(
                every(self._heartbeats.period, self._send_overdue_heartbeats), name="stream-heartbeat"
            ),
            asyncio.create_task(self._reconcile_when_missed(), name="stream-reconcile"),
        ]
        try:
            yield
        finally:
            if self._late_timer is not None:
                self._late_timer.cancel()
            if self._announcing is not None:
                tasks.append(self._announcing)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def restored(self) -> None:
        """Events arrive again, and some may have been missed: starts a ``reconcile`` at once."""
        self._events_missed.set()

    async def reconcile(self) -> None:
        """Ends the streams that should have ended; sends nothing to users who still wait.

        Goes through all streams without a pause, one call at a time.
        """
        for entries in self._registry.slots():
            await self._reader.read_each(entries, partial(self._send_status, quiet=True))

    def announce(self) -> None:
        """Operators tell all users something else: sends it to every stream."""
        self._encoder.forget_notices()
        self._announce_again = True
        if self._announcing is None:
            self._announcing = asyncio.create_task(self._announce(), name="stream-notice")

    async def _announce(self) -> None:
        try:
            while self._announce_again:
                self._announce_again = False
                subscribers = self._registry.subscribers()
                await in_slices(subscribers, self._send_notice, rest=MAX_SLICE_SECONDS)
        finally:
            self._announcing = None

    def _send_notice(self, subscriber: Subscriber) -> None:
        # A stream that has not been sent its first state gets the notice with it.
        if subscriber.ticket is not None:
            self._send(subscriber, self._encoder.notice(subscriber.languages))

    async def drain(self, seconds: float) -> None:
        """Ends all streams evenly over ``seconds`` and asks their clients to come back; accepts no new streams."""
        self._draining = True
        await evenly(list(self._registry.subscribers()), seconds, self._drain_one)

    async def _reconcile_when_missed(self) -> None:
        while True:
            await self._events_missed.wait()
            self._events_missed.clear()
            try:
                await self.reconcile()
            except Exception:
                log.exception("the streams could not be compared with the room after missed events")

    async def _serve_slot(self) -> None:
        self._counts.frames(self._frames)
        self._frames = 0
        slot = next(self._slots)
        entries = self._registry.wheel[slot]
        if not self._heartbeats.joins_update(slot):
            await self._reader.read_each(entries, self._send_status)
            return
        heartbeat, before = self._encoder.heartbeat(), self._reader.latest
        await self._reader.read_each(entries, partial(self._send_status, heartbeat=heartbeat))
        # Streams whose state could not be read have not been sent the heartbeat yet.
        await self._send_heartbeats(
            heartbeat,
            (
                subscriber
                for entry in entries
                for subscriber in entry.subscribers
                if subscriber.since <= before
            ),
        )

    async def _send_overdue_heartbeats(self) -> None:
        slots = self._heartbeats.overdue()
        if slots:
            entries = chain.from_iterable(self._registry.wheel[slot] for slot in slots)
            await self._send_heartbeats(
                self._encoder.heartbeat(),
                (subscriber for entry in entries for subscriber in entry.subscribers),
            )

    async def _send_heartbeats(self, heartbeat: Frame, subscribers: Iterable[Subscriber]) -> None:
        # Half of the time is left to other work, so some streams get their heartbeat a little later.
        await in_slices(subscribers, partial(self._send, frame=heartbeat), rest=MAX_SLICE_SECONDS)

    # -- one user, one stream -------------------------------------------------------------------------

    def _open(self, subscriber: Subscriber, state: UserState | None, read: int) -> None:
        self._opening.discard(subscriber)
        entry = self._registry.find(subscriber.user)
        # Without an answer the stream stays open, and the wheel comes round to it.
        if state is not None and entry is not None:
            self._send_status(entry, state, read)
        subscriber.flush()

    def _look_again(self, user: str, state: UserState | None, read: int, quiet: bool = True) -> None:
        entry = self._registry.find(user)
        if state is not None and entry is not None:
            self._send_status(entry, state, read, quiet=quiet)

    def _open_overdue(self) -> None:
        """One timer for all waiting streams: a stream that has just joined is opened a little early."""
        self._late_timer = None
        for subscriber in tuple(islice(self._opening, OPENED_AT_ONCE)):
            self._opening.discard(subscriber)
            subscriber.flush()
        if self._opening:
            self._late_timer = asyncio.get_running_loop().call_later(0.0, self._open_overdue)

    def _send_status(
        self,
        entry: UserStreams,
        state: UserState,
        read: int,
        quiet: bool = False,
        heartbeat: Frame | None = None,
    ) -> None:
        updates: dict[str, Frame] = {}
        estimate = state.estimated_wait
        if estimate is not None and (entry.first_estimate is None or entry.first_estimate[0] != state.ticket):
            entry.first_estimate = (state.ticket or 0, estimate, monotonic())
        reason = _why_further_back(entry.place, state, fronted=entry.fronts != self._fronts)
        if not quiet:
            entry.place = (state.ticket, state.position, state.lane)
            entry.fronts = self._fronts
        for subscriber in entry.subscribers:
            if read <= subscriber.since:
                if heartbeat is not None:
                    self._send(subscriber, heartbeat)
                continue
            subscriber.since = read
            ending = termination.of_state(state, subscriber.pending_event)
            if ending is not None:
                self._end(subscriber, ending)
                continue
            first = subscriber.ticket is None
            subscriber.ticket, subscriber.pending_event = state.ticket or 0, None
            if first or not quiet:
                # The same for all streams of the user, unless there is a notice.
                languages = "" if state.notice is None else subscriber.languages
                update = updates.get(languages)
                if update is None:
                    update = self._encoder.status(state, languages, reason)
                    if heartbeat is not None:
                        update = join(update, heartbeat)
                    updates[languages] = update
                self._send(subscriber, update, frames=1 if heartbeat is None else 2)

    def _turn_away(self, subscriber: Subscriber, state: UserState | None, _read: int) -> None:
        if state is None:
            frame = self._encoder.no_room()
        elif ending := termination.of_state(state, pending_event=None):
            frame = self._last_frame(subscriber, ending)
        else:
            frame = self._encoder.only_status(state, subscriber.languages)
        self._frames += subscriber.finish(frame, "turned_away")

    def _drain_one(self, subscriber: Subscriber) -> None:
        self._frames += subscriber.finish(self._encoder.going_away(), "drained")
        self.leave(subscriber)

    def _end(self, subscriber: Subscriber, ending: StreamEnd) -> None:
        cause = "admitted" if isinstance(ending, AllowedIn) else "refused"
        self._frames += subscriber.finish(self._last_frame(subscriber, ending), cause)
        self.leave(subscriber)

    def _last_frame(self, subscriber: Subscriber, ending: StreamEnd) -> Frame:
        event = subscriber.pending_event
        ticket = (event.ticket if event is not None else None) or subscriber.ticket or 0
        return self._encoder.ending(ending, subscriber.locale, subscriber.user, ticket)

    def _send(self, subscriber: Subscriber, frame: Frame, frames: int = 1) -> None:
        if subscriber.write(frame):
            self._frames += frames
        else:
            self.leave(subscriber)


def _why_further_back(place: tuple[int | None, int | None, str], state: UserState, *, fronted: bool) -> str:
    """Why the user stands further back than at ``place``, the ticket, position and lane read before; empty if it is not
    so.

    A user who keeps a ticket is passed only by users who return to the line with lower ones, and by those whom an
    operator puts in front. ``fronted``: an operator has done so since.
    """
    ticket, before, lane = place
    risen = before is not None and state.position is not None and state.position > before
    if not risen or ticket != state.ticket:
        return ""
    # Only operators take a lane away, in the route file. Its users are then moved to another one.
    return "OPERATOR" if fronted or lane != state.lane else "RETURNED"
