"""The circuit breakers that the routes of a table name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateway.routing.filters.circuit_breaker import CircuitBreakerFilter
from gateway.routing.predicates import Path
from gateway.routing.route import Route
from gateway.routing.spec.issues import Issues


def breakers_of(route: Route) -> Iterator[tuple[str, CircuitBreakerFilter]]:
    """The breaker filters of a route, each with the name of its breaker."""
    for each in route.filters:
        if isinstance(each, CircuitBreakerFilter):
            yield each.policy.name or route.id, each


def breaker_names(routes: Iterable[Route]) -> frozenset[str]:
    """The names of all breakers."""
    return frozenset(name for route in routes for name, _ in breakers_of(route))


def check_breakers(routes: Iterable[Route], issues: Issues) -> None:
    """Adds a fault for each breaker that two routes configure in different ways, since they share it."""
    first: dict[str, tuple[Route, CircuitBreakerFilter]] = {}
    for route in routes:
        for name, breaker in breakers_of(route):
            other, known = first.setdefault(name, (route, breaker))
            if known.policy.config != breaker.policy.config:
                issues.add(
                    route.line,
                    "breaker",
                    f"CircuitBreaker {name!r}: the route {other.id} configures the breaker of this name in another "
                    "way; give both the same arguments, or two names",
                    route.id,
                )


def warn_of_fallbacks(routes: tuple[Route, ...], issues: Issues) -> None:
    """Warns of fallbacks that no route takes. Right only if all routes are known."""
    for route in routes:
        for _, breaker in breakers_of(route):
            path = breaker.fallback_path
            if path is None or path.needs or any(_takes(each, path.source) for each in routes):
                continue
            issues.warn(
                route.line,
                "fallback-without-route",
                f"no route takes {path.source}, where {breaker.fallback_uri} leads; calls that fail get the error",
                route.id,
            )


def _takes(route: Route, path: str) -> bool:
    patterns = [each.patterns for each in route.predicates if isinstance(each, Path)]
    return all(any(pattern.match(path) is not None for pattern in each) for each in patterns)
