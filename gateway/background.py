"""Tasks that run beside the others for as long as something is in use."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine
from typing import Any

_log = logging.getLogger(__name__)


async def end_task(task: asyncio.Task[Any]) -> None:
    """Cancels the task and waits until it has ended. Raises what the task raised, if it failed before."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@contextlib.asynccontextmanager
async def background_task(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Runs ``work`` as a task of this name until the block ends.

    If the task fails, the log says so at once, and the end of the block raises what the task raised."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_log_failure)
    try:
        yield
    finally:
        await end_task(task)


def _log_failure(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("the task %r has failed and is over", task.get_name(), exc_info=error)
