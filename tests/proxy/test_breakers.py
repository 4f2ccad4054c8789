"""The breakers of an instance over reloads: what the log says, and whose results count."""

from __future__ import annotations

import logging

import pytest

from gateway.proxy.breakers import Breakers
from gateway.resilience.breaker import BreakerConfig, BreakerPolicy, Result

SMALL = BreakerConfig(window=2, minimum_calls=2)
LARGER = BreakerConfig(window=3, minimum_calls=3)


class Seen:
    def __init__(self) -> None:
        self.states: list[str] = []
        self.forgotten: list[str] = []

    def breaker_state(self, name: str, state: str) -> None:
        self.states.append(state)

    def breaker_call(self, name: str, result: str) -> None: ...

    def breaker_forgotten(self, name: str) -> None:
        self.forgotten.append(name)


def _fail(breakers: Breakers, config: BreakerConfig, times: int) -> None:
    breaker = breakers.of(BreakerPolicy(config), "a")
    for _ in range(times):
        ticket = breaker.acquire()
        assert ticket is not None
        breaker.record(ticket, Result.FAILED, 0.0)


async def test_a_change_of_a_closed_breaker_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    breakers = Breakers()
    with caplog.at_level(logging.INFO):
        _fail(breakers, SMALL, 1)
        _fail(breakers, LARGER, 1)
    assert caplog.messages == []


async def test_a_change_of_an_open_breaker_closes_it(caplog: pytest.LogCaptureFixture) -> None:
    breakers = Breakers()
    with caplog.at_level(logging.INFO):
        _fail(breakers, SMALL, 2)
        _fail(breakers, LARGER, 1)
    assert [each.partition(":")[0] for each in caplog.messages] == [
        "circuit breaker a is open",
        "circuit breaker a is closed again",
    ]


async def test_late_results_of_a_replaced_breaker_do_not_count() -> None:
    seen = Seen()
    breakers = Breakers(seen)
    old = breakers.of(BreakerPolicy(SMALL), "a")
    tickets = [old.acquire() for _ in range(2)]
    _fail(breakers, LARGER, 1)
    for ticket in tickets:
        assert ticket is not None
        old.record(ticket, Result.FAILED, 0.0)
    assert seen.states == ["closed", "closed"]


async def test_a_breaker_that_no_route_names_is_forgotten() -> None:
    seen = Seen()
    breakers = Breakers(seen)
    _fail(breakers, SMALL, 1)
    breakers.keep({"a"})
    assert seen.forgotten == []
    breakers.keep(set())
    breakers.keep(set())
    assert seen.forgotten == ["a"]
