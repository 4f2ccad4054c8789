"""When things happen, on a clock that the test moves."""

from __future__ import annotations

import asyncio
import logging

import pytest

from gateway.sse.pacing import Ticker, evenly, every, in_slices
from tests.support.effort import TRIES


class Clock:
    """Time passes by sleeping, ``late`` seconds longer than asked, and by assignment."""

    def __init__(self, late: float = 0.0) -> None:
        self.now = 100.0
        self.late = late
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds + self.late


async def test_small_delays_do_not_add_up() -> None:
    clock = Clock(late=0.03)
    ticker = Ticker(0.1, clock, clock.sleep)
    for _ in range(50):
        await ticker.next()

    assert clock.now == pytest.approx(100 + 50 * 0.1 + 0.03)


async def test_a_long_stall_is_not_made_up_for_in_a_burst() -> None:
    clock = Clock()
    ticker = Ticker(0.1, clock, clock.sleep)
    await ticker.next()
    clock.now += 7.0
    woken = []
    for _ in range(4):
        await ticker.next()
        woken.append(clock.now)

    assert woken == pytest.approx([107.1, 107.2, 107.3, 107.4])


async def test_a_consumer_slower_than_the_period_is_woken_at_once_and_never_asked_to_sleep_backwards() -> (
    None
):
    clock = Clock()
    ticker = Ticker(0.1, clock, clock.sleep)
    for _ in range(20):
        await ticker.next()
        clock.now += 0.15

    assert min(clock.slept) == 0.0
    assert clock.now == pytest.approx(100.1 + 20 * 0.15)


async def test_a_long_run_gives_the_loop_away_whenever_its_time_is_over() -> None:
    clock = Clock()
    done = []

    def act(item: int) -> None:
        done.append(item)
        clock.now += 0.001

    await in_slices(range(40), act, max_slice=0.004, rest=0.5, sleep=clock.sleep, clock=clock)

    assert done == list(range(40))
    assert clock.slept == pytest.approx([0.5] * len(clock.slept))
    assert 7 <= len(clock.slept) <= 10


async def test_a_short_run_does_not_give_the_loop_away() -> None:
    clock = Clock()
    await in_slices(range(40), lambda _: None, sleep=clock.sleep, clock=clock)

    assert clock.slept == []


@pytest.mark.parametrize("count", [0, 1, 2, 7, 100, 1000])
async def test_spreading_reaches_everything_in_order_and_within_the_time(count: int) -> None:
    loop = asyncio.get_running_loop()
    took = float("inf")
    # The machine may be busy with something else during one of them.
    for _ in range(TRIES):
        began = loop.time()
        done: list[int] = []
        await evenly(range(count), 0.2, done.append)
        took = loop.time() - began
        assert done == list(range(count))
        if took < 0.5:
            break

    assert took < 0.5


async def test_spreading_is_even() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    at: list[float] = []
    await evenly(range(10), 0.5, lambda _: at.append(loop.time() - began))

    for step, moment in enumerate(at):
        assert moment >= step * 0.05 - 0.01


async def test_a_failing_job_is_logged_and_comes_again(caplog: pytest.LogCaptureFixture) -> None:
    again = asyncio.Event()
    runs = []

    async def job() -> None:
        runs.append(1)
        if len(runs) > 2:
            again.set()
        raise RuntimeError("once more")

    with caplog.at_level(logging.ERROR):
        task = asyncio.create_task(every(0.001, job))
        await again.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert "once more" in caplog.text
