"""What the stream package needs from other packages, and what it reports to them. The composition root connects
them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class UserState(Protocol):
    """A user's place in the room at one moment. All times are in seconds."""

    @property
    def kind(self) -> str:
        """Equal to ``REGISTERED``, ``WAITING``, ``ALLOWED_IN``, ``SOLD_OUT`` or ``NONE``."""

    @property
    def ticket(self) -> int | None: ...
    @property
    def position(self) -> int | None: ...
    @property
    def lane(self) -> str:
        """In which lane of the room the user waits or is registered; empty if the room has none."""

    @property
    def total(self) -> int: ...
    @property
    def behind(self) -> int: ...
    @property
    def estimated_wait(self) -> float | None: ...
    @property
    def wait_range(self) -> tuple[float, float] | None:
        """What half of such waits do not exceed, and nine in ten; None without an estimate."""

    @property
    def paused(self) -> bool:
        """Whether the room admits no one at the moment; then there is no estimate."""

    @property
    def notice(self) -> object | None:
        """What operators tell all users of the room; only the renderer looks into it."""

    @property
    def unlikely(self) -> bool:
        """Whether there will probably be nothing left to sell when the user's turn comes."""

    @property
    def expires_in(self) -> float: ...
    @property
    def claim_by(self) -> int:
        """Until when a user who is allowed in must claim the slot, in epoch milliseconds; 0: need not."""

    @property
    def opens_at(self) -> int:
        """When the room opens, in epoch milliseconds, for a registered user."""

    @property
    def server_time(self) -> int:
        """When the state was read, by the clock of ``opens_at``."""


class UserEvent(Protocol):
    """An event of a waiting user, on any instance."""

    @property
    def user(self) -> str: ...

    @property
    def ticket(self) -> int | None:
        """The ticket of the event. Without a ticket the event can't be assigned, and it is ignored."""

    @property
    def kind(self) -> str:
        """Equal to ``ADMITTED``, ``REMOVED`` or ``FRONT``: an operator has put the user in front of all others."""

    @property
    def reason(self) -> str | None:
        """Why the user was removed: equal to ``LEFT``, ``ABSENT``, ``UNCLAIMED``, ``SOLD_OUT``, ``OPERATOR`` or
        ``MOVED``."""

    @property
    def expires_in(self) -> float:
        """How many seconds the session of an admitted user lasts."""

    @property
    def claim_by(self) -> int:
        """Until when an admitted user must claim the slot, in epoch milliseconds; 0: need not."""


class States(Protocol):
    """Reads the room. Both methods raise ``QueueUnavailable`` when the room can't be read."""

    def status(self, user: str) -> asyncio.Future[Any]:
        """One ``UserState``. Many concurrent callers are expected to share a Redis call. Counts as a sign of
        presence."""

    async def statuses(self, users: Sequence[str]) -> Sequence[UserState]:
        """The states of at most 256 users, in the same order, in one call."""


class Presence(Protocol):
    """Is notified which waiting users have a stream here. No method may block."""

    def arrived(self, user: str) -> None:
        """The user's first stream on this instance has opened."""

    def departed(self, user: str) -> None:
        """The user's last stream on this instance has ended."""

    def counted(self, user: str, streams: int) -> None:
        """The user, who has streams on this instance, has so many now."""


class Renderer(Protocol):
    """Creates the data of events; this package decides how they are framed. One per room."""

    def status(self, state: UserState, languages: str, reason: str = "") -> str:
        """The status object of a user who waits or is registered, as JSON on one line. ``languages``: what the client
        asks for, as in ``Accept-Language``. ``reason``: why the user stands further back than before, if so."""

    def notice(self, languages: str) -> str:
        """What operators tell all users of the room now, as JSON on one line."""

    @property
    def personal(self) -> bool:
        """Whether ``allowed_in`` returns another object for each user, so that no two users can share a frame."""

    def allowed_in(
        self, expires_in: float, locale: str, user: str, ticket: int, claim_by: int = 0
    ) -> Mapping[str, object]:
        """``{"message", "room", "expiresInSeconds"}`` and, if there are, ``claimBy`` and the user's ``pass``.
        ``expires_in`` in seconds; ``ticket``: 0 if it is unknown; ``claim_by``: see ``UserState``."""

    def error(self, code: str, reason: str | None, locale: str) -> Mapping[str, object]:
        """``{"code", "message"}``, and ``reason`` if there is one."""


class StreamCounters(Protocol):
    """Counts for metrics, all rooms together."""

    def stream_opened(self) -> None:
        """A stream has joined."""

    def stream_closed(self) -> None:
        """A stream has left, for any reason."""

    def frames(self, count: int) -> None:
        """``count`` frames were written since the last call."""

    def slow_client_cut_off(self) -> None:
        """A stream was ended because its client had stopped reading."""
