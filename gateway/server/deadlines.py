"""Many coarse time-outs for the price of one timer.

A timer per request is a tenth of what forwarding one costs; a service that is a fraction of a second
late is not.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Hashable

log = logging.getLogger(__name__)

# How much later than asked for a time-out may come.
TICK_SECONDS = 0.1


class Deadlines:
    """Calls back for keys that are still there when their time is over."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due: dict[Hashable, tuple[float, Callable[[], None]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def set(self, key: Hashable, seconds: float, expired: Callable[[], None]) -> None:
        """Call ``expired`` once, no sooner than in ``seconds``, unless ``drop`` comes before."""
        self._due[key] = (self._loop.time() + seconds, expired)
        if self._timer is None:
            self._timer = self._loop.call_later(TICK_SECONDS, self._sweep)

    def drop(self, key: Hashable) -> None:
        """Forget ``key``, known or not."""
        self._due.pop(key, None)

    def close(self) -> None:
        """Forget all."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        now = self._loop.time()
        self._timer = None
        for key in [key for key, (when, _) in self._due.items() if when <= now]:
            # One that was called may have dropped or put off another.
            when, expired = self._due.get(key, (math.inf, None))
            if when <= now and expired is not None:
                del self._due[key]
                try:
                    expired()
                except Exception:
                    # The others' time-outs must not depend on it.
                    log.exception("a time-out could not be told")
        if self._due and self._timer is None:
            self._timer = self._loop.call_later(TICK_SECONDS, self._sweep)
