"""An index that finds the routes, among thousands, that may take a request: by path, host, or a header's value.

A table may have a route for each tenant, distinguished by ``Host=tenant.example.org`` or ``Header=X-Tenant, a``. Each
route is indexed under the one of its conditions that the fewest other routes share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter

from gateway.errors import BadRequest
from gateway.routing.attributes import RequestAttributes
from gateway.routing.predicates import Header, Host
from gateway.routing.prefix_index import PrefixIndex
from gateway.routing.route import Route, route_prefixes

_Ranked = tuple[int, Route]
_rank = itemgetter(0)


class RouteIndex:
    """Routes in their order."""

    __slots__ = ("_by_path", "_by_value", "_plain")

    def __init__(self, routes: Sequence[Route]) -> None:
        by_path: list[tuple[set[str], _Ranked]] = []
        by_value: dict[Host | Header, dict[str, list[tuple[set[str], _Ranked]]]] = {}
        conditions = [list(_conditions(route)) for route in routes]
        alike = Counter(prefix for route in routes for prefix in route_prefixes(route))
        sharing = Counter(
            (_sort(each), value) for of in conditions for each, values in of for value in values
        )
        kinds: dict[tuple[str, ...], Host | Header] = {}
        for rank, (route, of) in enumerate(zip(routes, conditions, strict=True)):
            prefixes = route_prefixes(route)
            item = (prefixes, (rank, route))
            best = min(
                of, key=lambda each: max(sharing[_sort(each[0]), value] for value in each[1]), default=None
            )
            if best is None or max(alike[prefix] for prefix in prefixes) <= max(
                sharing[_sort(best[0]), value] for value in best[1]
            ):
                by_path.append(item)
                continue
            # Predicates of one sort compare the same part of a request, so one of them is enough.
            kind = kinds.setdefault(_sort(best[0]), best[0])
            for value in best[1]:
                by_value.setdefault(kind, {}).setdefault(value, []).append(item)
        self._by_path = PrefixIndex(by_path)
        self._plain = PrefixIndex([(prefixes, route) for prefixes, (_, route) in by_path])
        self._by_value: list[tuple[Host | Header, Mapping[str, PrefixIndex[_Ranked]]]] = [
            (kind, {value: PrefixIndex(items) for value, items in values.items()})
            for kind, values in by_value.items()
        ]

    def candidates(self, request: RequestAttributes) -> Iterable[Route]:
        """The routes that may take a request, in their order."""
        path = request.target.path
        if not self._by_value:
            return self._plain.candidates(path)
        found = list(self._by_path.candidates(path))
        for kind, indexes in self._by_value:
            for index in _fitting(kind, indexes, request):
                found += index.candidates(path)
        found.sort(key=_rank)
        return [route for _, route in dict(found).items()]


def _fitting(
    kind: Host | Header, indexes: Mapping[str, PrefixIndex[_Ranked]], request: RequestAttributes
) -> Iterable[PrefixIndex[_Ranked]]:
    if isinstance(kind, Host):
        host = kind.requested_host(request)
        if not host.isascii():
            return indexes.values()
        values = [host.lower()]
    else:
        try:
            values = kind.members(request)
        except BadRequest:
            # This is an error only for calls that a route would take.
            return indexes.values()
    return (indexes[value] for value in dict.fromkeys(values) if value in indexes)


def _conditions(route: Route) -> Iterator[tuple[Host | Header, frozenset[str]]]:
    """The predicates of a route that only match certain fixed values, with these values."""
    for predicate in route.predicates:
        if isinstance(predicate, Host) and predicate.literals:
            yield predicate, predicate.literals
        elif isinstance(predicate, Header):
            value = None if predicate.regexp is None else predicate.regexp.literal
            if value is not None:
                yield predicate, frozenset({value})


def _sort(predicate: Host | Header) -> tuple[str, ...]:
    """A key that is equal for predicates that compare the same part of a request."""
    if isinstance(predicate, Host):
        return ("host", str(predicate.with_port))
    return ("header", predicate.header.lower())
