"""Coalescing: what arrives while one call is under way forms the next one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from gateway.errors import QueueFailed, QueueUnavailable

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_IN_A_CALL = 256
"""Users in one script call: past this a call gains little and holds Redis for longer."""

CROWD = 4 * MOST_IN_A_CALL
"""From so many on that wait for Redis, newcomers had better come back: even a slow Redis takes four full calls well
within its time-out, and nobody's token is checked for nothing."""

MOST_PENDING = 20_000
"""Callers that may wait for their turn; more than this within one time-out can't be served anyway."""


GATHER_SECONDS = 0.004
"""While there is much to do, calls that can wait begin so far apart, so that more people share each: every call costs
the gateway as much as serving two or three of them. Behind a call for one alone nobody waits."""


class BatchObserver(Protocol):
    """Wants to know on whose behalf scripts are called. Neither method may wait or raise."""

    def caller(self) -> Any | None:
        """Whoever is at work now, if the observer wants to hear of their calls."""

    def on_batch(
        self, room: str, script: str, callers: Sequence[Any], size: int, seconds: float, failed: bool, /
    ) -> None:
        """A script was called for ``size`` users, ``callers`` among them, and took so many seconds."""


class NoBatchObserver:
    """Looks away."""

    def caller(self) -> None:
        """Nobody."""

    def on_batch(
        self, room: str, script: str, callers: Sequence[Any], size: int, seconds: float, failed: bool, /
    ) -> None:
        """Never called."""


class Batcher(Generic[Item, Result]):
    """Sends items in batches, first come first served, one batch at a time.

    ``send`` gets at most ``most`` items and returns one result for each, in order. If it raises QueueUnavailable, each
    caller of that batch gets that; any other exception is a fault of the gateway, which callers get as QueueFailed. The
    next batch is unharmed. A caller whose item was not sent within ``patience`` seconds gets QueueUnavailable, too.
    ``gather``: seconds from the beginning of a call for several to that of the next, unless ``most`` items wait. Works
    only inside ``running()``.
    """

    def __init__(
        self,
        send: Callable[[list[Item]], Awaitable[Sequence[Result]]],
        *,
        patience: float,
        gather: float = 0.0,
        most: int = MOST_IN_A_CALL,
        most_pending: int = MOST_PENDING,
        room: str = "",
        script: str = "",
        observer: BatchObserver | None = None,
    ) -> None:
        self._send = send
        self._patience = patience
        self._gather = gather
        self._most = most
        self._most_pending = most_pending
        self._pending: deque[tuple[Item, asyncio.Future[Result], float, Any]] = deque()
        self._observer = observer or NoBatchObserver()
        self._caller = self._observer.caller
        self._room = room
        self._script = script
        self._wake = asyncio.Event()
        self._open = False

    def __len__(self) -> int:
        return len(self._pending)

    def submit(self, item: Item) -> asyncio.Future[Result]:
        """A future of the item's result. Cancelling it doesn't take back what was sent."""
        if not self._open:
            raise QueueUnavailable("the waiting room is closed")
        if len(self._pending) >= self._most_pending:
            raise QueueUnavailable("too many callers are waiting for Redis")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._pending.append((item, future, loop.time(), self._caller()))
        self._wake.set()
        return future

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sends for as long as it lasts; at the end, whoever still waits gets QueueUnavailable."""
        pump = asyncio.create_task(self._pump(), name="batcher")
        self._open = True
        try:
            yield
        finally:
            self._open = False
            pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pump
            _fail_all(
                (future for _, future, _, _ in self._pending),
                lambda: QueueUnavailable("the waiting room is closing"),
            )
            self._pending.clear()

    async def _pump(self) -> None:
        loop = asyncio.get_running_loop()
        began, many = 0.0, False
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                if many and self._gather and len(self._pending) < self._most:
                    await asyncio.sleep(began + self._gather - loop.time())
                began = loop.time()
                many = await self._send_next() > 1

    async def _send_next(self) -> int:
        """Returns how many it sent."""
        batch, futures, callers = self._take()
        if not batch:
            return 0
        began = time.perf_counter()
        failed = True
        try:
            results = await self._send(batch)
            answered = list(zip(futures, results, strict=True))
            failed = False
        except asyncio.CancelledError:
            _fail_all(futures, lambda: QueueUnavailable("the waiting room is closing"))
            raise
        except QueueUnavailable as error:
            reason, retry_after = error.reason, error.retry_after
            _fail_all(futures, lambda: QueueUnavailable(reason, retry_after))
        except Exception:
            log.exception("a batch of %d failed", len(batch))
            _fail_all(futures, QueueFailed)
        else:
            for future, result in answered:
                if not future.done():
                    future.set_result(result)
        finally:
            if callers:
                seconds = time.perf_counter() - began
                self._observer.on_batch(self._room, self._script, callers, len(batch), seconds, failed)
        return len(batch)

    def _take(self) -> tuple[list[Item], list[asyncio.Future[Result]], list[Any]]:
        """The next batch, without those who have gone and those who have waited too long; and whom the observer wants
        to hear of."""
        batch: list[Item] = []
        futures: list[asyncio.Future[Result]] = []
        callers: list[Any] = []
        too_old = asyncio.get_running_loop().time() - self._patience
        while self._pending and len(batch) < self._most:
            item, future, since, caller = self._pending.popleft()
            if since < too_old:
                _fail_all((future,), lambda: QueueUnavailable("Redis did not answer in time"))
            elif not future.done():
                batch.append(item)
                futures.append(future)
                if caller is not None:
                    callers.append(caller)
        return batch, futures, callers


def _fail_all(futures: Iterable[asyncio.Future[Any]], error: Callable[[], Exception]) -> None:
    """An error of its own for each: one shared among tasks would gather all their tracebacks."""
    for future in futures:
        if not future.done():
            future.set_exception(error())
