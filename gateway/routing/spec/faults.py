"""What is wrong with a route file, and what is odd in it: each with its place and a rule.

A fault keeps the file out of force. A warning does not.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gateway.errors import GatewayError

MOST_SHOWN: Final = 20
LONGEST_SHOWN: Final = 1000
"""In characters. A value that is quoted may be far longer."""
_LIST = re.compile(r" \(there are: [^()]*\)")


class RuleViolation(Exception):
    """A value of the route file breaks a rule. Whoever knows the place turns it into a Fault."""

    def __init__(self, rule: str, message: str) -> None:
        self.rule = rule
        self.message = message
        super().__init__(f"{rule}: {message}")


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One fault or warning. ``line`` counts from 1; ``route_id`` is None where no route is concerned."""

    file: str
    line: int
    route_id: str | None
    rule: str
    message: str

    def __str__(self) -> str:
        route = f" route {self.route_id!r}:" if self.route_id is not None else ""
        return f"{self.file}:{self.line}:{route} {self.message} [{self.rule}]"


class RouteFileError(GatewayError):
    """A route file can't be used. ``faults`` holds all that is wrong with it, in the file's order."""

    code = "ROUTE_FILE"

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands that is not in the file: a property of a Config Server's source.

    ``line`` is that of the file in the server's repository, 0 if the server does not say.
    """

    source: str
    line: int
    name: str


class Faults:
    """Collects the faults and warnings of one file, and of what is laid over it.

    A negative line is no line of the file: ``-n`` stands for the n-th of ``places``.
    """

    def __init__(self, file: str, places: Sequence[Place] = ()) -> None:
        self.file = file
        self.places = places
        self.found: list[Fault] = []
        self.warned: list[Fault] = []

    def add(self, line: int, rule: str, message: str, route_id: str | None = None) -> None:
        self.found.append(Fault(self.file, line, route_id, rule, message))

    def broken(self, line: int, error: RuleViolation, route_id: str | None = None) -> None:
        self.add(line, error.rule, error.message, route_id)

    def warn(self, line: int, rule: str, message: str, route_id: str | None = None) -> None:
        """Note what is allowed but hardly meant. It goes into the table (``RouteTable.warnings``)."""
        self.warned.append(Fault(self.file, line, route_id, rule, message))

    def where(self, line: int) -> str:
        """The place in words, for a message about another one."""
        return f"line {line}" if line >= 0 else self.places[-line - 1].name

    def in_order(self) -> tuple[Fault, ...]:
        """All faults, those of the file first and by line, each once (an alias can show one in several places)."""
        return self._ordered(self.found)

    def warnings(self) -> tuple[Fault, ...]:
        """All warnings, in the same order."""
        return self._ordered(self.warned)

    def _ordered(self, faults: Iterable[Fault]) -> tuple[Fault, ...]:
        ordered = sorted(dict.fromkeys(faults), key=lambda fault: (fault.line < 0, abs(fault.line)))
        return tuple(map(self._placed, _with_lists_once(ordered)))

    def _placed(self, fault: Fault) -> Fault:
        if fault.line >= 0:
            return fault
        place = self.places[-fault.line - 1]
        message = f"{place.name}: {fault.message}"
        return Fault(place.source, place.line, fault.route_id, fault.rule, message)


def _with_lists_once(faults: Iterable[Fault]) -> Iterator[Fault]:
    """The same faults, each list of allowed names only with the first that has it."""
    seen: set[str] = set()
    for fault in faults:
        message, again = fault.message, _LIST.search(fault.message)
        if again is not None and again[0] in seen:
            message = message.replace(again[0], "")
        elif again is not None:
            seen.add(again[0])
        yield replace(fault, message=message)


def shown(faults: Sequence[Fault]) -> tuple[str, ...]:
    """Faults as texts for a log and for health: the first ones, none without end."""
    texts = tuple(_cut(str(fault)) for fault in faults[:MOST_SHOWN])
    more = len(faults) - len(texts)
    return (*texts, f"… and {more} more") if more else texts


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…"


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Return ``; the nearest is 'X'`` for a misspelt name, or nothing if none is near."""
    by_lower = {candidate.lower(): candidate for candidate in allowed}
    close = difflib.get_close_matches(name.strip().lower(), by_lower, n=1, cutoff=0.5)
    return f"; the nearest is {by_lower[close[0]]!r}" if close else ""


def unknown(kind: str, name: str, allowed: Iterable[str]) -> str:
    """Return the text about a name that is not among ``allowed``: the nearest one, and all there are."""
    names = list(allowed)
    return f"there is no {kind} {name!r}{nearest(name, names)}{there_are(names)}"


def there_are(names: Iterable[str]) -> str:
    """The end of a message that lists all allowed names. Of many faults only the first one keeps it."""
    return f" (there are: {', '.join(names)})"
