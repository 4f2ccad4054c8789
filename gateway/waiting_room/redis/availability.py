"""Whether Redis answers: one probe finds out, so that callers need not run into one time-out after the other.

The probe sends a command twice a second over a connection of its own. After one second without an answer Redis counts
as away: calls that wait for it fail, and further calls fail at once. The first answer ends that. Only the probe keeps
trying meanwhile, so a crowd of callers never becomes a crowd of connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Final, NamedTuple

from gateway.background import background_task
from gateway.errors import QueueUnavailable

log = logging.getLogger(__name__)

PROBE_SECONDS: Final = 0.5
"""Seconds from an answer to the next probe, at most; at least three quarters of that."""

DEADLINE_SECONDS: Final = 1.0
"""Redis counts as away if it has not answered a probe within this many seconds."""

SLICES: Final = 10
"""The deadline lasts at least this many iterations of the event loop."""

GIVE_UP_SLICES: Final = 3 * SLICES
"""One probe, connecting included, is given up after as many slices, which are 3 s at least; the next one opens a new
connection. With more, it would be noticed late that Redis is back, if a connection hangs."""

LATE_SECONDS: Final = 0.1
"""A timer that is later than this shows that the event loop stood still. Calls then have as long to get an answer that
has arrived meanwhile."""

REFUSED_SECONDS: Final = 5.0
"""After this many seconds without a refusal Redis counts as accepting all scripts. Beats and sweeps come more often."""

FAILING_SECONDS: Final = 1.0
"""A script that has failed for this many seconds without a success, although the probe was answered, is reported. A
lost connection is reopened within that time."""

RETRY_SECONDS: Final = (1.0, 4.0)
"""Callers are told to retry within this range of seconds, each at a random time of its own."""

REFUSALS: Final = {
    "OOM": "memory",
    "MISCONF": "disk",
    "NOREPLICAS": "replicas",
    "READONLY": "read-only",
}
"""Why a Redis that answers accepts no writes, by the word that its error contains."""

_MEANING: Final = {
    "memory": "Redis is at maxmemory: users without a place can't line up, all else goes on. Give it more memory",
    "disk": "Redis can't write to its disk and refuses every change: calls that change something fail. Make room there",
    "replicas": "Redis misses the replicas that it must have (min-replicas-to-write) and refuses every change",
    "read-only": "Redis is a replica and refuses every change",
}


class RedisState(NamedTuple):
    """What is known of Redis. Times are seconds since the epoch."""

    away: str = ""
    """Why it counts as away, without addresses. Empty: it answers, or was not probed yet."""
    away_since: float = 0.0
    """When it answered last, or when it was first probed."""
    refuses: str = ""
    """Why it accepts no writes: one of the values of ``REFUSALS``. Empty: it accepts them."""
    refuses_since: float = 0.0


class _Failing:
    """When a script began to fail, and when it last failed; by the monotonic clock."""

    __slots__ = ("last", "since")

    def __init__(self, now: float) -> None:
        self.since = self.last = now


class Availability:
    """What the probe found, for the connections that use it. Until the probe has run, Redis counts as available."""

    def __init__(self) -> None:
        self.state = RedisState()
        self._waits: set[asyncio.Timeout] = set()
        self._refused: dict[str, float] = {}
        self._refused_since = 0.0
        self.failing: dict[str, _Failing] = {}
        """Scripts whose last call failed although the probe was answered; see ``note_failure``."""
        self._failure_told = False

    @property
    def refused_scripts(self) -> list[str]:
        """Scripts that Redis refuses for a reason that does not affect the probe: a missing permission, or a key of
        another type."""
        return sorted(self._refused)

    def note_refusal(self, script: str, why: str) -> None:
        """Redis refused this script. The log gets one line until Redis takes all scripts again."""
        now = time.monotonic()
        if not self._refused:
            self._refused_since = now
            log.warning("Redis refuses the script %s, calls that need it get 503: %s", script, why)
        self._refused[script] = now

    @property
    def failing_scripts(self) -> list[str]:
        """Scripts that have failed for a while although the probe is answered. Possible causes: Redis is at its limit
        of clients, a firewall lets only some connections through, or the time-out is too short for anything but a
        probe."""
        return sorted(
            name for name, each in self.failing.items() if each.last - each.since >= FAILING_SECONDS
        )

    def note_failure(self, script: str, why: str) -> None:
        """The call of this script got no reply. The log gets one line for all scripts that fail at the same time."""
        if self.state.away:
            return
        now = time.monotonic()
        failing = self.failing.setdefault(script, _Failing(now))
        failing.last = now
        if now - failing.since >= FAILING_SECONDS and not self._failure_told:
            self._failure_told = True
            log.warning(
                "Redis answers the probe, and yet the script %s fails, calls that need it get 503: %s",
                script,
                why,
            )

    def note_success(self, script: str) -> None:
        """The script got a reply. Call this if the script is in ``failing``."""
        del self.failing[script]
        self._log_end()

    def _log_end(self) -> None:
        if self._failure_told and not self.failing_scripts:
            self._failure_told = False
            log.warning("no script of Redis fails any more")

    def forget_failures(self) -> None:
        """Forgets scripts that are not called any more. Call this while Redis answers."""
        now = time.monotonic()
        self.failing = {
            name: each for name, each in self.failing.items() if now - each.last < REFUSED_SECONDS
        }
        self._log_end()

    def forget_refusals(self) -> None:
        """Forgets refusals that are too old. Call this while Redis answers."""
        if not self._refused:
            return
        now = time.monotonic()
        self._refused = {name: at for name, at in self._refused.items() if now - at < REFUSED_SECONDS}
        if not self._refused:
            log.warning("Redis refuses no script any more, after %.1f s", now - self._refused_since)

    def check(self) -> None:
        """Raises QueueUnavailable at once while Redis is away."""
        if self.state.away:
            raise QueueUnavailable(
                f"Redis is away: {self.state.away}", retry_after=random.uniform(*RETRY_SECONDS)
            )

    def limited(self, seconds: float) -> _Limited:
        """A context manager that raises TimeoutError when ``seconds`` are over, or earlier if Redis is found to be
        away. If the event loop stood still meanwhile, an answer that has arrived is taken."""
        return _Limited(self._waits, seconds)

    def update(self, state: RedisState) -> None:
        """Stores what the probe has just found."""
        self.state = state
        if state.away:
            for limit in self._waits:
                if not limit.expired():
                    limit.reschedule(0)


class _Limited:
    """The time limit of one call; it is in ``waits`` while the call lasts. A class and not a generator, because every
    Redis call makes one."""

    __slots__ = ("_limit", "_seconds", "_timer", "_waits")

    def __init__(self, waits: set[asyncio.Timeout], seconds: float) -> None:
        self._waits = waits
        self._seconds = seconds
        self._limit = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        loop = asyncio.get_running_loop()
        await self._limit.__aenter__()
        self._waits.add(self._limit)
        due = loop.time() + self._seconds
        self._timer = loop.call_at(due, self._over, loop, due)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._waits.discard(self._limit)
        await self._limit.__aexit__(kind, error, trace)

    def _over(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        if loop.time() - due > LATE_SECONDS:
            # What has arrived is read now, and needs some iterations to reach the caller.
            self._timer = loop.call_later(LATE_SECONDS, self._end)
        else:
            self._end()

    def _end(self) -> None:
        if not self._limit.expired():
            self._limit.reschedule(0)


Ask = Callable[[], Awaitable[str]]
"""Asks Redis whether it accepts writes. Returns a value of ``REFUSALS``, or "" if it does. Raises QueueUnavailable if
it is away."""


class Probe:
    """Keeps ``availability`` up to date inside ``running()``. ``on_state`` is called with each change and must not
    block."""

    def __init__(
        self,
        ask: Ask,
        availability: Availability,
        on_state: Callable[[RedisState], None] = lambda state: None,
    ) -> None:
        self._ask = ask
        self._availability = availability
        self._on_state = on_state
        self._answered_at = time.time()
        self._ever_answered = False

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Probes until the block ends."""
        async with background_task(self._keep(), "redis probe"):
            yield

    async def _keep(self) -> None:
        while True:
            try:
                await self._probe_once()
            except Exception:
                # A fault of the gateway's own says nothing about Redis.
                log.exception("Redis could not be probed")
            await asyncio.sleep(PROBE_SECONDS * random.uniform(0.75, 1.0))

    async def _probe_once(self) -> None:
        question = asyncio.ensure_future(self._ask())
        try:
            # In slices of at least one event-loop iteration each. An answer takes a few iterations, and an event loop
            # that is itself late, by however much, must not take that for a silent Redis.
            for number in range(1, GIVE_UP_SLICES + 1):
                await asyncio.wait({question}, timeout=DEADLINE_SECONDS / SLICES)
                if question.done():
                    break
                if number == SLICES:
                    self._set_away("no answer")
            else:
                return
            refuses = await question
        except QueueUnavailable as error:
            self._set_away(error.reason)
        else:
            self._set_available(refuses)
        finally:
            question.cancel()

    def _set_away(self, why: str) -> None:
        if self._availability.state.away:
            return
        log.warning("Redis is away: %s. Queue calls and gated calls fail at once until it answers", why)
        self._update(self._availability.state._replace(away=why, away_since=self._answered_at))

    def _set_available(self, refuses: str) -> None:
        self._availability.forget_refusals()
        if self._availability.failing:
            self._availability.forget_failures()
        before, now = self._availability.state, time.time()
        self._answered_at = now
        if before.away:
            log.warning("Redis is back after %.1f s", now - before.away_since)
        elif not self._ever_answered:
            log.info("Redis is there")
        if refuses and refuses != before.refuses:
            log.warning("%s", _MEANING[refuses])
        elif before.refuses and not refuses:
            log.warning("Redis takes writes again after %.1f s", now - before.refuses_since)
        since = before.refuses_since if refuses == before.refuses else now
        state = RedisState(refuses=refuses, refuses_since=since if refuses else 0.0)
        if state != before or not self._ever_answered:
            self._ever_answered = True
            self._update(state)

    def _update(self, state: RedisState) -> None:
        self._availability.update(state)
        self._on_state(state)
