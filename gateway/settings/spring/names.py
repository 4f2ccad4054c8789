"""How Spring's relaxed binding takes names for one another. Pure.

A property has one canonical name, ``eureka.client.service-url.defaultZone``. In the environment it is found as Spring
Boot finds it (``SystemEnvironmentPropertyMapper``): in capitals with ``_`` for dots and without hyphens; in the legacy
form, with ``_`` for hyphens; in other case; and with its dots, hyphens or camel case. Lists may have an index at the
end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

CANONICAL: Final = 0
LEGACY: Final = 1
"""The rank of the legacy form; of two forms the one with the lower rank counts. Other case comes two ranks later, dots
come last."""
DOTTED: Final = 4

_ITEM: Final = re.compile(r"\[(\d{1,3})\]\.")
_INDEX: Final = re.compile(r"(.+?)(?:_(\d{1,3})_?|\[(\d{1,3})\])")


@dataclass(frozen=True, slots=True)
class Conversion:
    """How Spring reads a value, if that differs from how the gateway reads its own. ``convert`` turns it into the
    gateway's text, or raises ``ValueError``; ``allowed`` completes "allowed is …"."""

    convert: Callable[[str], str]
    allowed: str


@dataclass(frozen=True, slots=True)
class SpringName:
    """One Spring property that the gateway reads.

    ``canonical``: its name; a name that ends in ``.*`` stands for all properties below it.

    ``setting``: the gateway's own name for it.

    ``part``: it is one of several that the setting is composed of; any other is read if the gateway's own name is
    unset.

    ``many``: a list, whose items may be set one by one.

    ``secret``: the value is never shown.

    ``verbatim``: the last step of the name is a key of the operator's, used as it is written with dots.
    """

    canonical: str
    setting: str
    meaning: str
    reading: Conversion | None = None
    part: bool = False
    many: bool = False
    secret: bool = False
    verbatim: bool = False

    @property
    def family(self) -> bool:
        """Whether it stands for all properties below it."""
        return self.canonical.endswith(".*")

    @property
    def variable(self) -> str:
        """The canonical name in the environment; for a family, the beginning that all its names share."""
        return as_variable(self.canonical.removesuffix("*"))

    @property
    def legacy(self) -> str:
        """The older form in the environment, in which hyphens are ``_``."""
        return self.canonical.removesuffix("*").replace("-", ".").replace(".", "_").upper()


class NameMatch(NamedTuple):
    """The meaning of a name in the environment: the canonical ``variable``, and the ``rank`` of the form it is written
    in. ``at`` is the index of an item of a list."""

    name: SpringName
    variable: str
    rank: int
    at: int | None = None


def as_variable(name: str) -> str:
    """Spring's rule for names in the environment: no hyphens, underscores for dots, capitals."""
    return name.replace("-", "").replace(".", "_").upper()


def uniform(name: str) -> str:
    """A dotted name as Spring compares it: without case, hyphens and underscores."""
    return name.replace("-", "").replace("_", "").lower()


class SpringNames:
    """A table of properties, for looking up names of the environment."""

    def __init__(self, table: Iterable[SpringName]) -> None:
        self.table = tuple(table)
        self._variables: dict[str, tuple[SpringName, int]] = {}
        self._dotted: dict[str, SpringName] = {}
        self._families: list[SpringName] = []
        for one in self.table:
            if one.family:
                self._families.append(one)
                continue
            self._dotted[uniform(one.canonical)] = one
            self._variables.setdefault(one.legacy, (one, LEGACY))
        for one in self.table:
            if not one.family:
                self._variables[one.variable] = (one, CANONICAL)
        self._beginnings = {one.canonical.partition(".")[0] for one in self.table}

    def match(self, name: str) -> NameMatch | None:
        """The property that a name of the environment means; None if it is none of these."""
        if "." in name:
            return self._match_dotted(name)
        return self._match_variable(name)

    def _match_variable(self, name: str) -> NameMatch | None:
        upper = name.upper()
        later = 0 if upper == name else 2
        if found := self._variables.get(upper):
            # Spring reads the legacy form only in all capitals or all lower case.
            if found[1] == LEGACY and name not in (upper, name.lower()):
                return None
            return NameMatch(found[0], found[0].variable, found[1] + later)
        indexed = _INDEX.fullmatch(upper)
        if indexed and (found := self._variables.get(indexed[1])) and found[0].many:
            index = int(indexed[2] or indexed[3])
            return NameMatch(found[0], found[0].variable, found[1] + later, index)
        for one in self._families:
            for rank, beginning in ((CANONICAL, one.variable), (LEGACY, one.legacy)):
                rest = upper.removeprefix(beginning)
                if rest and rest != upper:
                    return NameMatch(one, one.variable + rest, rank + later)
        return None

    def _match_dotted(self, name: str) -> NameMatch | None:
        if name.partition(".")[0].lower() not in self._beginnings:
            return None
        if one := self._dotted.get(uniform(name)):
            return NameMatch(one, one.variable, DOTTED)
        indexed = _INDEX.fullmatch(name)
        if indexed and indexed[3] and (one := self._dotted.get(uniform(indexed[1]))) and one.many:
            return NameMatch(one, one.variable, DOTTED, int(indexed[3]))
        # An item of a list of objects: urls[0].name is below urls.
        below = _ITEM.sub(r".\1.", name)
        for one in self._families:
            steps = one.canonical.count(".")
            parts = below.split(".", steps)
            if (
                len(parts) > steps
                and parts[-1]
                and uniform(".".join(parts[:-1])) == uniform(one.canonical[:-2])
            ):
                key = parts[-1].removeprefix("[").removesuffix("]")
                return NameMatch(one, one.variable + (key if one.verbatim else as_variable(key)), DOTTED)
        return None
