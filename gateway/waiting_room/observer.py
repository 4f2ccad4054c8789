"""What a room reports to the code that counts and measures."""

from __future__ import annotations

from typing import Protocol

from gateway.waiting_room.state import Summary


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
