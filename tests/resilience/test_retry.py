"""When a call is repeated, after what pause, and how many in all: decisions, without any connection."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from gateway.errors import NoInstance, UpstreamError, UpstreamTimeout, UpstreamUnreachable
from gateway.resilience.failures import Failure
from gateway.resilience.retry import Backoff, Retries, RetryBudget, RetryPolicy


class Clock:
    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass
class Seen:
    """Notes what a request did."""

    reasons: list[str] = field(default_factory=list)
    refused: int = 0

    def retried(self, route: str, reason: str) -> None:
        assert route == "r"
        self.reasons.append(reason)

    def retry_refused(self, route: str) -> None:
        assert route == "r"
        self.refused += 1


def _retries(policy: RetryPolicy, clock: Clock | None = None, seen: Seen | None = None) -> Retries[str]:
    clock = clock or Clock()
    return Retries(policy, RetryBudget(clock), "r", seen or Seen(), clock)


def test_the_defaults_are_springs() -> None:
    policy = RetryPolicy()
    assert (policy.retries, policy.methods, policy.series, policy.statuses) == (3, {"GET"}, {5}, frozenset())
    assert (policy.backoff, policy.jitter, policy.timeout) == (None, 0.0, None)
    assert policy.failures == set(Failure) - {Failure.NO_INSTANCE}


@pytest.mark.parametrize(
    ("policy", "statuses"),
    [
        (RetryPolicy(), {500, 502, 503, 599}),
        (RetryPolicy(series=frozenset()), set()),
        (RetryPolicy(series=frozenset({4}), statuses=frozenset({503})), {404, 429, 499, 503}),
        (RetryPolicy(series=frozenset({2, 3})), {200, 302}),
    ],
)
def test_a_status_is_a_reason_by_itself_or_by_its_series(policy: RetryPolicy, statuses: set[int]) -> None:
    all_statuses = {200, 302, 404, 429, 499, 500, 502, 503, 599}
    assert {each for each in all_statuses if policy.repeats_status(each)} == statuses


def test_a_call_is_repeated_as_often_as_the_policy_says_whatever_the_reason() -> None:
    seen = Seen()
    retries = _retries(RetryPolicy(retries=3), seen=seen)
    assert retries.after_status(503) == 0.0
    assert retries.after_error(UpstreamUnreachable("x")) == 0.0
    assert retries.after_status(200) is None
    assert retries.after_error(UpstreamTimeout("response")) == 0.0
    assert retries.after_status(503) is None
    assert retries.after_error(UpstreamUnreachable("x")) is None
    assert seen == Seen(["503", "UPSTREAM_UNREACHABLE", "UPSTREAM_TIMEOUT"])


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (Failure.REFUSED, UpstreamUnreachable("x", "connect")),
        (Failure.LOST, UpstreamUnreachable("x")),
        (Failure.CONNECT_TIMEOUT, UpstreamTimeout("connect")),
        (Failure.TIMEOUT, UpstreamTimeout("response")),
        (Failure.NO_INSTANCE, NoInstance("x")),
    ],
)
def test_only_the_failures_that_the_policy_names_are_reasons(failure: Failure, error: UpstreamError) -> None:
    assert _retries(RetryPolicy(failures=frozenset({failure}))).after_error(error) == 0.0
    others = frozenset(Failure) - {failure}
    assert _retries(RetryPolicy(failures=others)).after_error(error) is None


def test_nothing_is_repeated_once_the_client_has_a_part_of_an_answer() -> None:
    retries = _retries(RetryPolicy())
    retries.stop()
    assert retries.after_status(503) is None
    assert retries.after_error(UpstreamUnreachable("x")) is None


def _pauses(backoff: Backoff, count: int, jitter: float = 0.0) -> list[float]:
    pauses, previous = [], 0.0
    for repetition in range(1, count + 1):
        previous = backoff.pause(repetition, previous, jitter)
        pauses.append(round(previous, 6))
    return pauses


@pytest.mark.parametrize(
    ("backoff", "jitter", "pauses"),
    [
        (Backoff(0.005), 0.0, [0.005, 0.01, 0.02, 0.04]),
        (Backoff(0.01, 0.05, 2, from_previous=False), 0.0, [0.01, 0.02, 0.04, 0.05]),
        (Backoff(0.01, 0.05, 3), 0.0, [0.01, 0.03, 0.05, 0.05]),
        (Backoff(0.01, 1.0, 1), 0.0, [0.01, 0.01, 0.01, 0.01]),
        # Jitter stays between the first and the longest pause, and counts in the next one if that builds on it.
        (Backoff(0.1, 10.0, 2), 0.5, [0.15, 0.45, 1.35, 4.05]),
        (Backoff(0.1, 10.0, 2), -0.5, [0.1, 0.1, 0.1, 0.1]),
        (Backoff(0.1, 10.0, 2, from_previous=False), -0.5, [0.1, 0.1, 0.2, 0.4]),
        (Backoff(0.1, 0.5, 2, from_previous=False), 1.0, [0.2, 0.4, 0.5, 0.5]),
    ],
)
def test_pauses_grow(backoff: Backoff, jitter: float, pauses: list[float]) -> None:
    assert _pauses(backoff, 4, jitter) == pauses


def test_a_pause_is_bounded_however_often_a_call_is_repeated() -> None:
    for from_previous in (True, False):
        assert _pauses(Backoff(0.001, factor=999_999_999, from_previous=from_previous), 100)[-1] == 60.0


def test_jitter_is_drawn_anew_each_time_within_its_share() -> None:
    policy = RetryPolicy(backoff=Backoff(0.1, 10.0, 2, from_previous=False), jitter=0.5, retries=2)
    second = set()
    for _ in range(50):
        retries = _retries(policy)
        retries.after_status(503)
        pause = retries.after_status(503)
        assert pause is not None
        assert 0.1 <= pause <= 0.3
        second.add(pause)
    assert len(second) > 10


def test_no_repetition_begins_after_the_policys_time() -> None:
    clock = Clock()
    retries = _retries(RetryPolicy(timeout=1.0, backoff=Backoff(0.3, factor=1)), clock)
    clock.now += 0.6
    assert retries.after_status(503) == 0.3
    clock.now += 0.2
    assert retries.after_status(503) is None


def test_the_budget_is_a_fifth_of_the_requests_and_ten() -> None:
    clock = Clock()
    budget = RetryBudget(clock)
    for _ in range(10):
        assert budget.take()
    assert not budget.take()
    for _ in range(50):
        budget.count_request()
    assert [budget.take() for _ in range(11)] == [True] * 10 + [False]


def test_the_budget_forgets_after_ten_seconds_requests_sooner_than_repetitions() -> None:
    clock = Clock()
    budget = RetryBudget(clock)
    for _ in range(50):
        budget.count_request()
    for _ in range(20):
        assert budget.take()
    clock.now += 9
    assert not budget.take()
    clock.now += 1
    assert not budget.take(), "the requests are forgotten, the repetitions are not yet"
    clock.now += 1
    assert [budget.take() for _ in range(11)] == [True] * 10 + [False]
    clock.now += 1e6
    assert budget.take()


def test_a_spent_budget_is_reported_and_leaves_the_answer_as_it_is() -> None:
    clock, seen = Clock(), Seen()
    budget = RetryBudget(clock)
    policy = RetryPolicy(retries=100)
    retries: Retries[str] = Retries(policy, budget, "r", seen, clock)
    assert [retries.after_status(500) for _ in range(10)] == [0.0] * 10
    assert retries.after_status(500) is None
    assert retries.after_status(200) is None
    assert (len(seen.reasons), seen.refused) == (10, 1)
