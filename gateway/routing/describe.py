"""Describes a route table for ``gateway check``, ``gateway routes`` and ``/actuator/gateway/routes``. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from multidict import CIMultiDict

from gateway.errors import BadRequest, RoomNotFound
from gateway.routing.attributes import RequestAttributes
from gateway.routing.calls import CallPattern, parse_call
from gateway.routing.discovered_routes import with_discovered_routes
from gateway.routing.factories import FILTERS, PREDICATES
from gateway.routing.filters.base import ROUTE_ID_PLACE
from gateway.routing.gates import GateRule
from gateway.routing.path import parse_target
from gateway.routing.predicates import Predicate
from gateway.routing.room_templates import entry_of
from gateway.routing.route import Route
from gateway.routing.spec.arguments import Arg
from gateway.routing.spec.issues import Issue, RouteFileError
from gateway.routing.spec.loader import content_of, parse
from gateway.routing.spec.overlay import Properties
from gateway.routing.table import RouteMatch, RouteTable

_WITHOUT_PORT = re.compile(r"(https?)://(?:\[[^\]/]*\]|[^:/?#]+)(?=[/?#]|$)", re.IGNORECASE)


def actuator(table: RouteTable) -> list[dict[str, Any]]:
    """All routes in the order in which they are tried."""
    return [actuator_route(route) for route in table.routes]


def actuator_route(route: Route) -> dict[str, Any]:
    """One route. ``metadata`` is left out if it is empty, as in Spring."""
    shown: dict[str, Any] = {"predicate": _predicate(route), "route_id": route.id}
    if route.metadata:
        shown["metadata"] = {key: _spring_value(value) for key, value in route.metadata.items()}
    shown["filters"] = [
        f"[{str(each).replace(ROUTE_ID_PLACE, route.id)}, order = {order}]"
        for order, each in zip(route.filter_orders, route.filters, strict=True)
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
    """The URI as Spring writes it: with the port, even if it is the scheme's default."""
    match = _WITHOUT_PORT.match(uri)
    if match is None:
        return uri
    port = 443 if match[1].lower() == "https" else 80
    return f"{match[0]}:{port}{uri[match.end() :]}"


def _spring_value(value: object) -> object:
    """The value as Spring shows it: lists in metadata become mappings from positions."""
    if isinstance(value, list):
        return {str(at): _spring_value(item) for at, item in enumerate(value)}
    if isinstance(value, dict):
        return {key: _spring_value(item) for key, item in value.items()}
    return value


def filter_factories() -> tuple[str, ...]:
    """All filters, each under Spring Cloud Gateway's name of its factory, with the arguments."""
    return tuple(
        f"[{kind.name}GatewayFilterFactory configClass = {_config_class(kind.name, kind.args)}]"
        for kind in FILTERS.values()
    )


def predicate_factories() -> tuple[str, ...]:
    """All predicates, in the same form."""
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


_OWN: Final = tuple(
    map(
        parse_call,
        (
            "/api/v1/queue/**",
            "/actuator/**",
            "/swagger-ui/**",
            "/swagger-ui.html",
            "/v3/api-docs",
            "/v3/api-docs.yaml",
            "/v3/api-docs/swagger-config",
        ),
    )
)


def check(
    path: Path, environ: Mapping[str, str], properties: Properties | None = None
) -> tuple[list[Issue], RouteTable | None]:
    """All faults of a route file and of the properties laid over it, or the table. If there is a locator, the table has
    a route for each static service."""
    try:
        return [], with_discovered_routes(
            parse(content_of(path, once=True), str(path), environ, properties), ()
        )
    except RouteFileError as error:
        return list(error.issues), None


def table(table: RouteTable) -> str:
    """The routes in the order in which they are tried, then gates, public calls, rooms and services."""
    rows = [("ORDER", "ID", "PREDICATES", "FILTERS", "URI")]
    for route in table.routes:
        predicates, filters = _joined(route.predicates), _joined(route.filters)
        rows.append((str(route.order), route.id, predicates, filters or "-", route.upstream.uri))
    lines = [*_columns(rows), ""]
    for gate in table.gates:
        lines += [f"gate {gate.room}: {call}" for call in gate.calls]
        lines += [f"gate {gate.room}: {call} (renews only)" for call in gate.renews]
        lines += [f"gate {gate.room}: WebSockets outlive the session"] if gate.outlives else []
    lines += [f"public: {call}" for call in table.public]
    for name, limits in table.rooms.items():
        capacity = "the setting's" if limits.capacity is None else limits.capacity
        duration = "the setting's" if limits.duration is None else f"{limits.duration:g} s"
        people = f", identity {limits.identity}" if limits.identity else ""
        lines.append(f"room {name}: capacity {capacity}, duration {duration}{people}")
        lines += [f"room {name}: lane {lane}" for lane in limits.lanes]
        lines += [f"room {name}: bypass {rule}" for rule in limits.bypass]
        lines += [f"room {name}: eligible by {limits.eligible}"] if limits.eligible is not None else []
    lines += [
        f"service {name}: {', '.join(urls) or 'no static instance'}" for name, urls in table.services.items()
    ]
    return "\n".join(lines)


def _joined(items: Iterable[object]) -> str:
    """Spring's texts, without the parts that are always the same."""
    return ", ".join(str(item).removesuffix(", match trailing slash: true") for item in items)


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def explain(
    table: RouteTable,
    method: str,
    target: str,
    *,
    headers: Iterable[tuple[str, str]] = (),
    client: str = "127.0.0.1",
) -> str:
    """Which route, gate and access rule a call meets, what goes to the service, and why.

    ``target`` is a path with or without a query. Without a Host among ``headers``, the host is ``localhost``.
    """
    sent = CIMultiDict(headers)
    host = sent.setdefault("Host", "localhost")
    try:
        request = RequestAttributes(method, parse_target(target, host), sent, client, host, "http")
    except BadRequest as error:
        return f"{method} {target}\n  refused   400: {error.reason}"
    lines = [f"{method} {target}", f"  path      {request.target.path}"]
    if any(own.protects(method, request.target.path) for own in _OWN):
        lines.append(
            "  note      the gateway answers its own paths itself, before any route and any rule below"
        )
    try:
        match = table.first(request)
    except BadRequest as error:
        return "\n".join([*lines, f"  refused   400: {error.reason}"])
    lines += _route(table, request, match)
    lines += _rules(table, request, match)
    return "\n".join(lines)


def _route(table: RouteTable, request: RequestAttributes, match: RouteMatch | None) -> list[str]:
    if match is None:
        misses = [_miss(route, request) for route in table.routes]
        return ["  route     none (404)", *(f"            {text}" for text in misses if text)]
    route = match.route
    where = f" (line {route.line})" if route.line > 0 else ""
    lines = [f"  route     {route.id}{where}: {_joined(route.predicates)}"]
    for name, value in match.variables.items():
        lines.append(f"            {{{name}}} = {value}")
    if table.resolve(request) is None:
        return [
            *lines,
            f"            counts as none (404): {match.upstream_path} needs metadata allow-actuator: true",
        ]
    if match.answer is not None:
        return [*lines, f"  answer    {match.answer.status}, by a filter, without the service"]
    lines.append(f"  upstream  {route.upstream.uri} {match.upstream_target}")
    lines += [f"            {each}" for each in route.filters]
    return lines


def _miss(route: Route, request: RequestAttributes) -> str:
    """Why a route whose path predicate holds did not take the request: another predicate does not hold."""
    failed = [predicate for predicate in route.predicates if not _holds(predicate, request)]
    if not failed or len(failed) == len(route.predicates):
        return ""
    return f"not {route.id}: {_joined(failed)} does not hold"


def _holds(predicate: Predicate, request: RequestAttributes) -> bool:
    try:
        return predicate.holds(request, {})
    except BadRequest:  # the query is malformed; another predicate keeps the call from this route
        return False


def _room_named(call: CallPattern, rule: GateRule, request: RequestAttributes, upstream_path: str) -> str:
    """The room of the call, or why there is none."""
    target = request.target
    try:
        return rule.of_call(call, (target.path, upstream_path), target.raw_query).room
    except RoomNotFound:
        return f"{rule.room}, which the call does not name (404)"
    except BadRequest as error:
        return f"{rule.room}, which the call does not name (400: {error.reason})"


def _rules(table: RouteTable, request: RequestAttributes, match: RouteMatch | None) -> list[str]:
    method, path = request.method, request.target.path
    upstream_path = match.upstream_path if match is not None else path
    found = table.gate_call(method, path, upstream_path)
    if found is None:
        gate = "none"
    else:
        call, rule = found
        what = "renews a session, needs none" if rule.renews_only else "a place is needed"
        gate = f"room {_room_named(call, rule, request, upstream_path)}: {what} ({call})"
    opened = next((str(call) for call in table.public if call.opens(method, path)), None)
    if found is not None and table.place_stands_for_token(found[1], method, path):
        access = "a visitor's place stands for the token"
    elif opened is None:
        access = "a token is needed"
    elif (
        found is not None and not found[1].renews_only and entry_of(found[1].room) not in table.visitor_rooms
    ):
        access = f"a token is needed: the gate counts, although {opened} is public"
    else:
        access = f"open without a token ({opened})"
    return [f"  gate      {gate}", f"  access    {access}"]
