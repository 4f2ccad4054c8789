"""Several servers of the same content are asked within one time, whichever of them hang."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gateway.discovery.config_server.fetch import answers

HANGS = 60.0


class Missing(Exception):
    """What a server says that has no such label."""


class Asked:
    """Calls that answer with their number, or fail, after a time; ``begun`` are those that began, ``left`` those that
    were still going on at the end."""

    def __init__(self, *calls: tuple[float, type[Exception] | None]) -> None:
        self.begun: list[int] = []
        self.left: list[int] = []
        self.calls: list[Callable[[], Any]] = [self._call(at, *call) for at, call in enumerate(calls)]

    def _call(self, at: int, seconds: float, error: type[Exception] | None) -> Callable[[], Any]:
        async def call() -> int:
            self.begun.append(at)
            try:
                await asyncio.sleep(seconds)
            except asyncio.CancelledError:
                self.left.append(at)
                raise
            if error is not None:
                raise error
            return at

        return call

    async def outcomes(self, seconds: float, rounds: int = 1) -> list[Any]:
        """Values and types of errors."""
        loop = asyncio.get_running_loop()
        came = await answers(
            self.calls,
            over=loop.time() + seconds,
            rounds=rounds,
            is_said=lambda error: isinstance(error, Missing),
        )
        assert all(each.done() for each in came)
        return [
            (error and type(error)) or each.result() for each in came if (error := each.exception()) or True
        ]


async def timed(work: Any) -> tuple[Any, float]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    return await work, loop.time() - began


async def test_the_first_that_answers_is_the_only_one_asked() -> None:
    asked = Asked((0, None), (0, None))
    assert await asked.outcomes(HANGS) == [0, TimeoutError]
    assert asked.begun == [0]


async def test_the_next_is_asked_as_soon_as_one_has_failed() -> None:
    asked = Asked((0, OSError), (0, Missing), (0, None), (0, None))
    assert await asked.outcomes(HANGS, rounds=3) == [OSError, Missing, 2, TimeoutError]
    assert asked.begun == [0, 1, 2]


async def test_the_next_is_asked_while_a_slow_one_goes_on() -> None:
    asked = Asked((HANGS, None), (0, None), (0, None))
    assert await asked.outcomes(0.3) == [TimeoutError, 1, TimeoutError]
    assert (asked.begun, asked.left) == ([0, 1], [0])


async def test_a_slow_one_that_answers_first_counts() -> None:
    asked = Asked((0.3, None), (HANGS, None), (0, OSError))
    outcomes, seconds = await timed(asked.outcomes(0.6))
    assert outcomes[0] == 0
    assert seconds < 10
    assert 1 in asked.left


async def test_all_that_hang_take_one_time() -> None:
    asked = Asked(*[(HANGS, None)] * 5)
    outcomes, seconds = await timed(asked.outcomes(0.3))
    assert outcomes == [TimeoutError] * 5
    assert seconds < 10
    assert asked.left == asked.begun
    assert len(asyncio.all_tasks()) == 1


async def test_when_one_has_said_that_it_has_nothing_some_time_is_left_for_the_next_round() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await Asked((0, Missing), (HANGS, None)).outcomes(2.0, rounds=4) == [Missing, TimeoutError]
    assert loop.time() - began < 1.8
    began = loop.time()
    assert await Asked((0, OSError), (HANGS, None)).outcomes(0.4, rounds=4) == [OSError, TimeoutError]
    assert loop.time() - began >= 0.4


async def test_without_time_or_servers_nothing_comes() -> None:
    assert await Asked().outcomes(1.0) == []
    assert await Asked((0, None), (0, None)).outcomes(-1.0) == [TimeoutError, TimeoutError]


async def test_a_cancelled_fetch_leaves_no_call_behind() -> None:
    asked = Asked((HANGS, None), (HANGS, None))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await asked.outcomes(0.1 * HANGS)
    assert len(asyncio.all_tasks()) == 1
