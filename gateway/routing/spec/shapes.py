"""The shapes of which the model of a route file is made: single values, lists, mappings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from gateway.routing.spec.document import plain_name
from gateway.routing.spec.value_types import ValueType


@dataclass(frozen=True, slots=True)
class Texts:
    """A list of texts, or one text. Null means an empty list."""


@dataclass(frozen=True, slots=True)
class Definitions:
    """A list of ``predicates`` or of ``filters``. ``expressions``: their arguments are expressions of the locator."""

    what: str
    expressions: bool = False


@dataclass(frozen=True, slots=True)
class Truth:
    """YAML's ``true`` or ``false``. A text is not accepted instead."""


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping whose keys the operator chooses. Each key must match ``pattern``."""

    values: Shape
    pattern: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """A list. ``numbered``: a mapping whose keys are the positions is accepted too. ``alone``: so is one item outside a
    list."""

    items: Shape
    numbered: bool = False
    null: bool = True
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a mapping. ``spring`` is its name in Spring's nesting, if the section may be there too.

    ``missing`` holds values that mean the same as leaving the key out.
    """

    name: str
    holds: Shape
    doc: str
    required: bool = False
    spring: str = ""
    missing: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class Keys:
    """A mapping with these keys. ``title`` is its name in messages.

    ``dotted``: keys may be written ``a.b`` and ``a[0]``. ``others``: further keys are allowed and kept as they are.
    ``shortcut``: a pattern of the texts that may replace the mapping.
    """

    title: str
    keys: tuple[Key, ...]
    dotted: bool = False
    others: bool = False
    null: bool = True
    shortcut: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(key.name for key in self.keys)

    @cached_property
    def by_plain_name(self) -> dict[str, Key]:
        """The keys by their plain names (see ``plain_name``)."""
        return {plain_name(key.name): key for key in self.keys}

    def __getitem__(self, name: str) -> Key:
        return self.by_plain_name[plain_name(name)]

    def __iter__(self) -> Iterator[Key]:
        return iter(self.keys)


@dataclass(frozen=True, slots=True)
class TextsOr:
    """A list of texts, one text, or a mapping."""

    keys: Keys


Shape = ValueType[object] | Texts | TextsOr | Definitions | Truth | MapOf | Listed | Keys
