"""Many coarse time-outs at the cost of one timer.

A timer per request costs a tenth of forwarding the request. A time-out that comes a fraction of a second late does no
harm.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Hashable

from gateway.server.socket_buffer import is_readable

log = logging.getLogger(__name__)

# A time-out may come this much later than requested.
TICK_SECONDS = 0.1


class Deadlines:
    """Calls back for each key whose time-out has passed and that was not dropped."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due: dict[Hashable, tuple[float, Callable[[], None]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def set(self, key: Hashable, seconds: float, expired: Callable[[], None]) -> None:
        """Calls ``expired`` once, no sooner than in ``seconds``, unless ``drop`` is called before."""
        self._due[key] = (self._loop.time() + seconds, expired)
        if self._timer is None:
            self._timer = self._loop.call_later(TICK_SECONDS, self._sweep)

    def put_off(
        self, key: Hashable, transport: asyncio.BaseTransport | None, expired: Callable[[], None]
    ) -> bool:
        """Sets ``key`` anew, by one tick, if something has come on ``transport`` that the loop has not read: on a busy
        machine timers run before that. Returns whether it did."""
        if transport is None or not is_readable(transport):
            return False
        self.set(key, TICK_SECONDS, expired)
        return True

    def drop(self, key: Hashable) -> None:
        """Drops ``key``. An unknown key is ignored."""
        self._due.pop(key, None)

    def close(self) -> None:
        """Drops all keys."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        now = self._loop.time()
        self._timer = None
        for key in [key for key, (when, _) in self._due.items() if when <= now]:
            # An earlier callback may have dropped or postponed this one.
            when, expired = self._due.get(key, (math.inf, None))
            if when <= now and expired is not None:
                del self._due[key]
                try:
                    expired()
                except Exception:
                    # An error in one callback must not affect the other time-outs.
                    log.exception("a time-out could not be told")
        if self._due and self._timer is None:
            self._timer = self._loop.call_later(TICK_SECONDS, self._sweep)
