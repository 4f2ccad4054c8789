"""Many coarse time-outs at the cost of one timer.

A timer per request costs a tenth of forwarding the request. A time-out that comes a fraction of a second late does no
harm.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Hashable

from gateway.server.socket_buffer import is_readable

log = logging.getLogger(__name__)

# A time-out may come this much later than requested.
TICK_SECONDS = 0.1

MOST_AT_ONCE = 32
"""Time-outs that are told in one iteration of the event loop, at most. A crowd that came at once is idle at once, and
the answer to a head that came too late takes a tenth of a millisecond."""

SOON_SECONDS = 3.0
"""Only time-outs that are due within this time are looked at in each tick. All others, which with tens of thousands of
idle connections take milliseconds, are looked at in ``PARTS`` ticks, one part in each."""

PARTS = 8


class Deadlines:
    """Calls back for each key whose time-out has passed and that was not dropped."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._soon: dict[Hashable, tuple[float, Callable[[], None]]] = {}
        self._later: dict[Hashable, tuple[float, Callable[[], None]]] = {}
        self._to_look_at: list[Hashable] = []
        """Those of ``_later`` that the next ticks look at."""
        self._part = 1
        """How many of these a tick looks at."""
        self._over: deque[Hashable] = deque()
        """Those of ``_soon`` whose time is over, and that are about to be told."""
        self._timer: asyncio.TimerHandle | None = None

    def set(self, key: Hashable, seconds: float, expired: Callable[[], None]) -> None:
        """Calls ``expired`` once, no sooner than in ``seconds``, unless ``drop`` is called before."""
        if seconds > SOON_SECONDS:
            self._later[key] = (self._loop.time() + seconds, expired)
            self._soon.pop(key, None)
        else:
            self._soon[key] = (self._loop.time() + seconds, expired)
            self._later.pop(key, None)
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
        if self._later.pop(key, None) is None:
            self._soon.pop(key, None)

    def close(self) -> None:
        """Drops all keys."""
        for keys in (self._soon, self._later, self._to_look_at, self._over):
            keys.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        now = self._loop.time()
        self._timer = None
        self._look_ahead(now + SOON_SECONDS)
        if not self._over:
            self._over.extend(key for key, (when, _) in self._soon.items() if when <= now)
            self._tell()
        if (self._soon or self._later) and self._timer is None:
            self._timer = self._loop.call_later(TICK_SECONDS, self._sweep)

    def _look_ahead(self, until: float) -> None:
        """Finds some of the time-outs that are due soon by now."""
        keys, later = self._to_look_at, self._later
        if not keys:
            keys += later
            self._part = len(keys) // PARTS + 1
        for key in keys[-self._part :]:
            found = later.get(key)
            if found is not None and found[0] <= until:
                self._soon[key] = later.pop(key)
        del keys[-self._part :]

    def _tell(self) -> None:
        """Tells the next time-outs that are over."""
        over, now = self._over, self._loop.time()
        for _ in range(min(MOST_AT_ONCE, len(over))):
            key = over.popleft()
            # An earlier callback may have dropped or postponed this one.
            when, expired = self._soon.get(key, (math.inf, None))
            if when <= now and expired is not None:
                del self._soon[key]
                try:
                    expired()
                except Exception:
                    # An error in one callback must not affect the other time-outs.
                    log.exception("a time-out could not be told")
        if over:
            self._loop.call_soon(self._tell)
