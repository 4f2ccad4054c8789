"""Batching: items that arrive while one call is under way form the next call."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar, cast

from gateway.background import end_task
from gateway.errors import QueueFailed, QueueUnavailable

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_BATCH = 256
"""Users in one script call, at most. A longer call gains little and blocks Redis for longer."""

CROWD = 4 * MAX_BATCH
"""While this many items wait for Redis, new users are asked to come back later. Even a slow Redis completes four full
calls well within its time-out, so no token is checked for a call that would then fail."""

MAX_PENDING = 20_000
"""Callers that may wait, at most. More could not be served within one time-out anyway."""


GATHER_SECONDS = 0.004
"""Under load, calls that can wait start this many seconds apart, so that more users share each call: a call costs the
gateway as much as serving two or three of its users. A batch of one delays no one."""


TOLD_PER_TURN = 64
"""Callers of a batch who go on in one iteration of the event loop, at most. A caller that is no task does the rest of
its work meanwhile, a tenth of a millisecond and more."""

TURN_SECONDS = 0.004
"""The same in seconds."""


def sendable(user: str) -> str:
    """Raises ValueError here, for one caller, where the id would otherwise make the whole batch fail."""
    user.encode()
    return user


class BatchObserver(Protocol):
    """Receives every script call, with the callers it was made for. No method may block or raise."""

    def caller(self) -> Any | None:
        """The caller that the current task works for; None if the observer does not want that caller's calls."""

    def on_batch(
        self, room: str, script: str, callers: Sequence[Any], size: int, seconds: float, failed: bool, /
    ) -> None:
        """A script was called for ``size`` users, ``callers`` among them, and took ``seconds``."""


class NoBatchObserver:
    """Ignores every call."""

    def caller(self) -> None:
        """Always None."""

    def on_batch(
        self, room: str, script: str, callers: Sequence[Any], size: int, seconds: float, failed: bool, /
    ) -> None:
        """Never called, because ``caller`` is always None."""


class Outcome(Generic[Result]):
    """The result of one item for a caller that is no task: ``then`` is called as soon as the result is there. A future
    would call it in the next turn of the event loop."""

    __slots__ = ("_done", "_error", "_result", "_then")

    def __init__(self, then: Callable[[], None]) -> None:
        self._then = then
        self._result: Result | None = None
        self._error: Exception | None = None
        self._done = False

    def done(self) -> bool:
        """Whether there is a result, or the caller has gone."""
        return self._done

    def cancel(self) -> None:
        """The caller has gone: ``then`` will not be called."""
        self._done = True

    def set_result(self, result: Result) -> None:
        """The result is there."""
        self._result = result
        self._end()

    def set_exception(self, error: Exception) -> None:
        """There will be no result."""
        self._error = error
        self._end()

    def _end(self) -> None:
        self._done = True
        try:
            self._then()
        except Exception:
            # The other callers of the batch must still get theirs.
            log.exception("a caller failed")

    def result(self) -> Result:
        """The result, once ``then`` is called. Raises the error if there is none."""
        if self._error is not None:
            raise self._error
        return cast(Result, self._result)


_Waiter = asyncio.Future[Result] | Outcome[Result]


class Batcher(Generic[Item, Result]):
    """Sends items in batches, first come first served, one batch at a time.

    ``send`` gets at most ``max_batch`` items and returns one result for each, in order. If it raises QueueUnavailable,
    every caller of that batch gets QueueUnavailable. Any other exception is a fault of the gateway: the callers get
    QueueFailed, and the next batch is sent as usual. A caller whose item was not sent within ``patience`` seconds gets
    QueueUnavailable. ``gather``: seconds from the start of a call for several items to the start of the next, unless
    ``max_batch`` items wait. Works only inside ``running()``.
    """

    def __init__(
        self,
        send: Callable[[list[Item]], Awaitable[Sequence[Result]]],
        *,
        patience: float,
        gather: float = 0.0,
        max_batch: int = MAX_BATCH,
        most_pending: int = MAX_PENDING,
        room: str = "",
        script: str = "",
        observer: BatchObserver | None = None,
    ) -> None:
        self._send = send
        self._patience = patience
        self._gather = gather
        self._max_batch = max_batch
        self._most_pending = most_pending
        self._pending: deque[tuple[Item, _Waiter[Result], float, Any]] = deque()
        self._overdue: list[_Waiter[Result]] = []
        """Callers that have waited too long and have not been told yet."""
        self._refusing: asyncio.Task[None] | None = None
        """Tells them."""
        self._observer = observer or NoBatchObserver()
        self._caller = self._observer.caller
        self._room = room
        self._script = script
        self._wake = asyncio.Event()
        self._open = False

    def __len__(self) -> int:
        return len(self._pending)

    def submit(self, item: Item) -> asyncio.Future[Result]:
        """A future of the item's result. Cancelling it does not undo an item that was already sent. Raises
        QueueUnavailable."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.submit_to(item, future)
        return future

    def submit_to(self, item: Item, waiter: _Waiter[Result]) -> None:
        """``submit`` for a caller with a future or an ``Outcome`` of its own."""
        if not self._open:
            raise QueueUnavailable("the waiting room is closed")
        if len(self._pending) >= self._most_pending:
            raise QueueUnavailable("too many callers are waiting for Redis")
        self._pending.append((item, waiter, asyncio.get_running_loop().time(), self._caller()))
        self._wake.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sends until the block ends; callers that still wait then get QueueUnavailable."""
        pump = asyncio.create_task(self._pump(), name="batcher")
        self._open = True
        try:
            yield
        finally:
            self._open = False
            await end_task(pump)
            if self._refusing is not None:
                await end_task(self._refusing)
            _fail_all(self._overdue, _overdue)
            _fail_all(
                (waiter for _, waiter, _, _ in self._pending),
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
                if many and self._gather and len(self._pending) < self._max_batch:
                    await asyncio.sleep(began + self._gather - loop.time())
                began = loop.time()
                many = await self._send_next() > 1

    async def _send_next(self) -> int:
        """Returns the number of items sent."""
        batch, waiters, callers = self._next_batch()
        if not batch:
            return 0
        began = time.perf_counter()
        try:
            results = await self._send(batch)
            answered = list(zip(waiters, results, strict=True))
        except asyncio.CancelledError:
            self._observe(callers, len(batch), began, failed=True)
            _fail_all(waiters, lambda: QueueUnavailable("the waiting room is closing"))
            raise
        except QueueUnavailable as error:
            reason, retry_after = error.reason, error.retry_after
            self._observe(callers, len(batch), began, failed=True)
            await _fail_each(waiters, lambda: QueueUnavailable(reason, retry_after))
        except Exception:
            log.exception("a batch of %d failed", len(batch))
            self._observe(callers, len(batch), began, failed=True)
            await _fail_each(waiters, QueueFailed)
        else:
            # Before the callers go on, whose work is no part of the call.
            self._observe(callers, len(batch), began, failed=False)
            await _in_turns(answered, lambda each: each[0].set_result(each[1]), lambda each: each[0].done())
        return len(batch)

    def _observe(self, callers: list[Any], size: int, began: float, *, failed: bool) -> None:
        if callers:
            seconds = time.perf_counter() - began
            self._observer.on_batch(self._room, self._script, callers, size, seconds, failed)

    def _next_batch(self) -> tuple[list[Item], list[_Waiter[Result]], list[Any]]:
        """The next batch, without callers that were cancelled or have waited too long; and the callers that the
        observer wants."""
        batch: list[Item] = []
        waiters: list[_Waiter[Result]] = []
        callers: list[Any] = []
        too_old = asyncio.get_running_loop().time() - self._patience
        while self._pending and len(batch) < self._max_batch:
            item, waiter, since, caller = self._pending.popleft()
            if since < too_old:
                self._overdue.append(waiter)
            elif not waiter.done():
                batch.append(item)
                waiters.append(waiter)
                if caller is not None:
                    callers.append(caller)
        if self._overdue and self._refusing is None:
            # Beside the pump: the batch must not wait for thousands of refusals, and become overdue itself.
            self._refusing = asyncio.create_task(self._refuse_overdue(), name="overdue callers")
        return batch, waiters, callers

    async def _refuse_overdue(self) -> None:
        """Tells the callers that have waited too long."""
        try:
            while self._overdue:
                overdue, self._overdue = self._overdue, []
                await _fail_each(overdue, _overdue)
        finally:
            self._refusing = None


def _overdue() -> QueueUnavailable:
    return QueueUnavailable("Redis did not answer in time")


Caller = TypeVar("Caller")


async def _in_turns(
    callers: Sequence[Caller], tell: Callable[[Caller], None], gone: Callable[[Caller], bool]
) -> None:
    """Calls ``tell`` for each of ``callers`` who is not ``gone``, over several iterations of the event loop if they are
    many. If it is cancelled meanwhile, the others are told at once."""
    clock = time.perf_counter
    told, until = 0, clock() + TURN_SECONDS
    left = deque(callers)
    try:
        while left:
            caller = left.popleft()
            if gone(caller):
                continue
            tell(caller)
            told += 1
            if left and (told >= TOLD_PER_TURN or clock() > until):
                await asyncio.sleep(0)
                told, until = 0, clock() + TURN_SECONDS
    finally:
        for caller in left:
            if not gone(caller):
                tell(caller)


async def _fail_each(waiters: Sequence[_Waiter[Any]], error: Callable[[], Exception]) -> None:
    """``_fail_all`` over several iterations of the event loop, at least one if there is anyone to tell: Redis that is
    away refuses the next batch at once."""
    await _in_turns(waiters, lambda waiter: waiter.set_exception(error()), lambda waiter: waiter.done())
    if waiters:
        await asyncio.sleep(0)


def _fail_all(waiters: Iterable[_Waiter[Any]], error: Callable[[], Exception]) -> None:
    """Gives each waiter an error of its own: an error shared among tasks would collect all their tracebacks."""
    for waiter in waiters:
        if not waiter.done():
            waiter.set_exception(error())
