"""Reads ``routes:`` and ``default-filters:`` from a document. Reports every fault and goes on after each."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from gateway.routing.breakers import check_breakers
from gateway.routing.cors import CorsRule, doubtful_values, parse_cors
from gateway.routing.factories import make_filter, make_predicate
from gateway.routing.filters.base import Filter, FunctionFilter, LeadingSlashCheck
from gateway.routing.patterns import PathPattern
from gateway.routing.predicates import Path, Predicate, Weight
from gateway.routing.route import NOWHERE, Route, Upstream, parse_uri
from gateway.routing.spec.arguments import Definition, Warn, read_definitions
from gateway.routing.spec.defaults import Defaults
from gateway.routing.spec.document import Fields, Node, Text, as_items, filled, plain
from gateway.routing.spec.issues import Issues, RuleViolation, unknown
from gateway.routing.spec.model import ROUTE
from gateway.routing.spec.tls import TLS_KEYS, TlsKeys, read_tls, with_keys_of_service
from gateway.routing.spec.value_types import FLAG, ORDER, TIMEOUT
from gateway.service_tls import ServiceTls
from gateway.settings.spelling import looks_like


@dataclass(frozen=True, slots=True)
class Metadata:
    """A route's metadata: ``values`` as in the file, and timeouts in seconds. None: the settings' timeout applies;
    infinity: no timeout."""

    values: Mapping[str, object] = field(default_factory=dict)
    cors: CorsRule | None = None
    allow_actuator: bool = False
    response_timeout: float | None = None
    connect_timeout: float | None = None
    tls: ServiceTls | None = None


def read_metadata(node: Node | None, file: str) -> Metadata:
    """Read ``metadata:``, and the files that it names, from the folder of ``file`` on. Raises RuleViolation (rules
    ``metadata``, ``cors``, ``tls``)."""
    if node is None or (isinstance(node, Text) and node.null):
        return Metadata()
    values = plain(node)
    if not isinstance(values, dict):
        raise RuleViolation("metadata", "metadata must be a mapping")
    cors = values.get("cors")
    if cors is not None and not isinstance(cors, dict):
        raise RuleViolation("cors", "cors must be a mapping")
    allow = values.get("allow-actuator", False)
    if not isinstance(allow, bool):
        raise RuleViolation("metadata", f"allow-actuator must be true or false, not {allow!r}")
    return Metadata(
        values,
        # Spring's configuration drops an empty mapping. So the file's CORS rule applies.
        parse_cors(cors) if cors else None,
        allow,
        _timeout(values, "response-timeout"),
        _timeout(values, "connect-timeout"),
        read_tls(values, file),
    )


def misspelt(values: Mapping[str, object]) -> Iterator[str]:
    """What to say of keys that have no effect and are nearly one that has. Other keys are the operator's own."""
    for key in values:
        near = next((known for known in _METADATA if looks_like(str(key), known)), None)
        if near is not None and key not in _METADATA:
            yield f"{key!r} in metadata has no effect and is nearly {near!r}: correct it"


def _timeout(values: Mapping[str, object], key: str) -> float | None:
    """A timeout, which is in milliseconds in the file as in Spring. A negative number means no timeout."""
    value = values.get(key)
    if value is None:
        return None
    milliseconds = None if isinstance(value, bool) else TIMEOUT.read(str(value))
    if milliseconds is None:
        raise RuleViolation("metadata", f"{key} must be {TIMEOUT.wanted}, not {value!r}")
    return milliseconds / 1000 if milliseconds > 0 else math.inf


_METADATA = ("response-timeout", "connect-timeout", "allow-actuator", *TLS_KEYS)
T = TypeVar("T")

_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._~-]+")
_UNREADABLE = re.compile(r"[\x00-\x1f\x7f]")


def read_routes(
    node: Node | None, default_filters: Node | None, issues: Issues, kind_defaults: Defaults
) -> tuple[Route, ...]:
    """Return the valid routes in the order in which they are tried. ``kind_defaults`` apply to all filters and
    predicates of a kind."""
    definitions = read_definitions(default_filters, "filters", issues, None, bare=True)
    defaults = _make(definitions, make_filter, issues, None, kind_defaults)
    if node is None or (isinstance(node, Text) and node.null):
        issues.add(
            node.line if node else 1, "shape", "there are no routes; write 'routes: []' if that is meant"
        )
        return ()
    items = as_items(node)
    if items is None and not (isinstance(node, Fields) and not node.entries):
        issues.add(node.line, "shape", "routes must be a list")
        return ()
    routes: list[Route] = []
    seen: dict[str, int] = {}
    for position, item in enumerate(items.items if items else (), 1):
        route = _RouteReader(item, position, defaults, issues, kind_defaults).read()
        if route is None:
            continue
        if route.id in seen:
            message = f"{issues.where(seen[route.id])} has a route of this id already"
            issues.add(route.line, "route-id", message, route.id)
        seen.setdefault(route.id, route.line)
        routes.append(route)
    _check_weights(routes, issues)
    check_breakers(routes, issues)
    return tuple(sorted(routes, key=lambda route: route.order))


def with_tls_of_services(
    routes: Iterable[Route], services: Mapping[str, TlsKeys], issues: Issues
) -> tuple[Route, ...]:
    """The routes; of those to one of the services, what the service says about TLS counts where their metadata says
    nothing."""
    found = []
    for route in routes:
        keys = services.get(route.upstream.service or "")
        if keys is None:
            found.append(route)
        elif route.tls is None:
            found.append(replace(route, tls=keys.tls))
        else:
            try:
                both = read_tls(with_keys_of_service(route.metadata, keys), issues.file)
                found.append(replace(route, tls=both))
            except RuleViolation as error:
                issues.add_violation(route.line, error, route.id)
    return tuple(found)


def _make(
    definitions: Iterable[Definition],
    make: Callable[[Definition, Warn, Defaults], T],
    issues: Issues,
    route_id: str | None,
    kind_defaults: Defaults,
    sound: Callable[[LeadingSlashCheck, Sequence[T]], bool] = lambda slash_check, before: False,
) -> list[T]:
    """Make the predicates or filters of a route. ``sound`` returns whether a filter that may leave a path without a
    leading slash can't do so after those before it."""
    made: list[T] = []
    for definition in definitions:

        def warn(rule: str, message: str, line: int = definition.line) -> None:
            issues.warn(line, rule, message, route_id)

        try:
            one = make(definition, warn, kind_defaults)
        except RuleViolation as error:
            issues.add_violation(definition.line, error, route_id)
            continue
        if isinstance(one, FunctionFilter) and one.slash_check and not sound(one.slash_check, made):
            warn("path", one.slash_check.warning)
        made.append(one)
    return made


def _stays_sound(slash_check: LeadingSlashCheck, predicates: Iterable[Predicate]) -> bool:
    """Whether a filter keeps the leading slash of all paths that a route takes, as far as their beginning shows."""
    return any(
        all(_stays_sound_below(slash_check, pattern) for pattern in each.patterns)
        for each in predicates
        if isinstance(each, Path)
    )


def _stays_sound_below(slash_check: LeadingSlashCheck, pattern: PathPattern) -> bool:
    literals = pattern.first_literals()
    beginning = "".join(f"/{literal}" for literal in literals)
    if _PLAIN_PATH.fullmatch(beginning) is None:
        return False
    whole = len(literals) == len(pattern.segments)
    below = (f"{beginning}/x", f"{beginning}/x/x") if not whole or pattern.tail is not None else ()
    paths = [beginning, *below] if whole else below
    return all(slash_check.becomes(path).startswith("/") for path in paths)


def _check_weights(routes: list[Route], issues: Issues) -> None:
    totals: dict[str, int] = {}
    for route in routes:
        weights = [predicate for predicate in route.predicates if isinstance(predicate, Weight)]
        if len(weights) > 1:
            issues.add(route.line, "argument", "a route can have one Weight only", route.id)
        for weight in weights:
            totals[weight.group] = totals.get(weight.group, 0) + weight.weight
    for route in routes:
        for predicate in route.predicates:
            if isinstance(predicate, Weight) and not totals[predicate.group]:
                message = f"all weights of the group {predicate.group!r} are 0"
                issues.add(route.line, "argument", message, route.id)


class _RouteReader:
    """Reads one route."""

    def __init__(
        self, node: Node, position: int, defaults: list[Filter], issues: Issues, kind_defaults: Defaults
    ) -> None:
        self.node = node
        self.defaults = defaults
        self.kind_defaults = kind_defaults
        self.issues = issues
        self.route_id = f"route-{position}"

    def read(self) -> Route | None:
        """Return the route, or None if it is faulty or not enabled."""
        fields = self._fields()
        if fields is None:
            return None
        before = len(self.issues.errors)
        self._read_id(fields.get("id"))
        upstream = self._upstream(fields.get("uri"))
        predicates = self._predicates(fields.get("predicates"))
        definitions = self._definitions(fields.get("filters"), "filters")

        def sound(slash_check: LeadingSlashCheck, before: Sequence[Filter]) -> bool:
            as_called = not any(each.by_path for each in (*self.defaults, *before))
            return as_called and _stays_sound(slash_check, predicates)

        own = _make(definitions, make_filter, self.issues, self.route_id, self.kind_defaults, sound)
        order = self._order(fields.get("order"))
        meaning = self._metadata(fields.get("metadata"))
        if len(self.issues.errors) == before:
            if upstream is not None and upstream.scheme == NOWHERE and not any(each.answers for each in own):
                self._fault(
                    self.node.line, "uri", f"{upstream.uri} leads nowhere; only a route with RedirectTo may"
                )
            self._check_variables(predicates, [*self.defaults, *own])
        unencrypted = upstream is not None and upstream.service is None and upstream.scheme == "http"
        if meaning.tls is not None and upstream is not None and unencrypted:
            self._fault(
                self.node.line, "tls", f"{upstream.uri} is called without TLS; write https:// or remove tls-…"
            )
        enabled = self._flag(fields.get("enabled"), "enabled", default=True)
        if len(self.issues.errors) > before or upstream is None or not enabled:
            return None
        numbered = _interleaved(self.defaults, own)
        return Route(
            id=self.route_id,
            upstream=upstream,
            predicates=tuple(predicates),
            filters=tuple(each for _, each in numbered),
            filter_orders=tuple(number for number, _ in numbered),
            order=order,
            metadata=meaning.values,
            cors=meaning.cors,
            allow_actuator=meaning.allow_actuator,
            response_timeout=meaning.response_timeout,
            connect_timeout=meaning.connect_timeout,
            tls=meaning.tls,
            line=self.node.line,
        )

    def _fault(self, line: int, rule: str, message: str) -> None:
        self.issues.add(line, rule, message, self.route_id)

    def _fields(self) -> dict[str, Node] | None:
        node = self.node
        if isinstance(node, Text):
            return self._short(node)
        if not isinstance(node, Fields):
            self._fault(node.line, "shape", "a route must have id, uri and predicates")
            return None
        fields: dict[str, Node] = {}
        expanded = node.expanded()
        identity = expanded.entries.get("id")
        if isinstance(identity, Text) and identity.value:
            self.route_id = identity.value
        for key, value in expanded.entries.items():
            if key.lower() not in ROUTE.names:
                line = expanded.lines.get(key, node.line)
                self._fault(line, "key", unknown(f"key of {ROUTE.title}", key, ROUTE.names))
            fields[key.lower()] = value
        return fields

    def _short(self, node: Text) -> dict[str, Node] | None:
        """A whole route as one text: ``id=uri,Path=/a/**,Method=GET``."""
        name, equals, rest = node.value.partition("=")
        uri, _, predicates = rest.partition(",")
        if not equals or not predicates:
            self._fault(node.line, "shape", f"{node.value!r} is no route; a route has id, uri and predicates")
            return None
        return {
            "id": Text(name.strip(), node.line, unset=node.unset),
            "uri": Text(uri.strip(), node.line),
            "predicates": Text(predicates, node.line),
        }

    def _text(self, node: Node | None, key: str) -> str:
        if node is None or (isinstance(node, Text) and node.null):
            return ""
        if not isinstance(node, Text):
            self._fault(node.line, "shape", f"{key} must be a text")
            return ""
        try:
            return filled(node)
        except RuleViolation as error:
            self.issues.add_violation(node.line, error, self.route_id)
            return ""

    def _read_id(self, node: Node | None) -> None:
        text = self._text(node, "id")
        if text:
            self.route_id = text
        if len(text) > 200 or _UNREADABLE.search(text):
            self._fault(self.node.line, "route-id", "an id is a line of at most 200 characters")

    def _upstream(self, node: Node | None) -> Upstream | None:
        before = len(self.issues.errors)
        text = self._text(node, "uri")
        if len(self.issues.errors) > before:
            return None
        try:
            return parse_uri(text)
        except RuleViolation as error:
            self.issues.add_violation(node.line if node else self.node.line, error, self.route_id)
            return None

    def _definitions(self, node: Node | None, key: str) -> Iterable[Definition]:
        return read_definitions(node, key, self.issues, self.route_id, bare=key == "filters")

    def _predicates(self, node: Node | None) -> list[Predicate]:
        before = len(self.issues.errors)
        definitions = self._definitions(node, "predicates")
        made = _make(definitions, make_predicate, self.issues, self.route_id, self.kind_defaults)
        if not made and len(self.issues.errors) == before:
            self._fault(
                self.node.line, "shape", "a route needs at least one predicate (Path=/** takes everything)"
            )
        return made

    def _order(self, node: Node | None) -> int:
        text = self._text(node, "order")
        if not text:
            return 0
        order = ORDER.read(text)
        if order is None:
            line = node.line if node else self.node.line
            self._fault(line, "shape", f"order must be {ORDER.wanted}, not {text!r}")
        return order or 0

    def _flag(self, node: Node | None, key: str, *, default: bool) -> bool:
        text = self._text(node, key)
        if not text:
            return default
        if (flag := FLAG.read(text)) is None:
            self._fault(self.node.line, "shape", f"{key} must be {FLAG.wanted}")
        return bool(flag)

    def _metadata(self, node: Node | None) -> Metadata:
        try:
            metadata = read_metadata(node, self.issues.file)
            for text in doubtful_values(metadata.cors) if metadata.cors else ():
                self.issues.warn(node.line if node else self.node.line, "cors", text, self.route_id)
            for text in misspelt(metadata.values):
                self.issues.warn(node.line if node else self.node.line, "metadata", text, self.route_id)
            return metadata
        except RuleViolation as error:
            self.issues.add_violation(node.line if node else self.node.line, error, self.route_id)
            return Metadata()

    def _check_variables(self, predicates: list[Predicate], filters: list[Filter]) -> None:
        captured = frozenset[str]().union(*(predicate.always_captures for predicate in predicates))
        needed = frozenset[str]().union(*(each.needs for each in filters))
        for name in sorted(needed - captured):
            known = ", ".join(sorted(captured)) or "none"
            message = (
                f"a filter uses {{{name}}}, which the predicates don't always capture (they capture: {known})"
            )
            self._fault(self.node.line, "variable", message)


def _interleaved(defaults: list[Filter], own: list[Filter]) -> list[tuple[int, Filter]]:
    """Spring's order: default filters and a route's own are each numbered from 1, and sorted by number. Of two with the
    same number, the default filter comes first."""
    numbered = [pair for filters in (defaults, own) for pair in enumerate(filters, 1)]
    return sorted(numbered, key=lambda pair: pair[0])
