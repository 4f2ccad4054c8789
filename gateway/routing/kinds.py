"""All predicates and filters there are, and those of Spring Cloud Gateway that are not here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from gateway.routing import filters_answers, filters_headers, filters_target, predicates, predicates_more
from gateway.routing.arguments import Definition, Kind, Warn, bind
from gateway.routing.faults import RuleBroken, unknown
from gateway.routing.filters import Filter
from gateway.routing.predicates import Predicate

T = TypeVar("T")

PREDICATES: Final[Mapping[str, Kind[Predicate]]] = {**predicates.KINDS, **predicates_more.KINDS}
FILTERS: Final[Mapping[str, Kind[Filter]]] = {
    **filters_target.KINDS,
    **filters_headers.KINDS,
    **filters_answers.KINDS,
}

# Spring's, so that somebody who brings a file learns that the name is right but the thing not here.
ELSEWHERE: Final = {
    "CircuitBreaker": "an instance that refuses connections is set aside by the balancer",
    "RequestRateLimiter": "the waiting room is what limits here",
    "Retry": "nothing is sent twice, because a service may have acted on the first",
    **dict.fromkeys(
        (
            "CacheRequestBody",
            "CloudFoundryRouteService",
            "FallbackHeaders",
            "JsonToGrpc",
            "LocalResponseCache",
            "ModifyRequestBody",
            "ModifyResponseBody",
            "ReadBody",
            "RemoveHopByHop",
            "RemoveJsonAttributesResponseBody",
            "RequestHeaderToRequestUri",
            "SaveSession",
            "SetRequestUri",
            "TokenRelay",
        ),
        "it has no counterpart",
    ),
}


def make_predicate(definition: Definition, warn: Warn) -> Predicate:
    """Make a predicate; raises RuleBroken (rule ``predicate-name``, ``argument``, ``pattern``, ``regex``)."""
    return _make("predicate", PREDICATES, definition, warn)


def make_filter(definition: Definition, warn: Warn) -> Filter:
    """Make a filter; raises RuleBroken (rule ``filter-name``, ``argument``, ``regex``)."""
    return _make("filter", FILTERS, definition, warn)


def _make(what: str, kinds: Mapping[str, Kind[T]], definition: Definition, warn: Warn) -> T:
    kind = kinds.get(definition.name)
    if kind is None:
        reason = ELSEWHERE.get(definition.name)
        if reason is not None:
            there_are = ", ".join(kinds)
            raise RuleBroken(
                f"{what}-name",
                f"the {what} {definition.name!r} is Spring Cloud Gateway's but not supported here: {reason} "
                f"(there are: {there_are})",
            )
        raise RuleBroken(f"{what}-name", unknown(what, definition.name, kinds))
    return bind(kind, definition, warn)
