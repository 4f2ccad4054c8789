"""Waiting for what no event tells of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


async def eventually(
    holds: Callable[[], Any], seconds: float = 20.0, what: str = "what was waited for"
) -> Any:
    """The first true result of ``holds``, which may be a coroutine function.

    It is asked every millisecond, or every 20 ms if it is a coroutine function, since that asks others. Fails after
    ``seconds``, and says ``what`` did not come about.
    """
    loop = asyncio.get_running_loop()
    limit = loop.time() + seconds
    while True:
        pause = 0.001
        result = holds()
        if asyncio.iscoroutine(result):
            pause = 0.02
            result = await result
        if result:
            return result
        assert loop.time() < limit, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(pause)
