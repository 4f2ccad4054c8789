"""The loop-lag meter."""

from __future__ import annotations

import asyncio
import time

from gateway.observability.loop_lag import INTERVAL_SECONDS, LoopLag


async def test_a_blocked_loop_shows_as_lag_at_once_and_is_reported() -> None:
    samples: list[float] = []
    measured = asyncio.Event()

    def take(seconds: float) -> None:
        samples.append(seconds)
        if seconds >= 0.1:
            measured.set()

    async with LoopLag(take) as lag:
        time.sleep(INTERVAL_SECONDS + 0.15)
        assert lag.milliseconds >= 140  # before the loop has had a chance to measure
        async with asyncio.timeout(5):
            await measured.wait()
        assert lag.milliseconds >= 100
    assert max(samples) >= 0.14


async def test_an_idle_loop_recovers() -> None:
    calm = asyncio.Event()
    async with LoopLag(lambda seconds: calm.set() if seconds < 0.1 else None) as lag:
        time.sleep(INTERVAL_SECONDS + 0.2)
        assert lag.milliseconds > 150
        async with asyncio.timeout(10):
            await calm.wait()
        assert lag.milliseconds < 150


async def test_outside_nothing_is_measured() -> None:
    lag = LoopLag()
    assert lag.milliseconds == 0
    async with lag:
        pass
    time.sleep(INTERVAL_SECONDS * 2)
    assert lag.milliseconds == 0
