"""Coarse time-outs come late, but never early, and never after they were dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import pytest

from gateway.server.deadlines import MOST_AT_ONCE, PARTS, SOON_SECONDS, TICK_SECONDS, Deadlines


async def test_a_deadline_comes_within_a_tick() -> None:
    loop = asyncio.get_running_loop()
    deadlines = Deadlines()
    over = loop.create_future()
    start = loop.time()
    deadlines.set("a", 0.15, lambda: over.set_result(loop.time()))
    passed = await over - start
    assert 0.15 <= passed < 0.15 + 10 * TICK_SECONDS


async def test_what_was_dropped_is_not_called_back() -> None:
    deadlines = Deadlines()
    called = []
    last = asyncio.Event()
    deadlines.set("a", 0.0, lambda: called.append("a"))
    deadlines.drop("a")
    deadlines.drop("unknown")
    deadlines.set("b", 0.05, last.set)
    await last.wait()
    assert called == []


async def test_nothing_runs_while_nothing_is_due() -> None:
    deadlines = Deadlines()
    over = asyncio.Event()
    deadlines.set("a", 0.0, over.set)
    await over.wait()
    assert deadlines._timer is None
    deadlines.set("b", 60.0, over.set)
    deadlines.close()
    assert deadlines._timer is None


async def test_one_that_fails_or_drops_another_stops_no_time_out(caplog: pytest.LogCaptureFixture) -> None:
    deadlines = Deadlines()
    told: list[str] = []
    late = asyncio.Event()

    def fail() -> None:
        told.append("fail")
        deadlines.drop("dropped")
        raise LookupError("bad luck")

    deadlines.set("fail", 0.0, fail)
    deadlines.set("dropped", 0.0, lambda: told.append("dropped"))
    deadlines.set("other", 0.0, lambda: told.append("other"))
    async with asyncio.timeout(5):
        while "other" not in told:
            await asyncio.sleep(0.01)
        deadlines.set("late", 0.0, late.set)
        await late.wait()
    assert told == ["fail", "other"]
    assert "bad luck" in caplog.text
    deadlines.close()


async def test_of_many_at_once_only_some_are_told_in_each_iteration_of_the_loop() -> None:
    deadlines = Deadlines()
    told: list[int] = []
    count, most = 10 * MOST_AT_ONCE, 0
    for number in range(count):
        deadlines.set(number, 0.0, partial(told.append, number))
    async with asyncio.timeout(5):
        while len(told) < count - 1:
            before = len(told)
            await asyncio.sleep(0)
            most = max(most, len(told) - before)
            if told:
                # It waits for its turn.
                deadlines.drop(count - 1)
    assert told == list(range(count - 1))
    assert 0 < most <= MOST_AT_ONCE
    deadlines.close()


class Counting(dict[Hashable, tuple[float, Callable[[], None]]]):
    """Counts how often it is asked."""

    asked = 0

    def get(self, key: Hashable, default: Any = None) -> Any:
        self.asked += 1
        return super().get(key, default)


async def test_a_tick_looks_only_at_a_part_of_those_that_are_not_due_for_long() -> None:
    deadlines, later = Deadlines(), Counting()
    deadlines._later = later
    for number in range(8000):
        deadlines.set(number, 2 * SOON_SECONDS, lambda: None)
    for tick in range(1, 2 * PARTS + 1):
        deadlines._sweep()
        assert later.asked <= tick * (8000 // PARTS + 1)
    # All have been looked at twice by then.
    assert later.asked >= 2 * 8000 - 8000 // PARTS
    deadlines.close()


async def test_those_that_are_not_due_for_long_come_in_time_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.server.deadlines.SOON_SECONDS", 0.25)
    monkeypatch.setattr("gateway.server.deadlines.TICK_SECONDS", 0.01)
    loop = asyncio.get_running_loop()
    deadlines, passed, start = Deadlines(), [], loop.time()
    for number in range(100):
        deadlines.set(number, 0.4, lambda: passed.append(loop.time() - start))
        if number % 2:
            # Postponed, and brought forward again.
            deadlines.set(number, 0.1, lambda: passed.append(-1.0))
            deadlines.set(number, 0.4, lambda: passed.append(loop.time() - start))
    deadlines.set("dropped", 0.4, lambda: passed.append(-1.0))
    deadlines.drop("dropped")
    async with asyncio.timeout(5):
        while deadlines._timer is not None:
            await asyncio.sleep(0.01)
    assert len(passed) == 100
    assert min(passed) >= 0.4
    assert max(passed) < 2.0
