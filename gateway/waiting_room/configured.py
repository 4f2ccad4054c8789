"""What a room is configured with at an instance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gateway.waiting_room.rules import DEFAULTS, RULE_NAMES, Prequeue, RoomRules, Value, parse_rules


@dataclass(frozen=True, slots=True)
class ConfiguredLimits:
    """What a room is configured with: slots, the length of a session in seconds, and its other settings."""

    capacity: int
    duration: float
    rules: RoomRules = DEFAULTS
    sources: Mapping[str, str] = field(default_factory=dict)
    """Who gave capacity, duration and each of ``rules``: ``file`` or ``environment``; without an entry the built-in
    default holds."""
    prequeue: Prequeue = field(default_factory=Prequeue)
    """What a pre-queue that this instance begins is like."""

    def limits_in_force(
        self,
        capacity: bytes | None,
        duration_ms: bytes | None,
        override: bytes | None,
        excepted: bytes | None,
    ) -> dict[str, tuple[Value, str]]:
        """Capacity, and duration in seconds: the value in force, and who gave it, as ``in_force`` says. The arguments
        are fields of ``settings``, as Redis has them; ``includes/rules.lua`` says what the last two mean."""

        def source(name: str, field: bytes) -> str:
            stands = override == b"1" and excepted != field
            return "operator" if stands else self.sources.get(name, "default")

        def number(stored: bytes | None, otherwise: int) -> int:
            return int(stored) if stored is not None and stored.isdigit() else otherwise

        return {
            "capacity": (number(capacity, self.capacity), source("capacity", b"capacity")),
            "duration": (
                number(duration_ms, round(self.duration * 1000)) / 1000,
                source("duration", b"duration_ms"),
            ),
        }

    def in_force(self, rules: bytes | None, operator_rules: bytes | None) -> dict[str, tuple[Value, str]]:
        """Each setting of ``RoomRules``: the value in force, and who gave it (``operator``, ``file``, ``environment``,
        ``default``). ``rules`` and ``operator_rules``: as Redis has them."""
        own = self.rules.as_text() if rules is None else rules.decode("utf-8", "replace")
        values, operators = parse_rules(own), parse_rules((operator_rules or b"").decode("utf-8", "replace"))
        return {
            name: (
                values.get(name, getattr(DEFAULTS, name)),
                "operator" if name in operators else self.sources.get(name, "default"),
            )
            for name in RULE_NAMES
        }


@dataclass(frozen=True, slots=True)
class RoomPolicy:
    """Settings that hold for every room of this gateway.

    A lineup is answered once ``wait_replicas`` replicas have received it. ``follow``: whether an older system with the
    same three keys is followed: always, never, or while there are signs of it. It counts as running for
    ``follow_seconds`` after its last sign.
    """

    wait_replicas: int = 0
    follow: Literal["auto", "on", "off"] = "off"
    follow_seconds: float = 60.0
