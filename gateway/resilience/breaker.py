"""A circuit breaker: stops calling a service that fails, and tries it again after a while.

States, settings and defaults are Resilience4j's. *Closed*: calls pass, and the results of the latest ones are kept.
When too many of them failed or were slow, the breaker *opens*: no call passes for a time. Then it is *half open*: some
calls pass, and their results decide whether it closes or opens again.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple, Protocol

from gateway.resilience.failures import Failure


class State(Enum):
    """What a breaker does with calls."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Result(Enum):
    """What became of a call, as Resilience4j's metrics name it."""

    SUCCESSFUL = "successful"
    FAILED = "failed"
    IGNORED = "ignored"
    NOT_PERMITTED = "not_permitted"


@dataclass(frozen=True, slots=True)
class BreakerConfig:
    """When a breaker opens and closes. Rates are in percent, times in seconds. The defaults are Resilience4j's.

    ``window``: how many calls are kept, or, if ``by_time``, for how many seconds. ``half_open_seconds``: the longest
    time of the half open state; 0: until its calls have ended. ``automatic``: it is half open when the time has passed,
    not only with the next call. ``recorded`` failures count as such, others as successes; ``ignored`` ones do not count
    at all.
    """

    failure_rate: float = 50.0
    slow_rate: float = 100.0
    slow_seconds: float = 60.0
    half_open_calls: int = 10
    half_open_seconds: float = 0.0
    by_time: bool = False
    window: int = 100
    minimum_calls: int = 100
    open_seconds: float = 60.0
    automatic: bool = False
    recorded: frozenset[Failure] = frozenset(Failure)
    ignored: frozenset[Failure] = frozenset()

    def result_of(self, failure: Failure) -> Result:
        """What a call that failed in this way counts as."""
        if failure in self.ignored:
            return Result.IGNORED
        return Result.FAILED if failure in self.recorded else Result.SUCCESSFUL


class BreakerObserver(Protocol):
    """Is told what a breaker does."""

    def breaker_state(self, name: str, state: str, /) -> None:
        """The breaker is in this state now."""

    def breaker_call(self, name: str, result: str, /) -> None:
        """A call ended with this result, or was not permitted."""

    def breaker_forgotten(self, name: str, /) -> None:
        """No route names this breaker any more."""


class _NullObserver:
    """No-op."""

    def breaker_state(self, name: str, state: str, /) -> None: ...
    def breaker_call(self, name: str, result: str, /) -> None: ...
    def breaker_forgotten(self, name: str, /) -> None: ...


class Timer(Protocol):
    """What ``CallLater`` returns."""

    def cancel(self) -> object:
        """Does not call any more."""


CallLater = Callable[[float, Callable[[], None]], Timer]
"""Calls a function after some seconds, as an event loop does."""

NO_BREAKER_OBSERVER: Final = _NullObserver()


class _Window:
    """The results of the latest calls."""

    def __init__(self, size: int, minimum: int, *, by_time: bool) -> None:
        self._size = size
        self._by_time = by_time
        self._minimum = minimum if by_time else min(minimum, size)
        # Each entry: the second (or 0), calls, failed ones, slow ones.
        self._entries: deque[list[int]] = deque()
        self.calls = self._failed = self._slow = 0

    def add(self, now: float, *, failed: bool, slow: bool) -> None:
        """A call has ended."""
        second = int(now) if self._by_time else 0
        entries = self._entries
        if self._by_time and entries and entries[-1][0] == second:
            entry = entries[-1]
            entry[1] += 1
            entry[2] += failed
            entry[3] += slow
        else:
            entries.append([second, 1, int(failed), int(slow)])
        self.calls += 1
        self._failed += failed
        self._slow += slow
        while (entries[0][0] <= second - self._size) if self._by_time else len(entries) > self._size:
            _, calls, failures, slow_calls = entries.popleft()
            self.calls -= calls
            self._failed -= failures
            self._slow -= slow_calls

    def exceeds(self, config: BreakerConfig) -> bool | None:
        """Whether too many calls failed or were slow; None if there are too few calls to say."""
        if self.calls < self._minimum:
            return None
        failed, slow = (100 * count / self.calls for count in (self._failed, self._slow))
        return failed >= config.failure_rate or slow >= config.slow_rate


class Ticket(NamedTuple):
    """A call that a breaker permitted: in which of its states, and whether the call holds a permit to give back."""

    turn: int
    holds_permit: bool


class CircuitBreaker:
    """One breaker, which the calls of all routes with its name share. ``clock`` gives seconds. ``call_later`` sets the
    timer of a breaker that is ``automatic``; without it, that breaker waits for the next call.

    A call that ``acquire`` permits must end with ``record`` or ``release``, with the ticket that it got.
    """

    def __init__(
        self,
        name: str,
        config: BreakerConfig,
        observer: BreakerObserver = NO_BREAKER_OBSERVER,
        clock: Callable[[], float] = time.monotonic,
        call_later: CallLater | None = None,
    ) -> None:
        self.name = name
        self.config = config
        self._observer = observer
        self._clock = clock
        self._call_later = call_later
        self._timer: Timer | None = None
        self._turn = 0
        """Counts the changes of state. A call that began before the last one does not count any more."""
        self._permits = 0
        """How many more calls pass while half open."""
        self._uploads: deque[float] = deque()
        """When the latest uploads began while half open."""
        self._until = 0.0
        """When an open or half open state ends by itself."""
        self._enter(State.CLOSED)

    @property
    def seconds_left(self) -> float:
        """Seconds until calls pass again; 0 if it is not open."""
        return max(0.0, self._until - self._clock()) if self._state is State.OPEN else 0.0

    @property
    def state(self) -> State:
        """The state now."""
        return self._state

    def acquire(self, *, upload: bool = False) -> Ticket | None:
        """The ticket of a call that may begin now; None if it may not. ``upload``: the client is still sending the
        call's body. Such a call may take any time, so while half open it holds no permit that other calls need.
        Instead, as many uploads as there are permits may begin within ``open_seconds``."""
        self._end_open()
        if self._state is State.HALF_OPEN:
            if self.config.half_open_seconds and self._clock() >= self._until:
                self._enter(State.OPEN)
            elif upload:
                if self._upload_may_begin():
                    return Ticket(self._turn, holds_permit=False)
            elif self._permits:
                self._permits -= 1
                return Ticket(self._turn, holds_permit=True)
        elif self._state is State.CLOSED:
            return Ticket(self._turn, holds_permit=False)
        self._observer.breaker_call(self.name, Result.NOT_PERMITTED.value)
        return None

    def release(self, ticket: Ticket) -> None:
        """A call ended without a result: its client has gone, say."""
        if ticket.holds_permit and ticket.turn == self._turn:
            self._permits += 1

    def record(self, ticket: Ticket, result: Result, seconds: float) -> None:
        """A call ended after ``seconds``."""
        self._observer.breaker_call(self.name, result.value)
        if result is Result.IGNORED:
            self.release(ticket)
            return
        if ticket.turn != self._turn:
            return
        slow = seconds > self.config.slow_seconds
        self._window.add(self._clock(), failed=result is Result.FAILED, slow=slow)
        exceeds = self._window.exceeds(self.config)
        if exceeds:
            self._enter(State.OPEN)
        elif exceeds is False and self._state is State.HALF_OPEN:
            self._enter(State.CLOSED)

    def close(self) -> None:
        """Another breaker has taken its place, or none. Calls that are under way report nothing any more."""
        self._observer = NO_BREAKER_OBSERVER
        self._call_later = None
        self._stop_timer()

    def _upload_may_begin(self) -> bool:
        now, uploads = self._clock(), self._uploads
        while uploads and uploads[0] <= now - self.config.open_seconds:
            uploads.popleft()
        if len(uploads) >= self.config.half_open_calls:
            return False
        uploads.append(now)
        return True

    def _end_open(self) -> None:
        if self._state is State.OPEN and self._clock() >= self._until:
            self._enter(State.HALF_OPEN)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _enter(self, state: State) -> None:
        config = self.config
        self._state = state
        self._turn += 1
        self._uploads.clear()
        self._stop_timer()
        if state is State.OPEN and config.automatic and self._call_later is not None:
            self._timer = self._call_later(config.open_seconds, lambda: self._enter(State.HALF_OPEN))
        if state is State.HALF_OPEN:
            self._permits = config.half_open_calls
            self._until = self._clock() + config.half_open_seconds
            self._window = _Window(config.half_open_calls, config.half_open_calls, by_time=False)
        else:
            self._until = self._clock() + config.open_seconds
            self._window = _Window(config.window, config.minimum_calls, by_time=config.by_time)
        self._observer.breaker_state(self.name, state.value)


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """A route's use of a breaker. ``name``: None is the route's id. ``statuses`` of the service count as failures.

    ``timeout``: seconds until the head of an answer, all attempts included; None: no limit of its own.
    ``has_fallback``: something else answers when a call fails. ``each_attempt``: each attempt of a route that repeats
    calls is a call of its own.
    """

    config: BreakerConfig = BreakerConfig()
    name: str | None = None
    statuses: frozenset[int] = frozenset()
    timeout: float | None = 1.0
    has_fallback: bool = False
    each_attempt: bool = False
