"""Reads the items of ``predicates:`` and ``filters:`` from a document, in either notation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gateway.routing.arguments import Definition, Value, parse_shortcut
from gateway.routing.document import Fields, Items, Node, Text, as_items, filled
from gateway.routing.faults import Faults, RuleBroken

# Their replacements name groups as ${name}, which looks like a placeholder without a value.
_HAVE_GROUPS: Final = ("RewritePath", "RewriteResponseHeader")


def read_definitions(
    node: Node | None, key: str, faults: Faults, route_id: str | None, *, bare: bool
) -> Iterator[Definition]:
    """Yield what is sound and report the rest. ``bare`` allows a shortcut without ``=``."""
    if node is None or (isinstance(node, Text) and node.null):
        return
    if isinstance(node, Text):
        # As in Spring, one text instead of a list is split at its commas.
        parts = tuple(Text(part.strip(), node.line, unset=node.unset) for part in node.value.split(","))
        node = Items(parts, node.line)
    items = as_items(node)
    if items is None:
        faults.add(node.line, "shape", f"{key} must be a list", route_id)
        return
    for item in items.items:
        try:
            yield read_definition(item, key.removesuffix("s"), bare=bare)
        except RuleBroken as error:
            faults.broken(item.line, error, route_id)


def read_definition(item: Node, what: str, *, bare: bool) -> Definition:
    """Read one item; raises RuleBroken (rules ``shape``, ``placeholder``, ``argument``)."""
    if isinstance(item, Text):
        definition = parse_shortcut(item.value, item.line)
        if not definition.name or (not bare and "=" not in item.value):
            raise RuleBroken("shape", f"{item.value!r} is no {what}; write Name=value or name: and args:")
        if definition.name not in _HAVE_GROUPS:
            filled(item)
        return definition
    if isinstance(item, Items):
        raise RuleBroken("shape", f"a {what} must be a text (Name=value) or have name: and args:")
    fields = {key.lower(): value for key, value in item.entries.items()}
    name = fields.pop("name", None)
    args = fields.pop("args", None)
    if not isinstance(name, Text) or not name.value:
        raise RuleBroken("shape", _no_name(item, what))
    if fields:
        surplus = next(iter(fields))
        raise RuleBroken(
            "shape", f"{name.value}: {surplus!r} is not a key of a {what}; arguments belong below args:"
        )
    values, named = _arguments(filled(name), args)
    return Definition(filled(name), values, named, item.line)


def _no_name(item: Fields, what: str) -> str:
    key = next(iter(item.entries), "")
    value = item.entries.get(key)
    if "=" in key:
        return f"the colon in {key!r} makes this a mapping; put the whole {what} in quotes"
    if isinstance(value, Text) and key not in ("args", "name"):
        return f"write {key}={value.value} (a {what} is a text, or has name: and args:)"
    return f"the {what} has no name"


def _arguments(name: str, node: Node | None) -> tuple[tuple[str, ...], dict[str, Value]]:
    if node is None or (isinstance(node, Text) and node.null):
        return (), {}
    if isinstance(node, Text):
        raise RuleBroken("shape", f"{name}: args must be a mapping of argument names to values")
    if isinstance(node, Items):
        return tuple(_text(name, item) for item in node.items), {}
    named: dict[str, Value] = {}
    _flatten(name, node, "", named)
    return (), named


def _flatten(name: str, node: Fields, prefix: str, named: dict[str, Value]) -> None:
    for key, value in node.entries.items():
        items = as_items(value)
        if items is not None:
            named[prefix + key] = tuple(_text(name, item) for item in items.items)
        elif isinstance(value, Fields):
            _flatten(name, value, f"{prefix}{key}.", named)
        else:
            named[prefix + key] = _text(name, value)


def _text(name: str, node: Node) -> str:
    if not isinstance(node, Text):
        raise RuleBroken("shape", f"{name}: an argument is a text or a list of texts")
    if node.null:
        return ""
    return node.value if name in _HAVE_GROUPS else filled(node)
