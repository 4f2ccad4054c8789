"""Long computations in steps: all at once, or beside an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator

import pytest

from gateway.draw.slices import Steps, run, run_in_slices
from tests.support.loop_turns import counted_turns


def count_to(end: int, log: list[int]) -> Steps[str]:
    for number in range(end):
        log.append(number)
        yield
    return "done"


def test_all_steps_run_at_once() -> None:
    log: list[int] = []
    assert run(count_to(5, log)) == "done"
    assert log == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("slice_seconds", [0.0, 1.0])
async def test_all_steps_run_beside_the_loop(slice_seconds: float) -> None:
    log: list[int] = []
    assert await run_in_slices(count_to(5, log), slice_seconds) == "done"
    assert log == [0, 1, 2, 3, 4]


async def test_the_loop_has_its_turn_after_each_slice() -> None:
    def slow() -> Generator[None, None, int]:
        for _ in range(20):
            until = time.perf_counter() + 0.0005
            while time.perf_counter() < until:
                pass
            yield
        return turns.count

    async with counted_turns() as turns:
        seen = await run_in_slices(slow(), 0.001)
    # 10 ms of work in slices of 1 ms, each of which may last up to one step longer.
    assert seen >= 5


async def test_an_error_of_a_step_is_the_caller_s() -> None:
    def broken() -> Steps[None]:
        yield
        raise ValueError("no such entry")

    with pytest.raises(ValueError, match="no such entry"):
        await run_in_slices(broken())


async def test_a_cancelled_computation_ends() -> None:
    ended = False

    def endless() -> Steps[None]:
        nonlocal ended
        try:
            while True:
                yield
        finally:
            ended = True

    task = asyncio.create_task(run_in_slices(endless()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended
