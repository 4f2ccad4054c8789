"""The clock of spans. The spans of a trace must be in order, and neither of Python's clocks gives that alone: the wall
clock is read at the end of a span and may be set meanwhile, and the steady clock has no date."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_STEP_SECONDS: Final = 0.02
"""From this difference on, the wall clock has been set. NTP corrects smaller ones by the speed of both clocks."""
_QUICK_SECONDS: Final = 0.001
"""A comparison that takes longer was interrupted, and says nothing."""


class SpanClock:
    """Converts readings of ``steady`` (``time.perf_counter``) to epoch seconds. Of two readings the later one never
    becomes an earlier moment, unless the wall clock is set in between."""

    __slots__ = ("_offset", "_steady", "_wall")

    def __init__(
        self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.perf_counter
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._offset = wall() - steady()

    def now(self) -> float:
        """A reading for ``epoch``."""
        return self._steady()

    def epoch(self, reading: float) -> float:
        """The moment of ``reading`` in epoch seconds."""
        before = self._steady()
        wall = self._wall()
        after = self._steady()
        if after - before <= _QUICK_SECONDS:
            offset = wall - (before + after) / 2
            if abs(offset - self._offset) > _STEP_SECONDS:
                self._offset = offset
        return reading + self._offset
