"""Reads items of ``predicates:`` and ``filters:`` in both notations, and binds their arguments to declared names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from gateway.routing.matcher import Regex
from gateway.routing.spec.defaults import Defaults
from gateway.routing.spec.document import Fields, Items, Node, Text, as_items, filled, plain_name
from gateway.routing.spec.issues import Issues, RuleViolation, nearest
from gateway.routing.spec.value_types import FLAG, SIZE, TEXT, ValueType, choice, whole

T = TypeVar("T")

Value = str | tuple[str, ...]
Warn = Callable[[str, str], None]
_POSITION = re.compile(r"_genkey_([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class Definition:
    """One item of ``predicates:`` or ``filters:`` as written, with its ``line``.

    ``values`` are a shortcut's arguments, ``args`` those of the long form. A list in ``args`` counts as ``values``.
    """

    name: str
    values: tuple[str, ...]
    args: Mapping[str, Value]
    line: int


def parse_shortcut(text: str, line: int) -> Definition:
    """Parse ``Name=a, b`` or ``Name``."""
    name, _, rest = text.partition("=")
    values = tuple(value for part in rest.split(",") if (value := part.strip()))
    return Definition(name, values, {}, line)


@dataclass(frozen=True, slots=True)
class Arg:
    """A declared argument. ``gathers``: it takes all remaining values, at least one if ``required``.

    ``listed``: in the long form it may be a list. ``empty``: in the long form, an empty text or list counts as a value.
    ``named``: only allowed in the long form. ``of`` is the type of its value, or of each value that it gathers or
    lists.
    """

    name: str
    required: bool = True
    empty: bool = False
    gathers: bool = False
    listed: bool = False
    also: tuple[str, ...] = ()
    named: bool = False
    of: ValueType[object] = TEXT


@dataclass(frozen=True, slots=True)
class Factory(Generic[T]):
    """A predicate or filter: its name, its arguments in the shortcut's order, the function that makes it, and a
    description in one sentence. ``instead``: what to write instead of an expression of Spring's."""

    name: str
    args: tuple[Arg, ...]
    make: Callable[[Arguments], T]
    doc: str
    instead: str = ""


class Arguments:
    """Arguments bound to a kind's declared names. The readers raise RuleViolation (rule ``argument``).

    ``warn`` takes a rule and a message, for values that are allowed but probably not intended. ``defaults`` apply to
    all predicates or filters of the kind.
    """

    __slots__ = ("_bound", "defaults", "kind", "warn")

    def __init__(
        self,
        kind: str,
        bound: Mapping[str, Value],
        warn: Warn = lambda rule, message: None,
        defaults: Defaults | None = None,
    ) -> None:
        self.kind = kind
        self._bound = bound
        self.warn = warn
        self.defaults = defaults or Defaults()

    def has(self, name: str) -> bool:
        return name in self._bound

    def text(self, name: str, default: str = "") -> str:
        value = self._bound.get(name, default)
        return value if isinstance(value, str) else ",".join(value)

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._bound.get(name, ())
        return (value,) if isinstance(value, str) else value

    def parts(self, name: str, default: str = "") -> tuple[str, ...]:
        """The values of an argument that may be a list or a text with commas."""
        return tuple(part for each in self.text(name, default).split(",") if (part := each.strip()))

    def integer(self, name: str, default: int, lowest: int = 0) -> int:
        return self._read(name, str(default), whole(lowest))

    def flag(self, name: str, default: bool) -> bool:
        return self._read(name, str(default), FLAG)

    def size(self, name: str, default: str) -> int:
        """A size in bytes, read from ``10``, ``10B``, ``4KB`` or ``5MB``."""
        return self._read(name, default, SIZE)

    def read(self, name: str, of: ValueType[T], default: str = "") -> T:
        """A value of any type."""
        return self._read(name, default, of)

    def choice(self, name: str, allowed: Sequence[str], default: str) -> str:
        return self._read(name, default, choice(allowed))

    def _read(self, name: str, default: str, of: ValueType[T]) -> T:
        text = self.text(name, default)
        value = of.read(text)
        if value is None:
            raise self.wrong(_not_of(name, of, text))
        return value

    def with_warning(self, regex: Regex) -> Regex:
        """Returns ``regex``, after a warning if RE2 does not run it."""
        if regex.warning:
            self.warn("regex", regex.warning)
        return regex

    def wrong(self, message: str) -> RuleViolation:
        return RuleViolation("argument", f"{self.kind}: {message}")


def _not_of(name: str, of: ValueType[object], text: str) -> str:
    return f"{name} must be {of.wanted}, not {text!r}"


def bind(
    kind: Factory[T],
    definition: Definition,
    warn: Warn = lambda rule, message: None,
    defaults: Defaults | None = None,
) -> T:
    """Make the predicate or filter of ``definition``. Raises RuleViolation for a missing, surplus or wrong argument.

    ``warn`` is called with the rule and the message of each warning.
    """
    bound: dict[str, Value] = {}
    _bind_positions(kind, definition.values, bound)
    if kind.instead and any("#{" in "".join(value) for value in definition.args.values()):
        # Before its argument is found to be none.
        raise _is_expression(kind)
    _bind_names(kind, definition.args, bound)
    missing = [arg.name for arg in kind.args if arg.required and arg.name not in bound]
    if missing:
        raise RuleViolation("argument", f"{kind.name}: {_list(missing)} missing; it takes {_list_args(kind)}")
    for value in bound.values():
        if "#{" in "".join(value):
            raise _is_expression(kind)
        if not _is_text("".join(value)):
            raise RuleViolation("argument", f"{kind.name}: a value holds bytes that are no UTF-8")
    _check_types(kind, bound)
    return kind.make(Arguments(kind.name, bound, warn, defaults))


def _is_expression(kind: Factory[T]) -> RuleViolation:
    instead = f"; {kind.instead}" if kind.instead else ""
    return RuleViolation("argument", f"{kind.name}: expressions in #{{…}} are not evaluated here{instead}")


def _check_types(kind: Factory[T], bound: Mapping[str, Value]) -> None:
    for arg in kind.args:
        value = bound.get(arg.name, ())
        for text in (value,) if isinstance(value, str) else value:
            if arg.of.read(text) is None:
                raise RuleViolation("argument", f"{kind.name}: {_not_of(arg.name, arg.of, text)}")


def _is_text(value: str) -> bool:
    """Whether ``value`` can be encoded. An environment variable may hold any bytes."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _bind_positions(kind: Factory[T], values: tuple[str, ...], bound: dict[str, Value]) -> None:
    left = list(values)
    for arg in kind.args:
        if arg.named:
            continue
        if arg.gathers:
            # Path=/a/**,/b/**,false: a truth value after the list is the value of the flag that follows the list.
            flag = [left.pop()] if len(kind.args) > 1 and left and left[-1] in ("true", "false") else []
            bound[arg.name] = tuple(left)
            left = flag
        elif left:
            bound[arg.name] = left.pop(0)
    if left:
        takes = _list_args(kind) or "none"
        raise RuleViolation(
            "argument",
            f"{kind.name}: {len(values)} values given, but it takes {takes}; "
            "a comma inside a value needs the long form (name, args)",
        )


def _bind_names(kind: Factory[T], args: Mapping[str, Value], bound: dict[str, Value]) -> None:
    names = {plain_name(name): arg for arg in kind.args for name in (arg.name, *arg.also)}
    positions = {int(match[1]): value for key, value in args.items() if (match := _POSITION.fullmatch(key))}
    if positions:
        _bind_positions(kind, tuple("".join(positions[at]) for at in sorted(positions)), bound)
    for key, value in args.items():
        if _POSITION.fullmatch(key):
            continue
        arg = names.get(plain_name(key))
        if arg is None:
            allowed = [arg.name for arg in kind.args]
            there_are = f"it takes {_list_args(kind)}" if allowed else "it takes none"
            near = nearest(key, allowed)
            raise RuleViolation("argument", f"{kind.name} has no argument {key!r}{near} ({there_are})")
        if not (arg.gathers or arg.listed) and not isinstance(value, str):
            raise RuleViolation("argument", f"{kind.name}: {arg.name} takes one value, not a list")
        bound[arg.name] = value
    may_be_empty = {arg.name for arg in kind.args if arg.empty}
    for name, value in list(bound.items()):
        if not value and name not in may_be_empty:
            del bound[name]


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) + (" is" if len(names) == 1 else " are")


def _list_args(kind: Factory[T]) -> str:
    shown = [arg.name + ("…" if arg.gathers else "") for arg in kind.args]
    return ", ".join(
        name if arg.required else f"[{name}]" for name, arg in zip(shown, kind.args, strict=True)
    )


# The replacements of these filters write groups as ${name}, which looks like a placeholder without a value.
_HAVE_GROUPS: Final = ("RewritePath", "RewriteResponseHeader")


def read_definitions(
    node: Node | None, key: str, issues: Issues, route_id: str | None, *, bare: bool
) -> Iterator[Definition]:
    """Yield the valid items and report the faulty ones. ``bare`` allows a shortcut without ``=``."""
    if node is None or (isinstance(node, Text) and node.null):
        return
    if isinstance(node, Text):
        # As in Spring, a single text in place of a list is split at its commas.
        parts = tuple(Text(part.strip(), node.line, unset=node.unset) for part in node.value.split(","))
        node = Items(parts, node.line)
    items = as_items(node)
    if items is None:
        issues.add(node.line, "shape", f"{key} must be a list", route_id)
        return
    for item in items.items:
        try:
            yield read_definition(item, key.removesuffix("s"), bare=bare)
        except RuleViolation as error:
            issues.add_violation(item.line, error, route_id)


def read_definition(item: Node, what: str, *, bare: bool) -> Definition:
    """Read one item. Raises RuleViolation (rules ``shape``, ``placeholder``, ``argument``)."""
    if isinstance(item, Text):
        definition = parse_shortcut(item.value, item.line)
        if not definition.name or (not bare and "=" not in item.value):
            raise RuleViolation("shape", f"{item.value!r} is no {what}; write Name=value or name: and args:")
        if definition.name not in _HAVE_GROUPS:
            filled(item)
        return definition
    if isinstance(item, Items):
        raise RuleViolation("shape", f"a {what} must be a text (Name=value) or have name: and args:")
    fields = {key.lower(): value for key, value in item.entries.items()}
    name = fields.pop("name", None)
    args = fields.pop("args", None)
    if not isinstance(name, Text) or not name.value:
        raise RuleViolation("shape", _no_name(item, what))
    if fields:
        surplus = next(iter(fields))
        raise RuleViolation(
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
        raise RuleViolation("shape", f"{name}: args must be a mapping of argument names to values")
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
        raise RuleViolation("shape", f"{name}: an argument is a text or a list of texts")
    if node.null:
        return ""
    return node.value if name in _HAVE_GROUPS else filled(node)
