"""The circuit breakers that the routes of a table name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from gateway.routing.calls import CallPattern, overlap
from gateway.routing.filters.circuit_breaker import CircuitBreakerFilter
from gateway.routing.gates import Gate, GateIndex
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


class Reach(Protocol):
    """The calls that a route takes. ``sent``: their paths at the service, if filters change them."""

    @property
    def route(self) -> Route: ...
    @property
    def sent(self) -> Sequence[CallPattern]: ...
    def takes_path(self, call: CallPattern, /) -> bool: ...
    def takes_method(self, call: CallPattern, /) -> bool: ...


def warn_of_ungated_fallbacks(reaches: Sequence[Reach], gates: Sequence[Gate], issues: Issues) -> None:
    """Warns of fallbacks that clients reach without a place, although the calls that lead there need one."""
    gated = [call for gate in gates for call in gate.calls]
    index = GateIndex(gates)
    for reach in reaches:
        for _, breaker in breakers_of(reach.route):
            path = breaker.fallback_path
            if path is None or path.needs or _gated_at_service(path.source, reaches, gated):
                continue
            mine = (call for call in gated if reach.takes_path(call) and reach.takes_method(call))
            call = next((each for each in mine if not _needs_place(index, each, path.source)), None)
            if call is not None:
                issues.warn(
                    reach.route.line,
                    "fallback-ungated",
                    f"'{call}' needs a place, but {path.source}, where {breaker.fallback_uri} leads, does not: clients "
                    "that call that path themselves get the fallback without a place. Give it a gate of the same room, "
                    "which the gateway does not ask when it calls the fallback itself",
                    reach.route.id,
                )


def _needs_place(index: GateIndex, call: CallPattern, path: str) -> bool:
    """Whether a client needs a place to call ``path`` with the methods of ``call``."""
    methods = ("GET", "POST") if call.method is None else (call.method,)
    found = [index.find(method, path, path) for method in methods]
    return all(each is not None and not each[1].renews_only for each in found)


def _gated_at_service(path: str, reaches: Iterable[Reach], gated: Sequence[CallPattern]) -> bool:
    """Whether a filter may change ``path`` into one that needs a place."""
    return any(
        overlap(call, sent)
        for reach in reaches
        if reach.sent and _takes(reach.route, path)
        for sent in reach.sent
        for call in gated
    )


def _takes(route: Route, path: str) -> bool:
    patterns = [each.patterns for each in route.predicates if isinstance(each, Path)]
    return all(any(pattern.match(path) is not None for pattern in each) for each in patterns)
