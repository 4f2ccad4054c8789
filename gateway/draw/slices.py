"""Long computations in small steps, so that an event loop can run them beside everything else.

A thread would not do: it competes with the loop for the interpreter's lock, so each turn of the loop could wait for
Python's switch interval of 5 ms, and one sort of 100,000 values holds that lock for its whole time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from typing import Final, TypeVar

T = TypeVar("T")

Steps = Generator[None, None, T]
"""A computation that yields after each step of less than a millisecond, and returns its result."""

SLICE_SECONDS: Final = 0.002
"""How long steps run before the event loop has its turn."""


def run(steps: Steps[T]) -> T:
    """Runs all steps at once."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


async def run_in_slices(steps: Steps[T], slice_seconds: float = SLICE_SECONDS) -> T:
    """Runs all steps, and lets the event loop run after each ``slice_seconds``."""
    try:
        while True:
            until = time.perf_counter() + slice_seconds
            next(steps)
            while time.perf_counter() < until:
                next(steps)
            await asyncio.sleep(0)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        steps.close()
