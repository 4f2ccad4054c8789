"""What a room is configured with, and who hears of what happens in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from gateway.waiting_room.rules import DEFAULTS, RoomRules
from gateway.waiting_room.state import Summary


@dataclass(frozen=True, slots=True)
class ConfiguredLimits:
    """What a room is configured with: slots, the length of a session in seconds, and its other settings."""

    capacity: int
    duration: float
    rules: RoomRules = DEFAULTS
    sources: Mapping[str, str] = field(default_factory=dict)
    """Who gave each of ``rules``: ``file`` or ``environment``; without an entry the built-in default holds."""


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


class RoomObserver(Protocol):
    """Receives what happens in rooms."""

    def on_call(self, script: str, seconds: float, size: int, failed: bool, /) -> None:
        """A script was called for ``size`` users and took ``seconds``."""

    def on_summary(self, room: str, summary: Summary, /) -> None:
        """The room's numbers after a call, and what the call did."""


class NoObserver:
    """Ignores everything."""

    def on_call(self, script: str, seconds: float, size: int, failed: bool, /) -> None:
        """Ignored."""

    def on_summary(self, room: str, summary: Summary, /) -> None:
        """Ignored."""
