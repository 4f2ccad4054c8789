"""All predicates and filters of the gateway, and those of Spring Cloud Gateway that it does not have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from gateway.routing import predicates
from gateway.routing.filters import (
    answers,
    circuit_breaker,
    headers,
    rate_limiter,
    repetition,
    target,
    without_effect,
)
from gateway.routing.filters.base import Filter
from gateway.routing.predicates import Predicate
from gateway.routing.spec.arguments import Definition, Factory, Warn, bind
from gateway.routing.spec.defaults import Defaults
from gateway.routing.spec.issues import RuleViolation, list_of_names, nearest

T = TypeVar("T")

PREDICATES: Final[Mapping[str, Factory[Predicate]]] = predicates.FACTORIES
FILTERS: Final[Mapping[str, Factory[Filter]]] = {
    **target.FACTORIES,
    **headers.FACTORIES,
    **answers.FACTORIES,
    **repetition.FACTORIES,
    **circuit_breaker.FACTORIES,
    **rate_limiter.FACTORIES,
    **without_effect.FACTORIES,
}

NO_PREDICATES: Final = {
    "CloudFoundryRouteService": "the three headers of Cloud Foundry can be asked for with Header, for example "
    "Header=X-CF-Proxy-Signature; the address in X-CF-Forwarded-Url is the client's and leads nowhere",
    "ReadBody": "routes are chosen before a body is read; choose by path, query or header",
    "Version": "there is no strategy that finds a request's version; choose with Header, Query or Path, for example "
    "Header=X-API-Version, 1[.]1",
}
"""Predicates of Spring Cloud Gateway that the gateway does not have, and why. The message tells the operator that the
name is spelled correctly, and what to write instead."""

_BODIES: Final = (
    "bodies pass through as they come, piece by piece, and programs that would change them can't be given here; let "
    "the service or the client do it"
)
_ADDRESS: Final = (
    "where a request goes is the route's decision alone; write uri, and SetPath or RewritePath for the path"
)

NO_FILTERS: Final = {
    "CacheRequestBody": "no filter here reads a body; leave it out, since Retry and CircuitBreaker keep what they need",
    "FrameworkRetry": "it is the servlet gateway's; write Retry, which takes the same arguments",
    "Hystrix": "it is the filter of Spring Cloud Gateway 2; write CircuitBreaker",
    "JsonToGrpc": _BODIES,
    "LocalResponseCache": "the gateway keeps no answers; put a cache in front, and let the service say Cache-Control",
    "ModifyRequestBody": _BODIES,
    "ModifyResponseBody": _BODIES,
    "RateLimit": "it is the servlet gateway's; write RequestRateLimiter",
    "RemoveJsonAttributesResponseBody": _BODIES,
    "RequestHeaderToRequestUri": _ADDRESS,
    "SetRequestUri": _ADDRESS,
    "StripContextPath": "the gateway has no context path that could be taken off; write StripPrefix",
    "TokenRelay": "the gateway is no OAuth2 client; the caller's own Authorization goes to the service as it came",
    "WebSessionSticky": "the gateway keeps no sessions of its own; leave it out, and keep state outside the instances",
}
"""The same for filters."""


def make_predicate(definition: Definition, warn: Warn, defaults: Defaults) -> Predicate:
    """Make a predicate. Raises RuleViolation (rule ``predicate-name``, ``argument``, ``pattern``, ``regex``)."""
    return _make("predicate", PREDICATES, NO_PREDICATES, definition, warn, defaults)


def make_filter(definition: Definition, warn: Warn, defaults: Defaults) -> Filter:
    """Make a filter. Raises RuleViolation (rule ``filter-name``, ``argument``, ``regex``)."""
    return _make("filter", FILTERS, NO_FILTERS, definition, warn, defaults)


def _make(
    what: str,
    factories: Mapping[str, Factory[T]],
    unsupported: Mapping[str, str],
    definition: Definition,
    warn: Warn,
    defaults: Defaults,
) -> T:
    name = definition.name
    factory = factories.get(name)
    if factory is not None:
        return bind(factory, definition, warn, defaults)
    known = {each.lower(): each for each in unsupported}.get(name.lower())
    if known is not None:
        message = (
            f"the {what} {known!r} is known from Spring Cloud Gateway, but not supported here, because "
            f"{unsupported[known]}{list_of_names(factories)}"
        )
    else:
        others = "predicate" if what == "filter" else "filter"
        elsewhere = name in (PREDICATES if what == "filter" else FILTERS)
        hint = f"; it is a {others}" if elsewhere else nearest(name, (*factories, *unsupported))
        message = f"there is no {what} {name!r}{hint}{list_of_names(factories)}"
    raise RuleViolation(f"{what}-name", message)
