"""What the stream needs from others, and what it is told. The composition root brings both together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class UserState(Protocol):
    """A user's place in the room at one moment. All times are in seconds."""

    @property
    def kind(self) -> str:
        """Equal to ``WAITING``, ``ALLOWED_IN`` or ``NONE``."""

    @property
    def ticket(self) -> int | None: ...
    @property
    def position(self) -> int | None: ...
    @property
    def total(self) -> int: ...
    @property
    def behind(self) -> int: ...
    @property
    def estimated_wait(self) -> float | None: ...
    @property
    def paused(self) -> bool:
        """The room admits no one at the moment; then there is no estimate."""

    @property
    def expires_in(self) -> float: ...


class RoomEvent(Protocol):
    """Something that happened to a waiting user, on whichever instance."""

    @property
    def user(self) -> str: ...

    @property
    def ticket(self) -> int | None:
        """The ticket it is about. Without one nobody can tell whom it concerns, and it is ignored."""

    @property
    def kind(self) -> str:
        """Equal to ``ADMITTED`` or ``REMOVED``."""

    @property
    def reason(self) -> str | None:
        """Why somebody was removed: equal to ``LEFT``, ``ABSENT`` or ``OPERATOR``."""

    @property
    def expires_in(self) -> float:
        """Seconds the session of somebody admitted lasts."""


class States(Protocol):
    """Reads the room. Both raise ``QueueUnavailable`` when it can't be asked."""

    def status(self, user: str) -> asyncio.Future[Any]:
        """One ``UserState``. Many callers at once are expected to share a call; counts as a sighting."""

    async def statuses(self, users: Sequence[str]) -> Sequence[UserState]:
        """The states of at most 256 users, in the same order, in one call."""


class Presence(Protocol):
    """Is told which waiting users have a stream here. Neither may block."""

    def arrived(self, user: str) -> None:
        """The user's first stream on this instance has opened."""

    def departed(self, user: str) -> None:
        """The user's last stream on this instance has ended."""


class Renderer(Protocol):
    """Makes the data of events; how they are framed is decided here. One per room."""

    def status(self, state: UserState) -> str:
        """The status object of somebody waiting, as JSON on one line."""

    def allowed_in(self, expires_in: float, locale: str) -> Mapping[str, object]:
        """``{"message", "room", "expiresInSeconds"}``; ``expires_in`` in seconds."""

    def error(self, code: str, reason: str | None, locale: str) -> Mapping[str, object]:
        """``{"code", "message"}``, and ``reason`` where there is one."""


class Counts(Protocol):
    """Is told what to count, all rooms together."""

    def stream_opened(self) -> None:
        """A stream has joined."""

    def stream_closed(self) -> None:
        """A stream has left, for whatever reason."""

    def frames(self, count: int) -> None:
        """So many frames were written since the last time."""

    def reader_cut_off(self) -> None:
        """A stream was ended because its reader had stopped reading."""
