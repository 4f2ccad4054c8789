"""``services`` of a route file: what is read, and what is a fault."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.resilience.services import EjectPolicy, HealthPolicy, ServicePolicy
from gateway.routing.spec.issues import RouteFileError
from gateway.routing.table import RouteTable
from tests.routing.vectors import load_json


def _table(service: Any, **environ: str) -> RouteTable:
    route = {"id": "a", "uri": "lb://shop", "predicates": ["Path=/**"]}
    return load_json({"routes": [route], "services": {"Shop": service}}, environ)


A, B = "http://a:80", "http://b:8080"


@pytest.mark.parametrize("service", [[A, B], f"{A},{B}", ["http://a", B, A]])
def test_lists_and_texts_are_as_they_were(service: Any) -> None:
    table = _table(service)
    assert table.services == {"shop": (A, B)}
    assert table.service_policies == {}


@pytest.mark.parametrize(
    ("service", "policy"),
    [
        ({"instances": [A, B]}, ServicePolicy({A: 1, B: 1}, max_waiting=100)),
        ({"instances": [{"uri": A, "weight": 3}, B]}, ServicePolicy({A: 3, B: 1}, max_waiting=100)),
        ({"instances": "${URLS}"}, ServicePolicy({A: 1, B: 1}, max_waiting=100)),
        ({}, ServicePolicy({}, max_waiting=100)),
        (
            {"instances": [A], "balance": "least-requests", "max-connections": 5, "max-waiting": 0},
            ServicePolicy({A: 1}, "least-requests", max_connections=5),
        ),
        (
            {"instances": [A], "balance": "hash", "hash": "header:X-Cart"},
            ServicePolicy({A: 1}, "hash", "header", "X-Cart", max_waiting=100),
        ),
        (
            {"instances": [A], "balance": "hash", "hash": "user"},
            ServicePolicy({A: 1}, "hash", "user", max_waiting=100),
        ),
        ({"instances": [A], "eject": {}}, ServicePolicy({A: 1}, eject=EjectPolicy(), max_waiting=100)),
        (
            {"instances": [A], "eject": {"failures": 3, "time": "1m", "max": 0.25}},
            ServicePolicy({A: 1}, eject=EjectPolicy(3, 60.0, 0.25), max_waiting=100),
        ),
        (
            {"instances": [A], "health": {"path": "/health?deep=1"}, "slow-start": "30s"},
            ServicePolicy(
                {A: 1},
                max_waiting=100,
                health=HealthPolicy("/health?deep=1", 10.0, 2.0, 3, 2),
                slow_start=30.0,
            ),
        ),
        (
            {
                "instances": [A],
                "health": {"path": "/", "interval": "500ms", "unhealthy": 1, "healthy": 4},
                "slow-start": 0,
            },
            ServicePolicy({A: 1}, max_waiting=100, health=HealthPolicy("/", 0.5, 2.0, 1, 4)),
        ),
    ],
)
def test_a_mapping_is_instances_and_a_policy(service: Any, policy: ServicePolicy) -> None:
    table = _table(service, URLS=f"{A}, {B}")
    assert table.service_policies == {"shop": policy}
    assert table.services == {"shop": tuple(policy.weights)}


@pytest.mark.parametrize(
    ("service", "message"),
    [
        ({"instance": [A]}, "key in services.Shop"),
        ({"instances": ["ftp://a"]}, "ftp: is not a scheme"),
        ({"instances": [{"weight": 1}]}, "an instance of services.Shop needs a uri"),
        ({"instances": [{"uri": [A]}]}, "an instance of services.Shop needs a uri, which is one text"),
        ({"instances": [{"uri": A, "weight": 0}]}, "weight must be a whole number from 1"),
        ({"instances": [A], "balance": "random"}, "balance must be round-robin, least-requests or hash"),
        ({"instances": [A], "balance": "hash"}, "balance: hash and hash belong together"),
        ({"instances": [A], "hash": "user"}, "balance: hash and hash belong together"),
        (
            {"instances": [A], "balance": "hash", "hash": "name"},
            "hash must be header:NAME, cookie:NAME or user",
        ),
        ({"instances": [A], "eject": {"failures": 0}}, "failures must be a whole number from 1"),
        ({"instances": [A], "eject": {"time": 0}}, "time must be seconds from 0.001"),
        ({"instances": [A], "eject": {"max": 2}}, "max must be a number from 0 to 1"),
        ({"instances": [A], "eject": {"share": 1}}, "key in services.Shop.eject"),
        ({"instances": [A], "max-connections": -1}, "max-connections must be a whole number from 0"),
        ({"instances": [A], "max-waiting": 5}, "max-waiting has no effect without max-connections"),
        ({"instances": [A], "health": {}}, "services.Shop.health needs a path"),
        # As when all lines below it are commented out.
        ({"instances": [A], "health": None}, "services.Shop.health needs a path"),
        ({"instances": [A], "health": {"interval": "5s"}}, "services.Shop.health needs a path"),
        ({"instances": [A], "health": "/health"}, "services.Shop.health must be a mapping"),
        ({"instances": [A], "health": {"path": "health"}}, "path must be a path that begins with /"),
        ({"instances": [A], "health": {"path": "/a b"}}, "path must be a path that begins with /"),
        ({"instances": [A], "health": {"path": "/", "interval": 0}}, "interval must be seconds from 0.1"),
        (
            {"instances": [A], "health": {"path": "/", "interval": "99ms"}},
            "interval must be seconds from 0.1",
        ),
        ({"instances": [A], "health": {"path": "/", "timeout": 0}}, "timeout must be seconds from 0.001"),
        (
            {"instances": [A], "health": {"path": "/", "unhealthy": 0}},
            "unhealthy must be a whole number from 1",
        ),
        ({"instances": [A], "health": {"path": "/", "healthy": -1}}, "healthy must be a whole number from 1"),
        ({"instances": [A], "health": {"path": "/", "status": 200}}, "key in services.Shop.health"),
        ({"instances": [A], "slow-start": -1}, "slow-start must be seconds from 0"),
        ({"instances": [A], "slow-start": "soon"}, "slow-start must be seconds from 0"),
    ],
)
def test_what_is_wrong_is_a_fault_that_says_what_is_allowed(service: Any, message: str) -> None:
    with pytest.raises(RouteFileError) as refusal:
        _table(service)
    assert message in str(refusal.value)
