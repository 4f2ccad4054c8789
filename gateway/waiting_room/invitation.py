"""The part of an invitation that a room needs to know."""

from __future__ import annotations

from typing import Protocol


class Invitation(Protocol):
    """With what a user lines up who is not eligible."""

    @property
    def id(self) -> str: ...
    @property
    def uses(self) -> int:
        """How often it may be used; 0: the user has none, and only keeps a place."""

    @property
    def expires_at(self) -> int:
        """In epoch milliseconds."""
