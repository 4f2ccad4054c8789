"""One room that calls have made, such as ``concert-17``, and what holds for one that no call has made yet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from enum import IntEnum
from typing import Any, Final

from gateway.errors import NoSuchRoom
from gateway.waiting_room.configured import ConfiguredLimits
from gateway.waiting_room.history import HistoryEntry
from gateway.waiting_room.invitation import Invitation
from gateway.waiting_room.presence import DEAD_SECONDS
from gateway.waiting_room.redis.connection import Replication
from gateway.waiting_room.redis.wire import Argument
from gateway.waiting_room.room import Question, Room, What
from gateway.waiting_room.rules import Mode
from gateway.waiting_room.state import Left, State, StateKind, parse_summary

MAKE_SECONDS: Final = 30.0
"""A room is made within this time after it was entered in the directory, or has to be entered again."""

_MAKING: Final = frozenset({"arrive", "lineup", "limits", "doors", "note", "notice"})
"""The scripts that make a room which is not there: a lineup, and what operators do."""


class Use(IntEnum):
    """What a look at a room finds; ``forget.lua`` has the same codes."""

    USED = 0
    KEPT = 1
    IDLE = 2
    FORGOTTEN = 3


class NamedRoom(Room):
    """A room that may have been forgotten: then a lineup makes it again, and all other calls find nobody in it.

    ``enter_again`` is set by the owner: it enters the room in the directory and returns the moment.
    """

    _retires = True
    enter_again: Callable[[], Awaitable[int]]
    used_at = 0.0
    """When a call last looked for the room, by the clock of the event loop."""

    @property
    def has_work(self) -> bool:
        """Whether there may be users in the room, or streams here."""
        return self.people != 0 or self.presence.streams_here > 0

    async def create(self, entered: int) -> None:
        """Makes the room in Redis if it is not there. ``entered``: when it was entered in the directory, in epoch
        milliseconds. Raises NoSuchRoom if that is too long ago."""
        arguments = (
            *self._room_arguments,
            *self._follow_arguments(),
            1,
            entered + round(MAKE_SECONDS * 1000),
        )
        keys = (*self.keys.common, self.keys.watch)
        reply = await self._lanes.run(self._link("presence"), self._scripts["configure"], keys, arguments)
        self._configured = self._started = True
        self._note_summary(parse_summary(reply[0]))

    async def look(self, idle: float) -> tuple[Use, float]:
        """What the room is used for, and in how many seconds to look again if it is idle. If nobody was in it for
        ``idle`` seconds, it is deleted. Raises NoSuchRoom and QueueUnavailable."""
        keys = (*self.keys.common, self.keys.instances, self.keys.drawn, *self.keys.others)
        arguments = (*self._arguments(), round(idle * 1000), round(DEAD_SECONDS * 1000))
        code, wait = await self._lanes.run(self._link("forget"), self._scripts["forget"], keys, arguments)
        return Use(code), wait / 1000

    def _arguments(self) -> tuple[Argument, ...]:
        channel, _, *others = self._room_arguments
        return (channel, f"+{self.limits.capacity}", *others)

    async def _run(
        self,
        script: str,
        *args: Argument,
        size: int = 1,
        link: str | None = None,
        extra_keys: Sequence[str] = (),
        replication: Replication | None = None,
    ) -> list[Any]:
        async def run() -> list[Any]:
            return await super(NamedRoom, self)._run(
                script, *args, size=size, link=link, extra_keys=extra_keys, replication=replication
            )

        try:
            return await run()
        except NoSuchRoom:
            self.people = 0
            if script not in _MAKING:
                raise
        await self.create(await self.enter_again())
        return await run()

    async def _states(
        self,
        script: str,
        users: Sequence[str],
        *options: Argument,
        arguments: Sequence[Argument] | None = None,
        link: str | None = None,
        extra_keys: Sequence[str] = (),
        replication: Replication | None = None,
    ) -> list[State]:
        try:
            return await super()._states(
                script,
                users,
                *options,
                arguments=arguments,
                link=link,
                extra_keys=extra_keys,
                replication=replication,
            )
        except NoSuchRoom:
            return [nobody(self.name)] * len(users)

    async def sessions(self, users: Sequence[str]) -> list[str]:
        """See ``Room.sessions``. A session ends with the room."""
        try:
            return await super().sessions(users)
        except NoSuchRoom:
            return [""] * len(users)

    async def _send_leave(self, pairs: list[tuple[What, str]]) -> list[Left]:
        try:
            return await super()._send_leave(pairs)
        except NoSuchRoom:
            return [Left.NOTHING] * len(pairs)


def nobody(room: str) -> State:
    """The state of every user in a room that does not exist."""
    return State(room, StateKind.NONE, 0, 0, 0, 0.0, None)


class UnmadeRoom:
    """A room that calls may make, and none has made: nobody is in it. ``limits``: what it would be configured with."""

    def __init__(self, name: str, limits: ConfiguredLimits, mode: Mode) -> None:
        self.name = name
        self.limits = limits
        self.mode = mode
        self.server = None
        """See ``Room.server``: there is nothing to ask."""

    @property
    def off(self) -> bool:
        """Whether everyone is let in."""
        return self.mode == "off"

    def ask(
        self,
        question: Question,
        user: str,
        invitation: Invitation | None = None,
        *,
        lines_up: bool = False,
    ) -> asyncio.Future[State]:
        """See ``Room.ask``. A lineup asks the room itself, once it is made."""
        answer: asyncio.Future[State] = asyncio.get_running_loop().create_future()
        let_in = State(self.name, StateKind.ALLOWED_IN, 0, 0, 0, self.limits.duration, None)
        answer.set_result(let_in if self.off else nobody(self.name))
        return answer

    def status(self, user: str) -> asyncio.Future[State]:
        """See ``Room.status``."""
        return self.ask("status", user)

    def enter(self, user: str) -> asyncio.Future[State]:
        """See ``Room.enter``."""
        return self.ask("enter", user)

    async def leave(self, user: str, what: What) -> Left:
        """See ``Room.leave``."""
        return Left.NOTHING

    async def history(self, user: str) -> list[HistoryEntry]:
        """See ``Room.history``."""
        return []

    async def sessions(self, users: Sequence[str]) -> list[str]:
        """See ``Room.sessions``."""
        return [""] * len(users)
