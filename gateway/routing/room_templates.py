"""Names of rooms that a gate takes from its calls: ``concert-{productId}`` or ``concert-{query.productId}``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from gateway.errors import BadRequest, RoomNotFound
from gateway.query import parse_query
from gateway.room_names import MAX_VALUE, STAR, VALUE
from gateway.routing.java_regex import compile_java
from gateway.routing.matcher import Regex

if TYPE_CHECKING:
    from gateway.routing.calls import CallPattern

_TEMPLATE: Final = re.compile(
    r"([^{}]*)\{(?:query\.([^{}:]+)(?::((?:[^{}]|\{[^{}]*\})+))?|([^{}]+))\}([^{}]*)"
)
_VALUE: Final = re.compile(VALUE)
_NUMBER: Final = re.compile("_*[0-9][0-9_]*")
# What PHP, Rack and the libraries of Node.js take for the same parameter: pid[], [pid], " pid", "pid" and a NUL.
_CORE: Final = re.compile(r"[\s\[\]]*([^\[\]\0]*)")
_REPLACED_BY_PHP: Final = str.maketrans(". ", "__")


@dataclass(frozen=True, slots=True)
class RoomTemplate:
    """A name with one variable, which a call fills: a variable of the path pattern, or a parameter of the query.
    ``regex``: what the parameter may be; empty if anything. That of the path has its own in the pattern."""

    source: str
    before: str
    variable: str
    after: str
    from_query: bool
    regex: str = ""

    @property
    def entry(self) -> str:
        """The entry under ``rooms:`` that holds for all rooms of the template."""
        return f"{self.before}{STAR}{self.after}"

    def fill(self, call: CallPattern, paths: Iterable[str], raw_query: str) -> str:
        """The room of a request that ``call`` protects. ``paths``: the client's canonical path and the service's.

        A value is read from the path as it is, not from another spelling that a lenient service may accept: both would
        have to agree. Raises RoomNotFound if there is no value, one that no room may have, or a number in another
        spelling than its usual one: a service would sell the product of ``17`` for ``017``. Raises BadRequest for
        several values.
        """
        if self.from_query:
            value = self._of_query(raw_query)
            if value is not None and _is_ambiguous(value, self._fits):
                value = None
        else:
            value = self._of_path(call, paths)
        if value is None or not _VALUE.fullmatch(value):
            raise RoomNotFound(self.source)
        return f"{self.before}{value}{self.after}"

    def _of_path(self, call: CallPattern, paths: Iterable[str]) -> str | None:
        found = None
        for path in paths:
            match = call.pattern.match(path)
            if match is None:
                continue
            value = match[self.variable]
            if found not in (None, value):
                return None

            def admits(other: str, path: str = path, value: str = value) -> bool:
                return call.pattern.matches_with(path, self.variable, value, other)

            if _is_ambiguous(value, admits):
                return None
            found = value
        return found

    def _of_query(self, raw_query: str) -> str | None:
        """The parameter, if it is there once. Some services take a further one for it that has another name here."""
        wanted = _folded(self.variable)
        # Older services separate parameters by semicolons, too.
        parts = parse_query(raw_query.replace(";", "&"))
        if sum(_folded(each.name) == wanted for each in parts) > 1:
            raise BadRequest(f"{self.variable} is given several times")
        value = next((each.value for each in parse_query(raw_query) if each.name == self.variable), None)
        return value if value is not None and self._fits(value) else None

    def _fits(self, value: str) -> bool:
        return not self.regex or regex_of(self.regex).fullmatch(value) is not None


@lru_cache(maxsize=256)
def regex_of(regex: str) -> Regex:
    """The regex of a parameter. Raises RuleViolation for one that can't be used."""
    return compile_java(regex)


def _folded(name: str) -> str:
    core = _CORE.match(name)
    return (name if core is None else core[1]).translate(_REPLACED_BY_PHP).casefold()


def _is_ambiguous(value: str, admits: Callable[[str], bool]) -> bool:
    """Whether ``value`` is a number that has another spelling: ``017``, or ``1_7``, which Python reads as 17. A number
    of a fixed length, such as ``[0-9]{5}``, has only one. ``admits``: whether another value may stand in its place."""
    if _NUMBER.fullmatch(value) is None or len(value) > MAX_VALUE:
        return False
    usual = value.replace("_", "").lstrip("0") or "0"
    if value == usual:
        return False
    spellings = (usual.zfill(length) for length in range(len(usual), MAX_VALUE + 1))
    return any(admits(each) for each in spellings if each != value)


def template_of(room: str) -> RoomTemplate | None:
    """The template that a gate's room is; None: it is the name of one room. Only for names that the file may have."""
    found = _TEMPLATE.fullmatch(room)
    if found is None:
        return None
    before, parameter, regex, variable, after = found.groups()
    return RoomTemplate(room, before, parameter or variable, after, parameter is not None, regex or "")


def entry_of(room: str) -> str:
    """The entry under ``rooms:`` for the room of a gate."""
    template = template_of(room)
    return room if template is None else template.entry
