"""The arguments of RequestRateLimiter: what they become, what is a fault, and what `gateway check` warns of."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.resilience.rate_limit import RateLimitPolicy
from gateway.routing.spec.issues import RouteFileError
from gateway.routing.table import RouteTable
from tests.routing.vectors import facts_of, load_json


def _table(*filters: Any) -> RouteTable:
    route = {"id": "a", "uri": "http://s", "predicates": ["Path=/**"], "filters": list(filters)}
    return load_json({"routes": [route]})


def _limiter(**args: Any) -> dict[str, Any]:
    return {"name": "RequestRateLimiter", "args": args}


def _limits(*filters: Any) -> tuple[RateLimitPolicy, ...]:
    match = _table(*filters).resolve(facts_of({"target": "/"}))
    assert match is not None
    return match.changes.rate_limits


@pytest.mark.parametrize(
    ("args", "policy"),
    [
        ({"replenishRate": 1}, RateLimitPolicy(1, 1, 1, "user")),
        (
            {"redis-rate-limiter.replenishRate": 10, "redis-rate-limiter.burst-capacity": 20},
            RateLimitPolicy(10, 20),
        ),
        (
            {"redis-rate-limiter": {"replenishRate": 1, "burstCapacity": 60, "requestedTokens": 60}},
            RateLimitPolicy(1, 60, 60),
        ),
        ({"replenish-rate": 5, "burstCapacity": 5, "key": "address"}, RateLimitPolicy(5, 5, 1, "address")),
        ({"replenishRate": 1, "key": "visitor"}, RateLimitPolicy(1, key="visitor")),
        (
            {"replenishRate": 1, "key": "header:X-Api-Key"},
            RateLimitPolicy(1, key="header", header="X-Api-Key"),
        ),
        (
            {"replenishRate": 1, "statusCode": 503, "emptyKeyStatus": "UNAUTHORIZED"},
            RateLimitPolicy(1, status=503, empty_key_status=401),
        ),
        ({"replenishRate": 1, "denyEmptyKey": False}, RateLimitPolicy(1, empty_key_status=None)),
    ],
)
def test_arguments_become_a_policy(args: dict[str, Any], policy: RateLimitPolicy) -> None:
    assert _limits(_limiter(**args)) == (policy,)


def test_several_limits_hold_in_order() -> None:
    limits = _limits(_limiter(replenishRate=1), "StripPrefix=0", _limiter(replenishRate=2, burstCapacity=2))
    assert [each.replenish_rate for each in limits] == [1, 2]


@pytest.mark.parametrize(
    ("limiter", "message"),
    [
        ("RequestRateLimiter", "replenishRate is missing"),
        ("RequestRateLimiter=2, 2, x", "3 values given, but it takes"),
        (_limiter(replenishRate=0), "replenishRate must be a whole number from 1"),
        (_limiter(replenishRate=1, burstCapacity=-1), "burstCapacity must be a whole number from 0"),
        (
            _limiter(replenishRate=1, key="name"),
            "key must be user, address, visitor or header:NAME, not 'name'",
        ),
        (_limiter(replenishRate=1, key="header:"), "key must be user, address, visitor or header:NAME"),
        (_limiter(replenishRate=1, key="header:a b"), "key must be"),
        (_limiter(replenishRate=1, statusCode=200), "statusCode must be a status"),
        (_limiter(replenishRate=1, emptyKeyStatus="OK"), "emptyKeyStatus must be a status"),
        (
            _limiter(**{"replenishRate": 1, "key-resolver": "#{@userKeyResolver}"}),
            "expressions in #{…} are not evaluated here; for key-resolver write key: user, address, visitor or "
            "header:NAME",
        ),
    ],
)
def test_wrong_arguments_are_faults_that_say_what_is_allowed(limiter: Any, message: str) -> None:
    with pytest.raises(RouteFileError) as refusal:
        _table(limiter)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"replenishRate": 1, "burstCapacity": 0}, "so every call is refused"),
        ({"replenishRate": 1, "requestedTokens": 2}, "so every call is refused"),
        ({"replenishRate": 5}, "write burstCapacity: 5 or more"),
        ({"replenishRate": 5, "burstCapacity": 5}, ""),
    ],
)
def test_limits_that_refuse_more_than_they_say_are_warned_of(args: dict[str, Any], message: str) -> None:
    warnings = [each.message for each in _table(_limiter(**args)).warnings]
    assert len(warnings) == bool(message)
    assert not message or message in warnings[0]
