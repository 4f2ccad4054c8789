"""How a gateway's process ends when it is told to: in order, within a time, and at once if it is told again.

signal ──► grace time: what is in flight finishes ──► half a second: resources are closed ──► end
                      a second signal ──► end                          whatever hangs is cancelled
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from gateway.observe.writer import LineWriter

log = logging.getLogger(__name__)

CLOSING_SECONDS: Final = 0.5
"""Behind the grace time, for closing what is still open. After that each wait is cancelled, one after the other."""

_AGAIN_SECONDS: Final = 0.05
LAST_SECONDS: Final = 0.8
"""Behind the grace time. If the process is still there then (a thread that waits for a name server, say), it ends at
once."""

_LAST_LINES_SECONDS: Final = 0.1


class Stop:
    """Waits for SIGTERM or SIGINT, and sees to it that the process ends then. Make it in the task that serves.

    ``grace``: seconds for what is in flight. ``own_process``: the process exists for this gateway alone, so that a
    second signal, or threads that hang, may end it. ``on_hangup`` is called at SIGHUP.
    """

    def __init__(self, grace: float, writer: LineWriter, *, own_process: bool) -> None:
        self._grace = grace
        self._writer = writer
        self._own_process = own_process
        self._asked = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - there is a running loop, and who runs in it
        self._task = task
        self._timer: asyncio.TimerHandle | None = None
        self._up = False
        self.hurried = False
        """The grace time is over, and the serving task was cancelled."""
        self.on_hangup: Callable[[], None] = lambda: None

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Takes signals for as long as it lasts: from before the start on, so that none ends the process out of
        turn."""
        actions: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGTERM: partial(self._ask, signal.SIGTERM),
            signal.SIGINT: partial(self._ask, signal.SIGINT),
            signal.SIGHUP: self._hang_up,
        }
        for number, action in actions.items():
            self._loop.add_signal_handler(number, action)
        try:
            yield
        except asyncio.CancelledError:
            if not self.hurried:
                raise
            if self._up:
                log.warning("the grace time is over: what was still open was cancelled")
            else:
                log.info("stopped during the start")
        finally:
            if self._timer is not None:
                self._timer.cancel()
            while self.hurried and self._task.cancelling():
                self._task.uncancel()
            for number in actions:
                self._loop.remove_signal_handler(number)

    async def asked(self) -> None:
        """Returns at the first SIGTERM or SIGINT. Call it once all is up: until then a signal cancels the start."""
        self._up = True
        await self._asked.wait()

    def _ask(self, number: signal.Signals) -> None:
        if self._asked.is_set():
            log.warning("%s came again: ending at once", number.name)
            self._end(128 + number)
            return
        self._asked.set()
        if self._own_process:
            threading.Thread(target=self._watch, name="stop", daemon=True).start()
        # Nothing is in flight during the start.
        self._timer = self._loop.call_later(self._grace + CLOSING_SECONDS if self._up else 0, self._hurry)

    def _hang_up(self) -> None:
        self.on_hangup()

    def _hurry(self) -> None:
        self.hurried = True
        self._task.cancel()
        self._timer = self._loop.call_later(_AGAIN_SECONDS, self._hurry)

    def _watch(self) -> None:
        time.sleep(self._grace + LAST_SECONDS)
        log.warning("the process was still there after the grace time: ending at once")
        self._end(0)

    def _end(self, status: int) -> None:
        """Ends the process without looking back. An embedded Redis is ended by the system then, in order."""
        if self._own_process:
            self._writer.close(_LAST_LINES_SECONDS)
            os._exit(status)
