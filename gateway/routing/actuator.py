"""The route table in the JSON that Spring Cloud Gateway's users' tools read (``/actuator/gateway/routes``)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from gateway.routing.arguments import Arg
from gateway.routing.kinds import FILTERS, PREDICATES
from gateway.routing.route import Route
from gateway.routing.table import RouteTable

_WITHOUT_PORT = re.compile(r"(https?)://(?:\[[^\]/]*\]|[^:/?#]+)(?=[/?#]|$)", re.IGNORECASE)


def actuator(table: RouteTable) -> list[dict[str, Any]]:
    """All routes in the order in which they are asked."""
    return [actuator_route(route) for route in table.routes]


def actuator_route(route: Route) -> dict[str, Any]:
    """One route; ``metadata`` only where there is some, as there."""
    shown: dict[str, Any] = {"predicate": _predicate(route), "route_id": route.id}
    if route.metadata:
        shown["metadata"] = {key: _spring_value(value) for key, value in route.metadata.items()}
    shown["filters"] = [
        f"[{each}, order = {order}]" for order, each in zip(route.filter_orders, route.filters, strict=True)
    ]
    shown["uri"] = _uri(route.upstream.uri)
    shown["order"] = route.order
    return shown


def _predicate(route: Route) -> str:
    text = ""
    for predicate in route.predicates:
        text = f"({text} && {predicate})" if text else str(predicate)
    return text


def _uri(uri: str) -> str:
    """Spring writes the port even where it is the scheme's own."""
    match = _WITHOUT_PORT.match(uri)
    if match is None:
        return uri
    port = 443 if match[1].lower() == "https" else 80
    return f"{match[0]}:{port}{uri[match.end() :]}"


def _spring_value(value: object) -> object:
    """Spring binds lists in metadata as mappings from positions."""
    if isinstance(value, list):
        return {str(at): _spring_value(item) for at, item in enumerate(value)}
    if isinstance(value, dict):
        return {key: _spring_value(item) for key, item in value.items()}
    return value


def filter_factories() -> tuple[str, ...]:
    """The filters there are for routes, each as Spring Cloud Gateway names its factory and that one's arguments."""
    return tuple(
        f"[{kind.name}GatewayFilterFactory configClass = {_config_class(kind.name, kind.args)}]"
        for kind in FILTERS.values()
    )


def predicate_factories() -> tuple[str, ...]:
    """Likewise the predicates."""
    return tuple(
        f"[{name}RoutePredicateFactory configClass = "
        f"{'WeightConfig' if name == 'Weight' else f'{name}RoutePredicateFactory.Config'}]"
        for name in PREDICATES
    )


def _config_class(name: str, args: Sequence[Arg]) -> str:
    names = tuple(arg.name for arg in args)
    if not names or name == "AddRequestHeadersIfNotPresent":
        return "Object"
    if names[:2] == ("name", "value"):
        return "AbstractNameValueGatewayFilterFactory.NameValueConfig"
    if names == ("name",):
        return "AbstractGatewayFilterFactory.NameConfig"
    return f"{name}GatewayFilterFactory.{'RequestSizeConfig' if name == 'RequestSize' else 'Config'}"
