"""Asks several servers of the same content, in order, without waiting for one that hangs. Pure of any protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


async def answers(
    calls: Sequence[Callable[[], Awaitable[T]]],
    *,
    over: float,
    rounds: int,
    is_said: Callable[[BaseException], bool],
) -> list[asyncio.Future[T]]:
    """What came of each call, in the order of the calls, once one has succeeded or all have failed.

    The next call begins when one before has failed, or is slow; those before go on. So each has the more time the
    earlier it begins, the first all there is. At ``over``, a time of the loop, those that are left get a TimeoutError.
    Of so many ``rounds`` this one is the first. An error of which ``is_said`` is true ends it at its share
    of the time.
    """
    loop = asyncio.get_running_loop()
    began = begun_at = loop.time()
    share = max(over - began, 0.0) / rounds
    pause = share / max(len(calls), 1)
    tasks: list[asyncio.Task[T]] = []
    known_failures = 0
    try:
        while True:
            running = {task for task in tasks if not task.done()}
            failures = [error for task in tasks if task.done() and (error := task.exception()) is not None]
            if len(running) + len(failures) < len(tasks) or (not running and len(tasks) == len(calls)):
                break
            end = began + share if any(map(is_said, failures)) else over
            now = loop.time()
            due = begun_at + pause if running and len(failures) == known_failures else now
            if len(tasks) < len(calls) and now >= due:
                tasks.append(asyncio.ensure_future(_awaited(calls[len(tasks)])))
                begun_at, known_failures = now, len(failures)
                continue
            if now >= end:
                break
            until = min(due, end) if len(tasks) < len(calls) else end
            await asyncio.wait(running, timeout=until - now, return_when=asyncio.FIRST_COMPLETED)
    finally:
        left = [task for task in tasks if not task.done()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
    return [_outcome(tasks[at] if at < len(tasks) else None) for at in range(len(calls))]


async def _awaited(call: Callable[[], Awaitable[T]]) -> T:
    return await call()


def _outcome(task: asyncio.Task[T] | None) -> asyncio.Future[T]:
    if task is not None and not task.cancelled():
        task.exception()  # else asyncio warns that it was never retrieved
        return task
    late: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    late.set_exception(TimeoutError())
    late.exception()
    return late
