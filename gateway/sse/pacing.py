"""When the streams of a hub are served: slots of a wheel, the heartbeat schedule, and work in slices."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from time import monotonic, perf_counter
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)

SLOTS = 40
"""Of 15,000 streams 375 are served at a time, in less than 4 ms, four times a second. More slots would wake gateway and
Redis more often for less: at a hundred a turn costs a tenth more."""


class Wheel(Generic[Item]):
    """Places each item in the emptiest slot. Whoever removes an item says where it was placed."""

    __slots__ = ("_loads", "_slots")

    def __init__(self, slots: int = SLOTS) -> None:
        self._slots: list[set[Item]] = [set() for _ in range(slots)]
        self._loads = [0] * slots

    def __len__(self) -> int:
        """How many slots there are."""
        return len(self._slots)

    def add(self, item: Item) -> int:
        """Places a new ``item`` and returns its slot."""
        slot = self._loads.index(min(self._loads))
        self._slots[slot].add(item)
        self._loads[slot] += 1
        return slot

    def remove(self, item: Item, slot: int) -> None:
        """Takes ``item`` out of ``slot``; raises ``KeyError`` if it isn't there."""
        self._slots[slot].remove(item)
        self._loads[slot] -= 1

    def __getitem__(self, slot: int) -> list[Item]:
        """What is in ``slot`` now: a copy, since items leave while it is gone through."""
        return list(self._slots[slot])


class HeartbeatSchedule:
    """Heartbeats of ``slots`` slots, each ``heartbeat`` seconds after the one before; updates come every ``interval``.

    A heartbeat that goes out with an update costs no write of its own, so it goes with the last update before it is
    late. It may be late by a tenth, for an update that is itself a little late. Where updates don't come, or not often
    enough, it comes by itself; ``period`` says how often to look.
    """

    __slots__ = ("_beaten", "_clock", "_heartbeat", "_interval", "_slack", "period")

    def __init__(
        self, slots: int, heartbeat: float, interval: float, clock: Callable[[], float] = monotonic
    ) -> None:
        self._heartbeat = heartbeat
        self._interval = interval
        self._clock = clock
        # With updates too far apart there is nothing to wait for.
        self._slack = min(heartbeat, interval) / 10 if heartbeat >= interval else 0.0
        self.period = self._slack or heartbeat / 10
        self._beaten = [clock()] * slots

    def goes_along(self, slot: int) -> bool:
        """Whether ``slot`` is to have its heartbeat with the update that it gets now. It counts as given then."""
        now = self._clock()
        if now + self._interval < self._beaten[slot] + self._heartbeat + self._slack:
            return False
        self._beaten[slot] = now
        return True

    def overdue(self) -> list[int]:
        """Slots that are to have their heartbeat by itself. It counts as given then."""
        now = self._clock()
        latest = now - self._heartbeat - self._slack
        slots = [slot for slot, beaten in enumerate(self._beaten) if beaten <= latest]
        for slot in slots:
            self._beaten[slot] = now
        return slots


_log = logging.getLogger(__name__)

T = TypeVar("T")

HOLD_SECONDS = 0.004
"""The longest a run of writes keeps the event loop to itself."""

STEP_SECONDS = 0.02
"""Nothing is spread more finely than this."""

Sleep = Callable[[float], Awaitable[object]]


class Ticker:
    """Wakes its one consumer every ``period`` seconds of ``clock``, the first time after one period.

    The due times are multiples of the period from the start, so small delays don't add up. A consumer
    that comes back more than a period late has missed those ticks: the count starts anew from there and
    nothing is made up for in a burst.
    """

    __slots__ = ("_clock", "_due", "_period", "_sleep")

    def __init__(self, period: float, clock: Callable[[], float], sleep: Sleep = asyncio.sleep) -> None:
        self._period = period
        self._clock = clock
        self._sleep = sleep
        self._due = clock()

    async def next(self) -> None:
        """Returns at the next due time, at once if that is past."""
        self._due += self._period
        now = self._clock()
        if self._due < now - self._period:
            self._due = now
        await self._sleep(max(0.0, self._due - now))


async def in_slices(
    items: Iterable[T],
    act: Callable[[T], object],
    *,
    hold: float = HOLD_SECONDS,
    rest: float = 0.0,
    sleep: Sleep = asyncio.sleep,
    clock: Callable[[], float] = perf_counter,
) -> None:
    """Calls ``act`` for each of ``items``; after each ``hold`` seconds the loop is given away for ``rest``."""
    started = clock()
    for item in items:
        act(item)
        if clock() - started >= hold:
            await sleep(rest)
            started = clock()


async def evenly(items: Sequence[T], seconds: float, act: Callable[[T], object]) -> None:
    """Calls ``act`` for each of ``items``, spread over ``seconds``; the first at once."""
    steps = max(1, min(len(items), int(seconds / STEP_SECONDS)))
    ticker = Ticker(seconds / steps, asyncio.get_running_loop().time)
    for step in range(steps):
        if step:
            await ticker.next()
        await in_slices(items[step * len(items) // steps : (step + 1) * len(items) // steps], act)


async def every(period: float, job: Callable[[], Awaitable[None]]) -> None:
    """Runs ``job`` every ``period`` seconds until cancelled; a failure is logged and the next turn comes."""
    ticker = Ticker(period, asyncio.get_running_loop().time)
    while True:
        await ticker.next()
        try:
            await job()
        except Exception:
            _log.exception("a turn failed")
