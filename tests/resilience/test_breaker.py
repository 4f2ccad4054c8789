"""When a circuit breaker opens, lets calls try again, and closes: decisions, by a clock of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway.resilience.breaker import BreakerConfig, CircuitBreaker, Result, State
from gateway.resilience.failures import Failure

SMALL = BreakerConfig(window=4, minimum_calls=4, half_open_calls=2, open_seconds=10.0)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Seen:
    def __init__(self) -> None:
        self.states: list[str] = []
        self.calls: list[str] = []

    def breaker_state(self, name: str, state: str) -> None:
        assert name == "b"
        self.states.append(state)

    def breaker_call(self, name: str, result: str) -> None:
        assert name == "b"
        self.calls.append(result)

    def breaker_forgotten(self, name: str) -> None:
        raise AssertionError(name)


class SetTimer:
    """A timer that ends when the test says so."""

    def __init__(self, seconds: float, call: Callable[[], None]) -> None:
        self.seconds, self.call = seconds, call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Rig:
    """A breaker, and what it did."""

    def __init__(self, config: BreakerConfig = SMALL) -> None:
        self.clock, self.seen = Clock(), Seen()
        self.timers: list[SetTimer] = []
        self.breaker = CircuitBreaker("b", config, self.seen, self.clock, self.call_later)

    def call_later(self, seconds: float, call: Callable[[], None]) -> SetTimer:
        self.timers.append(SetTimer(seconds, call))
        return self.timers[-1]

    def calls(self, results: str, seconds: float = 0.0) -> list[bool]:
        """Calls that end at once: ``s`` well, ``f`` badly, ``i`` ignored. Whether each was permitted."""
        permitted = []
        for each in results:
            ticket = self.breaker.acquire()
            permitted.append(ticket is not None)
            if ticket is not None:
                result = {"s": Result.SUCCESSFUL, "f": Result.FAILED, "i": Result.IGNORED}[each]
                self.breaker.record(ticket, result, seconds)
        return permitted

    @property
    def state(self) -> State:
        return self.breaker.state


def test_the_defaults_are_those_of_resilience4j() -> None:
    config = BreakerConfig()
    assert (config.failure_rate, config.slow_rate, config.slow_seconds) == (50.0, 100.0, 60.0)
    assert (config.half_open_calls, config.half_open_seconds) == (10, 0.0)
    assert (config.by_time, config.window, config.minimum_calls) == (False, 100, 100)
    assert (config.open_seconds, config.automatic) == (60.0, False)
    assert {config.result_of(each) for each in Failure} == {Result.FAILED}


@pytest.mark.parametrize(
    ("results", "state"),
    [
        ("ffs", State.CLOSED),  # too few to say
        ("ffss", State.OPEN),
        ("fsss", State.CLOSED),
        ("fsssf", State.CLOSED),  # the oldest has left the window
        ("fsssff", State.OPEN),
        ("iiiiiifff", State.CLOSED),  # what is ignored is not there
    ],
)
def test_it_opens_when_too_many_of_the_latest_calls_failed(results: str, state: State) -> None:
    rig = Rig()
    rig.calls(results)
    assert rig.state is state


@pytest.mark.parametrize(("seconds", "state"), [(0.5, State.CLOSED), (0.50001, State.OPEN)])
def test_it_opens_when_too_many_were_slow(seconds: float, state: State) -> None:
    rig = Rig(replace(SMALL, slow_seconds=0.5, slow_rate=50))
    rig.calls("ss")
    rig.calls("ss", seconds)
    assert rig.state is state


def test_fewer_calls_than_the_minimum_are_enough_if_the_window_holds_no_more() -> None:
    rig = Rig(replace(SMALL, minimum_calls=100))
    rig.calls("ffff")
    assert rig.state is State.OPEN


def test_a_window_of_time_forgets_by_time() -> None:
    rig = Rig(replace(SMALL, by_time=True, window=5))
    for _ in range(3):
        rig.calls("f")
        rig.clock.now += 2
    rig.clock.now += 1
    rig.calls("sssf")
    assert rig.state is State.CLOSED, "the first two have left the window: two of five"
    rig.calls("f")
    assert rig.state is State.OPEN, "three of six"


def test_while_open_no_call_passes_for_a_time() -> None:
    rig = Rig()
    rig.calls("ffff")
    assert rig.breaker.seconds_left == 10.0
    rig.clock.now += 9.9
    assert rig.calls("s") == [False]
    rig.clock.now += 0.1
    assert rig.calls("s") == [True]
    assert rig.state is State.HALF_OPEN
    assert rig.breaker.seconds_left == 0.0


def test_half_open_it_lets_few_calls_try_and_their_results_decide() -> None:
    rig = Rig()
    rig.calls("ffff")
    rig.clock.now += 10
    tickets = [rig.breaker.acquire() for _ in range(3)]
    assert tickets[2] is None
    for ticket in tickets[:2]:
        assert ticket is not None
        rig.breaker.record(ticket, Result.SUCCESSFUL, 0.0)
    assert rig.state is State.CLOSED
    rig.calls("fff")
    assert rig.state is State.CLOSED, "it begins with an empty window"


def test_half_open_it_opens_again_if_the_service_still_fails() -> None:
    rig = Rig()
    rig.calls("ffff")
    rig.clock.now += 10
    rig.calls("sf")
    assert rig.state is State.OPEN
    assert rig.calls("s") == [False]
    assert rig.seen.states == ["closed", "open", "half_open", "open"]


def test_a_call_without_a_result_gives_its_turn_back() -> None:
    rig = Rig()
    rig.calls("ffff")
    rig.clock.now += 10
    ticket = rig.breaker.acquire()
    assert ticket is not None
    rig.breaker.release(ticket)
    rig.calls("i")
    assert rig.calls("ss") == [True, True]
    assert rig.state is State.CLOSED


def test_the_half_open_state_may_be_bounded() -> None:
    rig = Rig(replace(SMALL, half_open_seconds=3.0))
    rig.calls("ffff")
    rig.clock.now += 10
    assert rig.breaker.acquire() is not None
    rig.clock.now += 3
    assert rig.breaker.acquire() is None
    assert rig.state is State.OPEN


def test_a_result_from_before_the_last_change_does_not_count() -> None:
    rig = Rig()
    late = rig.breaker.acquire()
    assert late is not None
    rig.calls("ffff")
    rig.clock.now += 10
    rig.calls("s")
    rig.breaker.record(late, Result.FAILED, 0.0)
    rig.breaker.release(late)
    rig.calls("s")
    assert rig.state is State.CLOSED


def test_it_may_become_half_open_without_a_call() -> None:
    rig = Rig(replace(SMALL, automatic=True))
    rig.calls("ffff")
    assert rig.state is State.OPEN
    [timer] = rig.timers
    assert (timer.seconds, timer.cancelled) == (10.0, False)
    timer.call()
    assert rig.state is State.HALF_OPEN
    assert rig.seen.states == ["closed", "open", "half_open"]
    lazy = Rig()
    lazy.calls("ffff")
    lazy.clock.now += 10
    assert (lazy.state, lazy.timers) == (State.OPEN, [])


def test_a_call_may_come_before_the_timer() -> None:
    rig = Rig(replace(SMALL, automatic=True))
    rig.calls("ffff")
    rig.clock.now += 10
    assert rig.calls("s") == [True]
    assert rig.timers[0].cancelled


def test_uploads_take_no_permits_of_other_calls_while_half_open() -> None:
    rig = Rig()
    rig.calls("ffff")
    rig.clock.now += 10
    uploads = [rig.breaker.acquire(upload=True) for _ in range(3)]
    assert uploads[1] is not None
    assert uploads[2] is None, "they are bounded too"
    rig.breaker.release(uploads[1])
    assert rig.breaker.acquire(upload=True) is None, "one that ends without a result makes room for none"
    rig.clock.now += 10
    assert rig.breaker.acquire(upload=True) is not None, "but time does"
    assert [rig.breaker.acquire() is not None for _ in range(3)] == [True, True, False]


def test_results_of_uploads_decide_too() -> None:
    rig = Rig()
    rig.calls("ffff")
    rig.clock.now += 10
    for _ in range(2):
        ticket = rig.breaker.acquire(upload=True)
        assert ticket is not None
        rig.breaker.record(ticket, Result.SUCCESSFUL, 0.0)
    assert rig.state is State.CLOSED


def test_one_that_is_closed_down_reports_nothing_and_sets_no_timer() -> None:
    rig = Rig(replace(SMALL, automatic=True))
    late = rig.breaker.acquire()
    assert late is not None
    rig.calls("fff")
    rig.breaker.close()
    rig.breaker.record(late, Result.FAILED, 0.0)
    assert (rig.seen.states, rig.timers) == (["closed"], [])
    opened = Rig(replace(SMALL, automatic=True))
    opened.calls("ffff")
    opened.breaker.close()
    assert opened.timers[0].cancelled


def test_some_failures_may_count_as_successes_or_not_at_all() -> None:
    config = BreakerConfig(
        recorded=frozenset({Failure.REFUSED, Failure.LOST}), ignored=frozenset({Failure.LOST})
    )
    assert config.result_of(Failure.REFUSED) is Result.FAILED
    assert config.result_of(Failure.TIMEOUT) is Result.SUCCESSFUL
    assert config.result_of(Failure.LOST) is Result.IGNORED


def test_every_call_is_reported() -> None:
    rig = Rig()
    rig.calls("sfifffs")
    assert rig.seen.calls == [
        "successful", "failed", "ignored", "failed", "failed", "not_permitted", "not_permitted",
    ]  # fmt: skip
