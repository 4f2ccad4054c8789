"""Which calls to a service are repeated, after what time, and how many in all.

Repeating helps while few calls fail. When a service is down, each repetition adds load to it, and may keep it down. So
each route has a *budget*: as many repetitions as 20 % of its requests in the last ten seconds, plus ten.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from gateway.errors import CircuitOpen, ServiceFailed, UpstreamError
from gateway.resilience.failures import Failure, failure_of

BUDGET_SHARE: Final = 0.2
BUDGET_FLOOR: Final = 10
WINDOW_SECONDS: Final = 10
MAX_BACKOFF_SECONDS: Final = 60.0
"""The longest pause between two attempts if the route file names none."""
MAX_RETRIES: Final = 100

Instance = TypeVar("Instance")


@dataclass(frozen=True, slots=True)
class Backoff:
    """The pauses before repetitions, in seconds: ``first``, then each time multiplied by ``factor``, at most ``most``.

    ``from_previous``: multiplies the previous pause, jitter included, instead of ``first``. Fields and meaning are
    those of reactor-addons, which Spring Cloud Gateway uses.
    """

    first: float
    most: float = MAX_BACKOFF_SECONDS
    factor: int = 2
    from_previous: bool = True

    def pause(self, repetition: int, previous: float, jitter: float) -> float:
        """The pause before a ``repetition`` (1 is the first). ``jitter``: from -1 to 1, the share of the pause that is
        added."""
        if self.from_previous:
            pause = previous * self.factor
        else:
            try:
                pause = self.first * float(self.factor) ** (repetition - 1)
            except OverflowError:
                pause = self.most
        pause = min(max(pause, self.first), self.most)
        return min(max(pause * (1 + jitter), self.first), self.most)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a route repeats a call. ``series``: first digits of statuses. ``jitter``: from 0 to 1.

    ``timeout``: seconds after the first attempt; no repetition begins later. None: no limit. The defaults are Spring
    Cloud Gateway's.
    """

    retries: int = 3
    statuses: frozenset[int] = frozenset()
    series: frozenset[int] = frozenset({5})
    methods: frozenset[str] = frozenset({"GET"})
    failures: frozenset[Failure] = frozenset(
        {Failure.REFUSED, Failure.CONNECT_TIMEOUT, Failure.LOST, Failure.TIMEOUT}
    )
    backoff: Backoff | None = None
    jitter: float = 0.0
    timeout: float | None = None

    def repeats_status(self, status: int) -> bool:
        """Whether an answer with this status is a reason to repeat the call."""
        return status in self.statuses or status // 100 in self.series


class RetryBudget:
    """How many repetitions a route may make. ``clock`` gives seconds."""

    __slots__ = ("_clock", "_requests", "_retries", "_second")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._second = int(clock())
        # Per second, the current one first. One more of repetitions than of requests: the current second has not passed
        # yet, so that a full ten seconds are counted.
        self._requests = [0] * WINDOW_SECONDS
        self._retries = [0] * (WINDOW_SECONDS + 1)

    def count_request(self) -> None:
        """A request of the route has arrived."""
        self._turn()
        self._requests[0] += 1

    def take(self) -> bool:
        """Whether one more repetition is allowed; if so, it is counted."""
        self._turn()
        if sum(self._retries) + 1 > BUDGET_SHARE * sum(self._requests) + BUDGET_FLOOR:
            return False
        self._retries[0] += 1
        return True

    def _turn(self) -> None:
        """Forgets what happened before the window."""
        now = int(self._clock())
        passed = now - self._second
        if passed:
            self._second = now
            for counts in (self._requests, self._retries):
                counts[:] = ([0] * min(passed, len(counts)) + counts)[: len(counts)]


class RetryObserver(Protocol):
    """Counts repetitions."""

    def retried(self, route: str, reason: str, /) -> None:
        """A call is repeated. ``reason``: the status that the service sent, or the code of the error."""

    def retry_refused(self, route: str, /) -> None:
        """A call is not repeated, only because the budget is spent."""


class _NullObserver:
    """No-op."""

    def retried(self, route: str, reason: str, /) -> None: ...
    def retry_refused(self, route: str, /) -> None: ...


NO_RETRY_OBSERVER: Final = _NullObserver()


class Retries(Generic[Instance]):
    """The repetitions of one request, whose method the policy names and whose body can be sent again.

    ``used`` are the instances that have had the request, in order.
    """

    __slots__ = (
        "_began",
        "_budget",
        "_clock",
        "_observer",
        "_pause",
        "_policy",
        "_repeated",
        "_route",
        "used",
    )

    def __init__(
        self,
        policy: RetryPolicy,
        budget: RetryBudget,
        route: str,
        observer: RetryObserver = NO_RETRY_OBSERVER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy
        self._budget = budget
        self._route = route
        self._observer = observer
        self._clock = clock
        self._began = clock()
        self._repeated = 0
        self._pause = 0.0
        self.used: tuple[Instance, ...] = ()

    def stop(self) -> None:
        """The client has got a part of an answer, so the call must not be repeated any more."""
        self._repeated = self._policy.retries

    def after_status(self, status: int) -> float | None:
        """The pause in seconds before the call is repeated; None if this answer is the client's."""
        return self._next(str(status)) if self._policy.repeats_status(status) else None

    def after_error(self, error: UpstreamError) -> float | None:
        """The same after an attempt without an answer. A circuit breaker that is open is no reason."""
        if isinstance(error, CircuitOpen | ServiceFailed):
            return None
        return self._next(error.code) if failure_of(error) in self._policy.failures else None

    def _next(self, reason: str) -> float | None:
        policy = self._policy
        if self._repeated >= policy.retries:
            return None
        pause = 0.0
        if policy.backoff is not None:
            jitter = random.uniform(-policy.jitter, policy.jitter)
            pause = policy.backoff.pause(self._repeated + 1, self._pause, jitter)
        if policy.timeout is not None and self._clock() + pause > self._began + policy.timeout:
            return None
        if not self._budget.take():
            self._observer.retry_refused(self._route)
            return None
        self._repeated += 1
        self._pause = pause
        self._observer.retried(self._route, reason)
        return pause
