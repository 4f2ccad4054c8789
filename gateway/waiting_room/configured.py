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
    """Who gave each of ``rules``: ``file`` or ``environment``; without an entry the built-in default holds."""
    prequeue: Prequeue = field(default_factory=Prequeue)
    """What a pre-queue that this instance begins is like."""

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
