"""Gates: which calls need a place in which room, and the limits of a room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from gateway.pages.waiting_page.page import WaitingPage
from gateway.pages.waiting_page.theme import Theme
from gateway.routing import matcher
from gateway.routing.callers import Bypass, ClaimRule, Lane
from gateway.routing.calls import CallPattern
from gateway.routing.path_readings import readings_of
from gateway.routing.prefix_index import index_of_exact, index_of_wide
from gateway.routing.room_templates import RoomTemplate, template_of

DEFAULT_ROOM: Final = "default"
_MICROSECONDS: Final = 0.5
"""The time to compare a path with one rule, without its wildcards."""
_MAX_SCANNED: Final = 6
"""Up to so many rules are compared one by one, which is faster than an index."""


@dataclass(frozen=True, slots=True)
class GateRule:
    """What applies to a matching call: it needs a place in ``room``, or (``renews_only``) only renews one. A WebSocket
    that the gate has let in ends with the session, unless it ``outlives`` it. With a ``template``, the call says which
    room it is."""

    room: str
    renews_only: bool
    outlives: bool = False
    template: RoomTemplate | None = None

    def of_call(self, call: CallPattern, paths: Sequence[str], raw_query: str) -> GateRule:
        """The rule with the room of the request, see ``RoomTemplate.fill``."""
        if self.template is None:
            return self
        return GateRule(self.template.fill(call, paths, raw_query), self.renews_only, self.outlives)


@dataclass(frozen=True, slots=True)
class Challenge:
    """An outside service that decides whether a visitor may have a place. ``timeout`` is in seconds; ``fail_open``: the
    visitor may have one if the service does not answer in time."""

    url: str
    timeout: float = 2.0
    fail_open: bool = True


@dataclass(frozen=True, slots=True)
class Prequeue:
    """How a room gathers users before it opens: so many seconds before, and in which order they are put in line.
    ``beacon``: the name of the public random value that a draw waits for; empty for none."""

    seconds: float
    order: Literal["draw", "arrival"] = "arrival"
    beacon: str = ""


@dataclass(frozen=True, slots=True)
class RoomPage:
    """The page that browsers get while they wait. ``status`` stands for the 429 of a waiting user, and for the 403 of a
    user without a place. ``login``: a path where users without a token are sent; empty for none."""

    page: WaitingPage = field(compare=False)
    theme: Theme
    status: int = 503
    login: str = ""
    line: int = field(default=1, compare=False)
    """Where the route file has it."""


@dataclass(frozen=True, slots=True)
class RoomLimits:
    """Settings of one room. None: the value in the settings applies. Times are in seconds."""

    capacity: int | None = None
    duration: float | None = None
    absent: float | None = None
    hold: float | None = None
    max_session: float | None = None
    claim: float | None = None
    rate: str | None = None
    """As ``120/m``, or ``off``."""
    history: float | None = None
    relineup: str | None = None
    lineup: str | None = None
    max_waiting: int | None = None
    lineups_per_minute: int | None = None
    mode: str | None = None
    opens_at: float | None = None
    closes_at: float | None = None
    """Moments in epoch seconds; 0: none."""
    prequeue: Prequeue | None = None
    identity: Literal["token", "visitor", "either"] | None = None
    """Who may have a place: users with a token, visitors, or both. None: users with a token."""
    lanes: tuple[Lane, ...] = ()
    """Lines of their own, beside that of all others."""
    bypass: tuple[Bypass, ...] = ()
    """Who passes the gate without a place."""
    eligible: ClaimRule | None = None
    """Who may line up; None: everyone."""
    places_per_address: int | None = None
    """How many visitors at one address may have a place at a time; 0 and None: no bound."""
    challenge: Challenge | None = None
    """The service that is asked before a visitor gets a place."""
    page: RoomPage | None = None
    """What browsers get while they wait; None: what all clients get."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One item of ``gates:``. ``room`` is a name or a template."""

    room: str
    calls: tuple[CallPattern, ...]
    renews: tuple[CallPattern, ...] = ()
    outlives: bool = False
    """Whether WebSockets outlive the session that let them in."""


Found = tuple[CallPattern, GateRule]


class GateIndex:
    """All gates of a table, by method. Rules that need a place come before rules that only renew one."""

    __slots__ = ("_any", "_by_method")

    def __init__(self, gates: Sequence[Gate]) -> None:
        rules = [(call, _rule(gate, renews_only=False)) for gate in gates for call in gate.calls]
        rules += [(call, _rule(gate, renews_only=True)) for gate in gates for call in gate.renews]
        methods = {call.method for call, _ in rules if call.method is not None}
        if methods & {"GET", "HEAD"}:
            methods |= {"GET", "HEAD"}
        self._by_method = {
            method: _Rules(
                [rule for rule in rules if rule[0].method is None or _same_method(rule[0].method, method)]
            )
            for method in methods
        }
        self._any = _Rules([rule for rule in rules if rule[0].method is None])

    def find(self, method: str, path: str, upstream_path: str) -> Found | None:
        """The rule for a call, by the path that the client sent or the one that the service gets."""
        rules = self._by_method.get(method.upper(), self._any)
        if not rules:
            return None
        return rules.find((path,) if upstream_path == path else (path, upstream_path))


def _rule(gate: Gate, *, renews_only: bool) -> GateRule:
    return GateRule(gate.room, renews_only, gate.outlives and not renews_only, template_of(gate.room))


class _Rules:
    """The rules for calls of one method, in their order."""

    __slots__ = ("_all", "_exact", "_needing", "_rules", "_wide")

    def __init__(self, rules: Sequence[Found]) -> None:
        self._rules = rules
        self._needing = sum(not rule.renews_only for _, rule in rules)
        self._all = range(len(rules)) if len(rules) <= _MAX_SCANNED else None
        self._exact = index_of_exact(call.pattern for call, _ in rules)
        self._wide = index_of_wide(call.wide for call, _ in rules)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def find(self, paths: Sequence[str]) -> Found | None:
        exact, exact_path = self._first_exact(paths)
        if exact < self._needing and (exact == 0 or self._rules[exact][0].pattern.literal is not None):
            return self._rules[exact]
        likely, likely_path, wide = self._first_wide(paths, exact)
        if exact < self._needing:
            # A gate that names the exact path wins over an earlier one that matches it only without its suffix. A
            # wildcard does not name a path: a place for /events/*/seats is none for /events/7/seats spelled /events/07.
            same_path = exact_path if exact_path == likely_path else None
            named = likely >= exact or _is_named(self._rules[exact][0], self._rules[likely][0], same_path)
            return self._rules[exact if named else likely]
        first = min(exact, likely)
        if first >= self._needing and (wide < self._needing or first == len(self._rules)):
            first = wide
        return self._rules[first] if first < len(self._rules) else None

    def _first_exact(self, paths: Sequence[str]) -> tuple[int, str]:
        """The first rule that matches one of the paths as it is, and that path. This search is needed because a regex
        such as [^a-z]+ in a variable may match a path and not its folded form."""
        best, of = len(self._rules), ""
        for path in paths:
            ranks = self._all or self._exact.candidates(tuple(path.split("/")[1:]))
            if len(ranks) > _MAX_SCANNED:
                matcher.spend(len(ranks) * _MICROSECONDS)
            for rank in ranks:
                if rank >= best:
                    break
                if self._rules[rank][0].pattern.match(path) is not None:
                    best, of = rank, path
                    break
        return best, of

    def _first_wide(self, paths: Sequence[str], exact: int) -> tuple[int, str, int]:
        """Among the rules before ``exact``: the first one that one of the paths is likely another spelling of, that
        path, and the first rule that a path could be another spelling of at all."""
        likely, wide = exact, len(self._rules)
        of = ""
        for path in paths:
            for reading in readings_of(path):
                ranks = self._all or self._wide.candidates(reading)
                if len(ranks) > _MAX_SCANNED:
                    matcher.spend(len(ranks) * _MICROSECONDS)
                for rank in ranks:
                    if rank >= likely:
                        break
                    pattern = self._rules[rank][0].wide
                    if not pattern.matches(reading):
                        continue
                    wide = min(wide, rank)
                    if not pattern.constrained or pattern.is_likely(reading):
                        likely, of = rank, path
                        break
        return likely, of, wide


def _is_named(exact: CallPattern, other: CallPattern, path: str | None) -> bool:
    """Whether ``exact`` names the segment of ``path`` that ``other`` matches only in another spelling. ``path`` is None
    if the two rules match different paths."""
    mine, its = exact.pattern, other.pattern
    if path is None or mine.head is not None or its.head is not None:
        return False
    for one, another, value in zip(mine.segments, its.segments, path.split("/")[1:], strict=False):
        if not another.match(value, {}):
            return one.literal is not None or one.constrained
    return False


def _same_method(one: str, other: str) -> bool:
    return one == other or {one, other} == {"GET", "HEAD"}
