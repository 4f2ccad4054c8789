"""The arguments of Retry: what they become, what is a fault, and what `gateway check` warns of."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.resilience.failures import Failure
from gateway.resilience.retry import Backoff, RetryPolicy
from gateway.routing.filters.repetition import RetryFilter
from gateway.routing.spec.issues import RouteFileError
from gateway.routing.table import RouteTable
from tests.routing.vectors import load_json


def _table(*filters: Any) -> RouteTable:
    route = {"id": "a", "uri": "http://s", "predicates": ["Path=/**"], "filters": list(filters)}
    return load_json({"routes": [route]})


def _policy(retry: Any) -> RetryPolicy:
    [found] = _table(retry).routes[0].filters
    assert isinstance(found, RetryFilter)
    return found.policy


def _args(**args: Any) -> dict[str, Any]:
    return {"name": "Retry", "args": args}


@pytest.mark.parametrize(
    ("written", "policy"),
    [
        ("Retry", RetryPolicy()),
        ("Retry=2", RetryPolicy(retries=2)),
        (
            "Retry=3,INTERNAL_SERVER_ERROR,GET,10ms,50ms,2,false,0.5,100ms",
            RetryPolicy(
                statuses=frozenset({500}),
                backoff=Backoff(0.01, 0.05, 2, from_previous=False),
                jitter=0.5,
                timeout=0.1,
            ),
        ),
        (
            _args(statuses=[404, "bad_gateway"], series=""),
            RetryPolicy(statuses=frozenset({404, 502}), series=frozenset()),
        ),
        (_args(series=["CLIENT_ERROR", "SERVER_ERROR"]), RetryPolicy(series=frozenset({4, 5}))),
        (_args(exceptions=""), RetryPolicy(failures=frozenset())),
        (
            _args(exceptions="java.net.ConnectException"),
            RetryPolicy(failures=frozenset({Failure.REFUSED, Failure.CONNECT_TIMEOUT})),
        ),
        (_args(methods="GET, PUT"), RetryPolicy(methods=frozenset({"GET", "PUT"}))),
        (_args(backoff={"maxBackoff": 20}), RetryPolicy(backoff=Backoff(0.005, 0.02))),
        (_args(backoff={"firstBackoff": "2m"}), RetryPolicy(backoff=Backoff(120.0, 120.0))),
        (
            _args(**{"backoff.first-backoff": "PT0.1S", "timeout": 1500}),
            RetryPolicy(backoff=Backoff(0.1), timeout=1.5),
        ),
    ],
)
def test_arguments_become_a_policy(written: Any, policy: RetryPolicy) -> None:
    assert _policy(written) == policy


@pytest.mark.parametrize(
    ("retry", "message"),
    [
        ("Retry=0", "retries must be a whole number from 1"),
        ("Retry=101", "retries must be at most 100"),
        (_args(statuses="FIVE"), "statuses: each must be a status from 200 to 999 or its name, not 'FIVE'"),
        (_args(statuses=100), "statuses: each must be a status from 200 to 999"),
        (_args(series="SERVER"), "there is no series 'SERVER'"),
        (_args(methods="get"), "there is no method 'get'"),
        (
            _args(exceptions="FooException"),
            "exceptions: 'FooException' is no failure of a call to a service; there are:",
        ),
        (_args(series="", exceptions=""), "statuses, series and exceptions are all empty"),
        (_args(methods=","), "methods is empty"),
        (_args(backoff={"firstBackoff": 0}), "backoff.firstBackoff must be a number of milliseconds above 0"),
        (_args(backoff={"firstBackoff": "2s", "maxBackoff": "1s"}), "must not be shorter than"),
        (_args(jitter={"randomFactor": 1.5}), "jitter.randomFactor must be a number from 0 to 1"),
        (_args(timeout=0), "timeout must be a number of milliseconds above 0"),
        (_args(backof={"firstBackoff": 1}), "has no argument 'backof.firstBackoff'"),
        ("Retry=1,500,GET,1ms,2ms,2,true,0.5,1s,x", "10 values given"),
    ],
)
def test_wrong_arguments_are_faults_that_say_what_is_allowed(retry: Any, message: str) -> None:
    with pytest.raises(RouteFileError) as refusal:
        _table(retry)
    assert message in str(refusal.value)


def test_methods_whose_calls_may_have_an_effect_twice_are_warned_of() -> None:
    [warning] = _table(_args(methods="GET,POST,PATCH")).warnings
    assert "PATCH, POST: a service may carry out such a call twice" in warning.message
    assert _table(_args(methods="GET,HEAD,OPTIONS,PUT,DELETE")).warnings == ()


def test_of_several_the_last_counts_and_a_route_with_one_is_still_resolved_once() -> None:
    table = _table("Retry=2", "Retry=5")
    assert all(each.fixed for each in table.routes[0].filters)
