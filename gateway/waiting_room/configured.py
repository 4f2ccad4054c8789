"""What a room is configured with at an instance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gateway.waiting_room.rules import DEFAULTS, Prequeue, RoomRules


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
