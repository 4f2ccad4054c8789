"""Tasks in the background."""

from __future__ import annotations

import asyncio

import pytest

from gateway.background import background_task
from tests.support.waiting import eventually


async def test_a_task_is_cancelled_at_the_end() -> None:
    ended = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append(True)
            raise

    async with background_task(work(), "waits"):
        await asyncio.sleep(0)
    assert ended == [True]


async def test_a_failure_is_logged_at_once_and_raised_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        raise ZeroDivisionError

    async def wait_for_the_log() -> None:
        async with background_task(work(), "divides"):
            await eventually(lambda: "the task 'divides' has failed and is over" in caplog.text)

    with pytest.raises(ZeroDivisionError):
        await wait_for_the_log()
    assert "ZeroDivisionError" in caplog.text
