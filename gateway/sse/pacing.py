"""When the streams of a hub are served: slots of a wheel, the heartbeat schedule, and work in slices."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from time import monotonic, perf_counter
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)

SLOTS = 40
"""Of 15,000 streams 375 are served at a time, in less than 4 ms, four times a second. With more slots the gateway and
Redis would wake up more often and do less each time: at a hundred slots a full turn costs a tenth more."""


LONGEST_RUN = 64
"""Users who stand near each other in line cost Redis a quarter less when one call asks for them; see
docs/reference/benchmarks.md, ``scale``. Longer runs save no more."""


class Wheel(Generic[Item]):
    """Places items in the emptiest slot, in runs: items that are added one after the other share a slot. A run is no
    longer than the slot had items, and 1 more, so few items are spread evenly. Each slot keeps the order in which items
    were added. To remove an item, the caller must know its slot."""

    __slots__ = ("_left", "_loads", "_slot", "_slots")

    def __init__(self, slots: int = SLOTS) -> None:
        self._slots: list[dict[Item, None]] = [{} for _ in range(slots)]
        self._loads = [0] * slots
        self._slot = 0
        self._left = 0

    def __len__(self) -> int:
        """The number of slots."""
        return len(self._slots)

    def add(self, item: Item) -> int:
        """Places a new ``item`` and returns its slot."""
        if not self._left:
            least = min(self._loads)
            self._slot = self._loads.index(least)
            self._left = min(least + 1, LONGEST_RUN)
        self._left -= 1
        self._slots[self._slot][item] = None
        self._loads[self._slot] += 1
        return self._slot

    def remove(self, item: Item, slot: int) -> None:
        """Takes ``item`` out of ``slot``; raises ``KeyError`` if it isn't there."""
        del self._slots[slot][item]
        self._loads[slot] -= 1

    def __getitem__(self, slot: int) -> list[Item]:
        """The items in ``slot`` now: a copy, since items may leave during an iteration over it."""
        return list(self._slots[slot])


class HeartbeatSchedule:
    """Heartbeats of ``slots`` slots, each ``heartbeat`` seconds after the one before; updates come every ``interval``.

    A heartbeat that is sent together with an update costs no write of its own. So it goes with the last update before
    it would be late. It may be a tenth late, to wait for an update that is itself a little late. If updates don't come,
    or not often enough, the heartbeat is sent by itself; ``period`` says how often to check.
    """

    __slots__ = ("_clock", "_heartbeat", "_interval", "_sent_at", "_slack", "period")

    def __init__(
        self, slots: int, heartbeat: float, interval: float, clock: Callable[[], float] = monotonic
    ) -> None:
        self._heartbeat = heartbeat
        self._interval = interval
        self._clock = clock
        # If updates are further apart than heartbeats, waiting for one is no use.
        self._slack = min(heartbeat, interval) / 10 if heartbeat >= interval else 0.0
        self.period = self._slack or heartbeat / 10
        self._sent_at = [clock()] * slots

    def joins_update(self, slot: int) -> bool:
        """Whether ``slot`` gets its heartbeat together with its current update. If so, the heartbeat counts as sent."""
        now = self._clock()
        if now + self._interval < self._sent_at[slot] + self._heartbeat + self._slack:
            return False
        self._sent_at[slot] = now
        return True

    def overdue(self) -> list[int]:
        """Slots whose heartbeat must be sent by itself. It then counts as sent."""
        now = self._clock()
        latest = now - self._heartbeat - self._slack
        slots = [slot for slot, sent_at in enumerate(self._sent_at) if sent_at <= latest]
        for slot in slots:
            self._sent_at[slot] = now
        return slots


_log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_SLICE_SECONDS = 0.004
"""The longest time that a run of writes may block the event loop."""

STEP_SECONDS = 0.02
"""The shortest interval between two steps of work that is spread over time."""

Sleep = Callable[[float], Awaitable[object]]


class Ticker:
    """Wakes its one consumer every ``period`` seconds of ``clock``, the first time after one period.

    The due times are multiples of the period from the start, so small delays don't add up. A consumer that comes back
    more than a period late has missed those ticks. The count then restarts, and missed ticks are not made up for in a
    burst.
    """

    __slots__ = ("_clock", "_due", "_period", "_sleep")

    def __init__(self, period: float, clock: Callable[[], float], sleep: Sleep = asyncio.sleep) -> None:
        self._period = period
        self._clock = clock
        self._sleep = sleep
        self._due = clock()

    async def next(self) -> None:
        """Returns at the next due time, or at once if that has passed."""
        self._due += self._period
        now = self._clock()
        if self._due < now - self._period:
            self._due = now
        await self._sleep(max(0.0, self._due - now))


async def in_slices(
    items: Iterable[T],
    act: Callable[[T], object],
    *,
    max_slice: float = MAX_SLICE_SECONDS,
    rest: float = 0.0,
    sleep: Sleep = asyncio.sleep,
    clock: Callable[[], float] = perf_counter,
) -> None:
    """Calls ``act`` for each of ``items``. Yields to the event loop for ``rest`` seconds after each ``max_slice``
    seconds."""
    started = clock()
    for item in items:
        act(item)
        if clock() - started >= max_slice:
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
    """Runs ``job`` every ``period`` seconds until cancelled. A failure is logged, and the next run comes as usual."""
    ticker = Ticker(period, asyncio.get_running_loop().time)
    while True:
        await ticker.next()
        try:
            await job()
        except Exception:
            _log.exception("a turn failed")
