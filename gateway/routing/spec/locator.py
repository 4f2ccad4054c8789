"""Spring's discovery locator: a route ``/{service}/**`` for every known service, with the prefix removed.

Such a route follows the rules of all routes: gates are also matched with the path at the service, access rules with the
path as sent, and no such route leads into a service's ``/actuator``. An instance's metadata are ignored. Service ids
are always in lower case here, so ``lower-case-service-id`` is accepted and has no effect.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.routing.route import Route
from gateway.routing.spec.arguments import Definition, Value, read_definitions
from gateway.routing.spec.defaults import Defaults
from gateway.routing.spec.document import Fields, Items, Node, Text, filled
from gateway.routing.spec.issues import Issues, RuleViolation, unknown
from gateway.routing.spec.model import DISCOVERY, LOCATOR
from gateway.routing.spec.routes import read_routes
from gateway.routing.spec.sections import fields_of, texts

_TERM = re.compile(r"\s*(?:'((?:[^']|'')*)'|serviceId(?:\.toLowerCase\(\))?)\s*")
_PREFIX: Final = "ReactiveCompositeDiscoveryClient_"
_PREDICATES: Final = (Definition("Path", ("'/'+serviceId+'/**'",), {}, 0),)
_FILTERS: Final = (
    Definition("RewritePath", ("'/' + serviceId + '/?(?<remaining>.*)'", "'/${remaining}'"), {}, 0),
)


@dataclass(frozen=True)
class Locator:
    """The rules that turn a service's name into a route. ``url``, ``predicates`` and ``filters`` hold expressions."""

    prefix: str = _PREFIX
    url: str = "'lb://'+serviceId"
    predicates: tuple[Definition, ...] = _PREDICATES
    filters: tuple[Definition, ...] = _FILTERS
    exclude: frozenset[str] = frozenset()
    default_filters: Node | None = None
    kind_defaults: Defaults = field(default_factory=Defaults)
    line: int = 0

    def routes(self, names: Iterable[str], issues: Issues) -> tuple[Route, ...]:
        """A route for each name, in this order. Errors in the expressions are added to ``issues``."""
        nodes: list[Node] = []
        try:
            nodes = [self._route(name) for name in names]
        except RuleViolation as error:
            issues.add_violation(self.line, error)
        return read_routes(Items(tuple(nodes), self.line), self.default_filters, issues, self.kind_defaults)

    def _route(self, name: str) -> Node:
        return Fields(
            {
                "id": Text(self.prefix + name, self.line),
                "uri": Text(evaluate(self.url, name), self.line),
                "predicates": Items(tuple(_node(each, name) for each in self.predicates), self.line),
                "filters": Items(tuple(_node(each, name) for each in self.filters), self.line),
            },
            self.line,
        )


def evaluate(expression: str, service: str) -> str:
    """The value of one of Spring's expressions for a service: texts in quotes and ``serviceId``, joined by ``+``.

    Raises RuleViolation (rule ``locator``) for any other expression.
    """
    result, at = "", 0
    while (term := _TERM.match(expression, at)) is not None:
        result += service if term[1] is None else term[1].replace("''", "'")
        at = term.end()
        if at == len(expression):
            return result
        if expression[at] != "+":
            break
        at += 1
    raise RuleViolation(
        "locator", f"{expression!r} can't be evaluated; write 'texts in quotes' and serviceId, joined by +"
    )


def _node(definition: Definition, service: str) -> Node:
    line = definition.line
    args: Node = Items(tuple(Text(evaluate(value, service), line) for value in definition.values), line)
    if definition.args:
        args = Fields({key: _value(value, service, line) for key, value in definition.args.items()}, line)
    return Fields({"name": Text(definition.name, line), "args": args}, line)


def _value(value: Value, service: str, line: int) -> Node:
    if isinstance(value, str):
        return Text(evaluate(value, service), line)
    return Items(tuple(Text(evaluate(each, service), line) for each in value), line)


def read_locator(
    node: Node | None,
    over: Node | None,
    default_filters: Node | None,
    issues: Issues,
    kind_defaults: Defaults,
) -> Locator | None:
    """The locator of ``discovery:``; None unless it is enabled. Keys of ``over`` replace those of ``node``.
    ``kind_defaults`` apply to all its filters and predicates of a kind."""
    fields = {**_fields(node, issues), **_fields(over, issues)}
    before = len(issues.errors)
    enabled = _flag(fields.get("enabled"), "enabled", False, issues)
    _flag(fields.get("lowercaseserviceid"), "lower-case-service-id", True, issues)
    if not _flag(fields.get("includeexpression"), "include-expression", True, issues):
        enabled = False
    if not enabled or len(issues.errors) > before:
        return None
    default = Locator()
    place = next(iter(fields.values()))
    locator = Locator(
        _text(fields.get("routeidprefix"), "route-id-prefix", default.prefix, issues),
        _text(fields.get("urlexpression"), "url-expression", default.url, issues),
        _definitions(fields, "predicates", default.predicates, issues),
        _definitions(fields, "filters", default.filters, issues),
        frozenset(text.value.lower() for text in texts(fields.get("exclude"), "exclude", issues)),
        default_filters,
        kind_defaults,
        place.line,
    )
    if len(issues.errors) == before:
        # An error in an expression shows with any name.
        locator.routes(("service",), issues)
    return locator


def _fields(node: Node | None, issues: Issues) -> Mapping[str, Node]:
    below = node.expanded() if isinstance(node, Fields) else node
    locator = fields_of(below, DISCOVERY, issues).get("locator")
    locator = locator.expanded() if isinstance(locator, Fields) else locator
    return fields_of(locator, LOCATOR, issues)


def _text(node: Node | None, key: str, default: str, issues: Issues) -> str:
    if node is None or (isinstance(node, Text) and node.null):
        return default
    try:
        if isinstance(node, Text):
            return filled(node)
        raise RuleViolation("shape", f"{key} must be a text")
    except RuleViolation as error:
        issues.add_violation(node.line, error)
        return default


def _flag(node: Node | None, key: str, default: bool, issues: Issues) -> bool:
    text = _text(node, key, str(default), issues).lower()
    if text not in ("true", "false"):
        issues.add(node.line if node else 1, "locator", unknown(f"value of {key}", text, ("true", "false")))
    return text == "true"


def _definitions(
    fields: Mapping[str, Node], key: str, default: tuple[Definition, ...], issues: Issues
) -> tuple[Definition, ...]:
    if key not in fields:
        return default
    return tuple(read_definitions(fields[key], key, issues, None, bare=key == "filters"))
