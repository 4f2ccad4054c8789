"""When to do the next thing, and how much of it at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from time import perf_counter
from typing import TypeVar

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
