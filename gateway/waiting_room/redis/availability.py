"""Whether Redis answers, by a probe of its own, so that callers need not find out one time-out after the other.

The probe asks twice a second over a connection of its own. After a second without an answer Redis counts as away: the
calls that wait for it end, and further ones fail at once. The first answer ends that. The probe goes on asking
meanwhile, and it alone does, so that a crowd of callers never becomes a crowd of connections.
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

from gateway.errors import QueueUnavailable

log = logging.getLogger(__name__)

PROBE_SECONDS: Final = 0.5
"""From an answer to the next question, at most; a quarter less at least."""

DEADLINE_SECONDS: Final = 1.0
"""Redis that has not answered a question within this is away."""

SLICES: Final = 10
"""The deadline is this many turns of the event loop at least."""

LONGEST_SECONDS: Final = 5.0
"""One question, connecting included, is given up after this; the next one opens a new connection."""

REFUSED_SECONDS: Final = 5.0
"""After this long without a refusal Redis counts as taking all scripts. Beats and sweeps come more often."""

FAILING_SECONDS: Final = 1.0
"""A script that has failed for so long without one success, while the probe was answered, is told of. A connection that
was lost is opened anew within that."""

RETRY_SECONDS: Final = (1.0, 4.0)
"""Within this callers are told to come back, each at a time of its own."""

REFUSALS: Final = {
    "OOM": "memory",
    "MISCONF": "disk",
    "NOREPLICAS": "replicas",
    "READONLY": "read-only",
}
"""Why a Redis that answers takes no writes, by the word that its refusal holds."""

_MEANING: Final = {
    "memory": "Redis is at maxmemory: users without a place can't line up, all else goes on. Give it more memory",
    "disk": "Redis can't write to its disk and refuses every change: calls that change something fail. Make room there",
    "replicas": "Redis misses the replicas that it must have (min-replicas-to-write) and refuses every change",
    "read-only": "Redis is a replica and refuses every change",
}


class RedisState(NamedTuple):
    """What is known of Redis. Times are seconds since the epoch."""

    away: str = ""
    """Why it counts as away, without addresses; empty: it answers, or was not asked yet."""
    away_since: float = 0.0
    """When it answered last, or when it was first asked."""
    refuses: str = ""
    """Why it takes no writes: one of the values of ``REFUSALS``; empty: it takes them."""
    refuses_since: float = 0.0


class _Failing:
    """Since when a script has failed, and when it last did; by the monotonic clock."""

    __slots__ = ("last", "since")

    def __init__(self, now: float) -> None:
        self.since = self.last = now


class Availability:
    """What the probe found, for the links that want to know. Until the probe has run, Redis counts as there."""

    def __init__(self) -> None:
        self.state = RedisState()
        self._waits: set[asyncio.Timeout] = set()
        self._refused: dict[str, float] = {}
        self._refused_since = 0.0
        self.failing: dict[str, _Failing] = {}
        """Scripts whose last call came to nothing though the probe was answered; see ``note_failure``."""
        self._failure_told = False

    @property
    def refused_scripts(self) -> list[str]:
        """Scripts that Redis refuses for a reason that the probe does not meet: a permission, a key of another type."""
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
        """Scripts that have failed for a while though the probe is answered: Redis takes no more clients, a firewall
        lets only some connections through, or the time-out is too short for anything but a probe."""
        return sorted(
            name for name, each in self.failing.items() if each.last - each.since >= FAILING_SECONDS
        )

    def note_failure(self, script: str, why: str) -> None:
        """No reply to this script could be had. The log gets one line for all that fail at the same time."""
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
        """There was a reply. To be called if the script is in ``failing``."""
        del self.failing[script]
        self._tell_of_the_end()

    def _tell_of_the_end(self) -> None:
        if self._failure_told and not self.failing_scripts:
            self._failure_told = False
            log.warning("no script of Redis fails any more")

    def forget_failures(self) -> None:
        """Forgets scripts that are not called any more. To be called while Redis answers."""
        now = time.monotonic()
        self.failing = {
            name: each for name, each in self.failing.items() if now - each.last < REFUSED_SECONDS
        }
        self._tell_of_the_end()

    def forget_refusals(self) -> None:
        """Forgets those that are too long ago. To be called while Redis answers."""
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
        """A context that raises TimeoutError when the time is up, or Redis is found to be away before."""
        return _Limited(self._waits, asyncio.timeout(seconds))

    def take(self, state: RedisState) -> None:
        """What the probe found now."""
        self.state = state
        if state.away:
            for limit in self._waits:
                if not limit.expired():
                    limit.reschedule(0)


class _Limited:
    """The time of one call, in ``waits`` for as long as it lasts. No generator, since each call of Redis has one."""

    __slots__ = ("_limit", "_waits")

    def __init__(self, waits: set[asyncio.Timeout], limit: asyncio.Timeout) -> None:
        self._waits = waits
        self._limit = limit

    async def __aenter__(self) -> None:
        await self._limit.__aenter__()
        self._waits.add(self._limit)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waits.discard(self._limit)
        await self._limit.__aexit__(kind, error, trace)


Ask = Callable[[], Awaitable[str]]
"""Asks Redis whether it takes writes: a value of ``REFUSALS``, or empty. Raises QueueUnavailable if it is away."""


class Probe:
    """Keeps ``availability`` up to date inside ``running()``. ``on_state`` hears of each change, and must not wait."""

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
        """Asks for as long as it lasts."""
        task = asyncio.create_task(self._keep(), name="redis probe")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _keep(self) -> None:
        while True:
            try:
                await self._once()
            except Exception:
                # A fault of the gateway's own says nothing about Redis.
                log.exception("Redis could not be probed")
            await asyncio.sleep(PROBE_SECONDS * random.uniform(0.75, 1.0))

    async def _once(self) -> None:
        question = asyncio.ensure_future(self._ask())
        try:
            # In slices, each at least one turn of the event loop: an answer takes a few turns, and a loop that is held
            # up itself must not take that for Redis's silence.
            for _ in range(SLICES):
                await asyncio.wait({question}, timeout=DEADLINE_SECONDS / SLICES)
            if not question.done():
                self._found_away("no answer")
            refuses = await question
        except QueueUnavailable as error:
            self._found_away(error.reason)
        else:
            self._found_there(refuses)
        finally:
            question.cancel()

    def _found_away(self, why: str) -> None:
        if self._availability.state.away:
            return
        log.warning("Redis is away: %s. Queue calls and gated calls fail at once until it answers", why)
        self._take(self._availability.state._replace(away=why, away_since=self._answered_at))

    def _found_there(self, refuses: str) -> None:
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
            self._take(state)

    def _take(self, state: RedisState) -> None:
        self._availability.take(state)
        self._on_state(state)
