"""Long answers about the gateway itself: made in a thread, one at a time, and shared by all callers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar, cast

T = TypeVar("T")

LONG_SECONDS: Final = 0.05
"""An answer is long if making it takes the processor longer than this."""

KEPT_TIMES: Final = 3
"""A long answer is given again for so many times as long as it took. So making it takes a quarter of one processor at
most, however many callers ask."""


class _Made(NamedTuple):
    body: object
    subject: object
    begun: float
    until: float

    def holds(self, asked: float) -> bool:
        """Whether it is good for a caller that asked at this time."""
        return self.begun >= asked or time.monotonic() < self.until


class Aside:
    """Makes answers in a thread and keeps the last one of each kind."""

    def __init__(self) -> None:
        self._one_at_a_time = asyncio.Lock()
        self._made: dict[str, _Made] = {}

    async def body(self, kind: str, make: Callable[[], T], subject: object = None) -> T:
        """What ``make`` returns, called in a thread: bytes, or what several answers are made from.

        If ``subject`` is given, the answer depends on this object alone and is made once for it. Otherwise an answer
        holds everything that happened before the call, unless a long one is still kept.
        """
        # A caller that leaves must not let the next thread start beside the one that is still at work.
        return await asyncio.shield(self._make(kind, make, subject, time.monotonic()))

    async def _make(self, kind: str, make: Callable[[], T], subject: object, asked: float) -> T:
        async with self._one_at_a_time:
            made = self._made.get(kind)
            if made is not None and made.subject is subject and (subject is not None or made.holds(asked)):
                return cast(T, made.body)
            begun = time.monotonic()
            body, took = await asyncio.to_thread(_timed, make)
            kept = KEPT_TIMES * took if took > LONG_SECONDS else 0.0
            self._made[kind] = _Made(body, subject, begun, time.monotonic() + kept)
            return body


def _timed(make: Callable[[], T]) -> tuple[T, float]:
    begun = time.thread_time()
    return make(), time.thread_time() - begun
