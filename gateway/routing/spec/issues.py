"""Errors and warnings of a route file, each with its place and a rule.

A file with an error does not take effect. A file with a warning does.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gateway.errors import GatewayError

MAX_SHOWN: Final = 20
MAX_SHOWN_CHARS: Final = 1000
"""In characters. An error may quote a value that is far longer."""
_LIST = re.compile(r" \(there are: [^()]*\)")


class RuleViolation(Exception):
    """A value of the route file breaks a rule. The caller that knows the place turns it into an Issue."""

    def __init__(self, rule: str, message: str) -> None:
        self.rule = rule
        self.message = message
        super().__init__(f"{rule}: {message}")


@dataclass(frozen=True, slots=True, order=True)
class Issue:
    """One error or warning. ``line`` counts from 1. ``route_id`` is None if it does not concern a route."""

    file: str
    line: int
    route_id: str | None
    rule: str
    message: str

    def __str__(self) -> str:
        route = f" route {self.route_id!r}:" if self.route_id is not None else ""
        return f"{self.file}:{self.line}:{route} {self.message} [{self.rule}]"


class RouteFileError(GatewayError):
    """A route file can't be used. ``issues`` holds all its errors, in the file's order."""

    code = "ROUTE_FILE"

    def __init__(self, issues: Sequence[Issue]) -> None:
        self.issues = tuple(issues)
        super().__init__("\n".join(map(str, self.issues)))


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a value that is not in the route file but in a Config Server's property source.

    ``line`` is the line in the file of the server's repository, 0 if the server does not say.
    """

    source: str
    line: int
    name: str


class Issues:
    """Collects the errors and warnings of one file and of the properties laid over it.

    A negative line is no line of the file: ``-n`` means the n-th of ``places``.
    """

    def __init__(self, file: str, places: Sequence[Place] = ()) -> None:
        self.file = file
        self.places = places
        self.errors: list[Issue] = []
        self.warned: list[Issue] = []

    def add(self, line: int, rule: str, message: str, route_id: str | None = None) -> None:
        self.errors.append(Issue(self.file, line, route_id, rule, message))

    def add_violation(self, line: int, error: RuleViolation, route_id: str | None = None) -> None:
        self.add(line, error.rule, error.message, route_id)

    def warn(self, line: int, rule: str, message: str, route_id: str | None = None) -> None:
        """Add a warning about something that is allowed but probably not intended (see ``RouteTable.warnings``)."""
        self.warned.append(Issue(self.file, line, route_id, rule, message))

    def where(self, line: int) -> str:
        """The place in words, for a message that refers to it."""
        return f"line {line}" if line >= 0 else self.places[-line - 1].name

    def sorted_errors(self) -> tuple[Issue, ...]:
        """All errors by line, those of the file first. Each once, because an alias can repeat one in several places."""
        return self._ordered(self.errors)

    def warnings(self) -> tuple[Issue, ...]:
        """All warnings, in the same order."""
        return self._ordered(self.warned)

    def _ordered(self, issues: Iterable[Issue]) -> tuple[Issue, ...]:
        ordered = sorted(dict.fromkeys(issues), key=lambda issue: (issue.line < 0, abs(issue.line)))
        return tuple(map(self._with_place, _with_lists_once(ordered)))

    def _with_place(self, issue: Issue) -> Issue:
        if issue.line >= 0:
            return issue
        place = self.places[-issue.line - 1]
        message = f"{place.name}: {issue.message}"
        return Issue(place.source, place.line, issue.route_id, issue.rule, message)


def _with_lists_once(issues: Iterable[Issue]) -> Iterator[Issue]:
    """The same errors. Only the first of those with the same list of allowed names keeps the list."""
    seen: set[str] = set()
    for issue in issues:
        message, again = issue.message, _LIST.search(issue.message)
        if again is not None and again[0] in seen:
            message = message.replace(again[0], "")
        elif again is not None:
            seen.add(again[0])
        yield replace(issue, message=message)


def summarize(issues: Sequence[Issue]) -> tuple[str, ...]:
    """Errors as texts for the log and for health: only the first ones, each of limited length."""
    texts = tuple(_truncated(str(issue)) for issue in issues[:MAX_SHOWN])
    more = len(issues) - len(texts)
    return (*texts, f"… and {more} more") if more else texts


def _truncated(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[: MAX_SHOWN_CHARS - 1]}…"


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Return ``; the nearest is 'X'`` for a misspelled name, or "" if no allowed name is similar."""
    by_lower = {candidate.lower(): candidate for candidate in allowed}
    close = difflib.get_close_matches(name.strip().lower(), by_lower, n=1, cutoff=0.5)
    return f"; the nearest is {by_lower[close[0]]!r}" if close else ""


def unknown(kind: str, name: str, allowed: Iterable[str]) -> str:
    """Return the message about a name that is not among ``allowed``: the nearest one, and a list of all."""
    names = list(allowed)
    return f"there is no {kind} {name!r}{nearest(name, names)}{list_of_names(names)}"


def list_of_names(names: Iterable[str]) -> str:
    """The end of a message, which lists all allowed names. Only the first of several errors keeps the list."""
    return f" (there are: {', '.join(names)})"
