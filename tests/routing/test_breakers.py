"""Circuit breakers and fallbacks of a route file: what is a fault, and what `gateway check` warns of."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.routing.breakers import breaker_names
from gateway.routing.spec.issues import RouteFileError
from gateway.routing.table import RouteTable
from tests.routing.vectors import load_json


def _route(name: str, *filters: Any, path: str = "") -> dict[str, Any]:
    predicates = [f"Path={path or f'/{name}/**'}"]
    return {"id": name, "uri": "http://s", "predicates": predicates, "filters": list(filters)}


def _breaker(**args: Any) -> dict[str, Any]:
    return {"name": "CircuitBreaker", "args": args}


def _load(*routes: dict[str, Any], **more: Any) -> RouteTable:
    return load_json({"routes": list(routes), **more})


def _fault(*routes: dict[str, Any], **more: Any) -> str:
    with pytest.raises(RouteFileError) as refusal:
        _load(*routes, **more)
    return str(refusal.value)


def test_a_breaker_has_its_name_or_that_of_its_route() -> None:
    table = _load(_route("a", "CircuitBreaker"), _route("b", "CircuitBreaker=x"), _route("c"))
    assert breaker_names(table.routes) == {"a", "x"}


def test_routes_that_share_a_breaker_must_agree_on_it() -> None:
    shared = _breaker(name="x", slidingWindowSize=5, statusCodes=500)
    _load(_route("a", shared), _route("b", _breaker(name="x", slidingWindowSize=5, statusCodes=501)))
    message = _fault(_route("a", shared), _route("b", _breaker(name="x", slidingWindowSize=6)))
    assert "CircuitBreaker 'x': the route a configures the breaker of this name in another way" in message
    # The route's id is a name as any other.
    assert "breaker of this name" in _fault(
        _route("a", "CircuitBreaker"), _route("b", _breaker(name="a", slidingWindowSize=6))
    )
    default = {"default-filters": [_breaker(slidingWindowSize=5)]}
    assert breaker_names(_load(_route("a"), _route("b"), **default).routes) == {"a", "b"}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"fallbackUri": "http://x/"}, "fallbackUri must be forward:/ and a path, not 'http://x/'"),
        ({"fallbackUri": "forward:x"}, "fallbackUri must be forward:/ and a path"),
        ({"fallbackUri": "forward:/x?y"}, "'?' and '#' have no effect"),
        ({"fallbackUri": "forward:/../x"}, "fallbackUri can reach no service"),
        ({"fallbackUri": "forward:/x", "fallbackBody": "x"}, "exclude each other"),
        ({"fallbackStatus": 99}, "fallbackStatus must be a status from 200 to 999"),
        (
            {"fallbackBody": "x", "fallbackContentType": "text/plain\nX: 1"},
            "a character that a header may not hold",
        ),
        (
            {"statusCodes": "FIVE"},
            "statusCodes: each must be a status from 200 to 999 or its name, not 'FIVE'",
        ),
        ({"timeoutDuration": 0}, "timeoutDuration must be a number of milliseconds above 0"),
        ({"timeoutDuration": "1s", "disableTimeLimiter": True}, "no effect with disableTimeLimiter"),
        ({"slidingWindowSize": 0}, "slidingWindowSize must be a whole number from 1"),
        ({"slidingWindowSize": 100_001}, "must be at most 100000"),
        ({"slidingWindowType": "BOTH"}, "slidingWindowType must be one of COUNT_BASED, TIME_BASED"),
        ({"failureRateThreshold": 0}, "failureRateThreshold must be a number from 0.001 to 100"),
        ({"recordExceptions": "MyException"}, "recordExceptions: 'MyException' is no failure of a call"),
        ({"slidingwindow": 5}, "has no argument 'slidingwindow'"),
    ],
)
def test_wrong_arguments_are_faults_that_say_what_is_allowed(args: dict[str, Any], message: str) -> None:
    assert message in _fault(_route("a", _breaker(**args)))


def test_a_fallback_uses_only_variables_that_the_predicates_capture() -> None:
    assert "{rest}" in _fault(_route("a", _breaker(fallbackUri="forward:/x/{rest}")))
    _load(_route("a", _breaker(fallbackUri="forward:/x/{rest}"), path="/a/{rest}"))


@pytest.mark.parametrize(
    ("uri", "warned"),
    [
        ("forward:/b/x", False),
        ("forward:/nothing", True),
        ("forward:/a", False),
        # What stands for the variable is not known.
        ("forward:/nothing/{rest}", False),
    ],
)
def test_a_fallback_that_no_route_takes_is_warned_of(uri: str, warned: bool) -> None:
    table = _load(_route("a", _breaker(fallbackUri=uri), path="/a/{*rest}"), _route("b"))
    rules = [each.rule for each in table.warnings]
    assert rules == (["fallback-without-route"] if warned else [])


def test_the_fallbacks_of_a_gateway_with_a_locator_are_not_known_yet() -> None:
    locator = {"discovery": {"locator": {"enabled": True}}}
    table = _load(_route("a", _breaker(fallbackUri="forward:/nothing")), **locator)
    assert table.warnings == ()


FALLS_BACK = _route("a", _breaker(fallbackUri="forward:/b/x"))


@pytest.mark.parametrize(
    ("gates", "warned"),
    [
        ([], False),
        (["/other/**", "/b/**"], False),
        (["/a/**"], True),
        (["POST /a/buy"], True),
        (["/a/**", "/b/x"], False),
        (["POST /a/buy", "POST /b/**"], False),
        (["/a/**", "POST /b/x"], True),
    ],
)
def test_a_fallback_that_clients_reach_without_a_place_is_warned_of(gates: list[str], warned: bool) -> None:
    other = _route("other")
    table = _load(FALLS_BACK, _route("b"), other, gates=[{"calls": gates}] if gates else [])
    found = [each for each in table.warnings if each.rule == "fallback-ungated"]
    assert len(found) == warned
    if warned:
        assert f"'{gates[0]}' needs a place, but /b/x, where forward:/b/x leads, does not" in found[0].message
        assert found[0].route_id == "a"


def test_a_fallback_whose_path_at_the_service_needs_a_place_is_not_warned_of() -> None:
    rewritten = _route("b", "SetPath=/a/old")
    table = _load(FALLS_BACK, rewritten, gates=[{"calls": ["/a/**"]}])
    assert [each.rule for each in table.warnings] == []


@pytest.mark.parametrize(
    ("given", "warned"),
    [
        (_breaker(timeoutDuration="90m"), "CircuitBreaker: timeoutDuration is 1.5 hours"),
        (_breaker(waitDurationInOpenState="PT2H"), "CircuitBreaker: waitDurationInOpenState is 2 hours"),
        (_breaker(maxWaitDurationInHalfOpenState=7_200_000), "maxWaitDurationInHalfOpenState is 2 hours"),
        (_breaker(maxWaitDurationInHalfOpenState=0), ""),
        (_breaker(timeoutDuration="1h"), ""),
        ({"name": "Retry", "args": {"timeout": "2d"}}, "Retry: timeout is 48 hours"),
        ({"name": "Retry", "args": {"backoff": {"firstBackoff": "3h"}}}, "firstBackoff is 3 hours"),
    ],
)
def test_times_that_no_client_waits_for_are_warned_of(given: dict[str, Any], warned: str) -> None:
    messages = [each.message for each in _load(_route("a", given)).warnings]
    assert [warned in each for each in messages] == [True] * bool(warned)
