"""Coarse time-outs come late, but never early, and never after they were dropped."""

from __future__ import annotations

import asyncio

import pytest

from gateway.server.deadlines import TICK_SECONDS, Deadlines


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
