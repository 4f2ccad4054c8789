"""One route, and the drawing among weighted ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gateway.routing.cors import CorsRule
from gateway.routing.filters import Filter
from gateway.routing.index import literal_beginning
from gateway.routing.predicates import Path, Predicate, Query
from gateway.routing.predicates_more import Weight
from gateway.routing.upstream import Upstream


@dataclass(frozen=True, slots=True)
class Route:
    """One route as loaded. ``filters`` include the default filters, in the order in which they act, and
    ``filter_orders`` are the numbers Spring sorts them by.

    ``metadata`` is what the file says, in plain Python values; the timeouts come from it, in seconds: None
    leaves the settings' value, infinity means none. ``line`` is where the route stands in its file. ``asked`` are the
    predicates in the order in which they are asked: those that need the query last, so that a malformed query is a
    fault only of calls that the route would take.
    """

    id: str
    upstream: Upstream
    predicates: tuple[Predicate, ...]
    filters: tuple[Filter, ...] = ()
    filter_orders: tuple[int, ...] = ()
    order: int = 0
    metadata: Mapping[str, object] = field(default_factory=dict)
    cors: CorsRule | None = None
    allow_actuator: bool = False
    response_timeout: float | None = None
    connect_timeout: float | None = None
    line: int = 0
    asked: tuple[Predicate, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        asked = sorted(self.predicates, key=lambda predicate: isinstance(predicate, Query))
        object.__setattr__(self, "asked", tuple(asked))


class WeightGroups:
    """The groups of weighted routes; of each group one route is drawn per request."""

    __slots__ = ("_group_of", "_ranges")

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self._group_of: dict[str, str] = {}
        members: dict[str, list[tuple[int, Route]]] = {}
        for route in routes:
            for predicate in route.predicates:
                if isinstance(predicate, Weight):
                    self._group_of[route.id] = predicate.group
                    members.setdefault(predicate.group, []).append((predicate.weight, route))
        self._ranges = {group: _ranges(weighted) for group, weighted in members.items()}

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def chosen(self, route: Route, drawn: dict[str, Route], draw: Callable[[], float]) -> bool:
        """Whether ``route`` is of no group or the one drawn; ``drawn`` keeps one request's draws."""
        group = self._group_of.get(route.id)
        if group is None:
            return True
        if group not in drawn:
            at, ranges = draw(), self._ranges[group]
            drawn[group] = next((member for end, member in ranges if at < end), ranges[-1][1])
        return drawn[group] is route


def _ranges(weighted: list[tuple[int, Route]]) -> tuple[tuple[float, Route], ...]:
    """The routes of one group with the upper ends of their shares of 0 to 1."""
    total = sum(share for share, _ in weighted)
    ends, so_far = [], 0
    for share, route in weighted:
        if share:
            so_far += share
            ends.append((so_far / total, route))
    return tuple(ends)


def route_prefixes(route: Route) -> set[str]:
    """The literal beginnings of which every path the route takes has one."""
    for predicate in route.predicates:
        if isinstance(predicate, Path):
            prefixes = {literal_beginning(pattern) for pattern in predicate.patterns}
            if "" not in prefixes:
                return prefixes
    return {""}
