"""Which calls need a place in which room, and what a room's limits are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.routing.calls import CallPattern
from gateway.routing.readings import readings_of

DEFAULT_ROOM: Final = "default"


@dataclass(frozen=True, slots=True)
class GateRule:
    """What a matching call means: a place in ``room`` is needed, or (``renews_only``) just renewed."""

    room: str
    renews_only: bool


@dataclass(frozen=True, slots=True)
class RoomLimits:
    """Limits of one room; None leaves the value of the settings. ``duration`` is in seconds."""

    capacity: int | None = None
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """One item of ``gates:``."""

    room: str
    calls: tuple[CallPattern, ...]
    renews: tuple[CallPattern, ...] = ()


class GateIndex:
    """All gates of a table, by method, what needs a place before what only renews one."""

    __slots__ = ("_any", "_by_method")

    def __init__(self, gates: Sequence[Gate]) -> None:
        rules = [(call, GateRule(gate.room, False)) for gate in gates for call in gate.calls]
        rules += [(call, GateRule(gate.room, True)) for gate in gates for call in gate.renews]
        methods = {call.method for call, _ in rules if call.method is not None}
        if methods & {"GET", "HEAD"}:
            methods |= {"GET", "HEAD"}
        self._by_method = {
            method: tuple(
                rule for rule in rules if rule[0].method is None or _same_method(rule[0].method, method)
            )
            for method in methods
        }
        self._any = tuple(rule for rule in rules if rule[0].method is None)

    def find(self, method: str, path: str, upstream_path: str) -> tuple[CallPattern, GateRule] | None:
        """The rule for a call, by the path it came with or the one it goes to the service with."""
        rules = self._by_method.get(method.upper(), self._any)
        if not rules:
            return None
        paths = [(path, readings_of(path))]
        if upstream_path != path:
            paths.append((upstream_path, readings_of(upstream_path)))
        # Of two gates, the one that names the very path, not one that only looks past a suffix.
        for call, rule in rules:
            if rule.renews_only:
                break
            if call.pattern.match(path) is not None or call.pattern.match(upstream_path) is not None:
                return call, rule
        for call, rule in rules:
            for each in paths:
                if call.covers(*each):
                    return call, rule
        return None


def _same_method(one: str, other: str) -> bool:
    return one == other or {one, other} == {"GET", "HEAD"}
