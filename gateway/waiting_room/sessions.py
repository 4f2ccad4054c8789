"""Notices when sessions end, on behalf of connections that outlast the call by which they were opened."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final

from gateway.background import background_task
from gateway.errors import QueueFailed, QueueUnavailable, RoomNotFound
from gateway.settings.redis_address import Node
from gateway.waiting_room.batch import MAX_BATCH
from gateway.waiting_room.rooms import Rooms

log = logging.getLogger(__name__)

_ELSEWHERE: Final = "?"
"""Stands for a session that another system began: it has no moment of its own until the gateway gives it one."""
PERIOD_SECONDS = 1.0
"""How often the sessions are looked at. The sweep ends them with the same period."""


class _Watched:
    """One connection. ``began`` identifies the session that let it in; empty until it has been read."""

    __slots__ = ("began", "on_end", "room", "user")

    def __init__(self, room: str, user: str, on_end: Callable[[], None]) -> None:
        self.room = room
        self.user = user
        self.on_end = on_end
        self.began = ""


class SessionWatch:
    """Calls ``on_end`` of each watched connection once the session that let it in is over, for whatever reason: expiry,
    leaving, removal, a move, or the absolute end. Works inside ``running()``.

    One call a second and room for each 256 users; none while nothing is watched. While Redis is away nothing ends. A
    room that lets everyone pass (``off``, ``observe``) ends nothing either.
    """

    def __init__(self, rooms: Rooms, *, period: float = PERIOD_SECONDS) -> None:
        self._rooms = rooms
        self._period = period
        self._watched: set[_Watched] = set()
        self._new: set[_Watched] = set()
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._watched)

    def watch(self, room: str, user: str, on_end: Callable[[], None]) -> Callable[[], None]:
        """From now on the session of ``user`` is watched. Call what this returns when the connection has ended."""
        watched = _Watched(room, user, on_end)
        self._watched.add(watched)
        self._new.add(watched)
        self._wake.set()

        def forget() -> None:
            self._watched.discard(watched)
            self._new.discard(watched)

        return forget

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watches until the block ends."""
        async with background_task(self._keep(), "session watch"):
            yield

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        next_round = loop.time()
        while True:
            # Nothing is due while nothing is watched. A new connection is read at once, so that the session that let it
            # in is the one that is watched.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(next_round if self._watched else None):
                    await self._wake.wait()
            self._wake.clear()
            due: Iterable[_Watched] = tuple(self._new)
            self._new.clear()
            if loop.time() >= next_round:
                next_round = loop.time() + self._period
                due = tuple(self._watched)
            try:
                await self._look(due)
            except Exception:
                log.exception("sessions could not be watched")

    async def _look(self, due: Iterable[_Watched]) -> None:
        by_room: dict[str, dict[str, list[_Watched]]] = {}
        for watched in due:
            by_room.setdefault(watched.room, {}).setdefault(watched.user, []).append(watched)
        # The sessions of a server's other rooms are looked at in the next round.
        away = set[Node]()
        for name, of_room in by_room.items():
            server: Node | None = None
            try:
                room = await self._rooms.find(name)
                server = room.server
                if server in away:
                    continue
                for users in _slices(list(of_room)):
                    began = await room.sessions(users)
                    if room.mode == "on":
                        for user, session in zip(users, began, strict=True):
                            self._judge(of_room[user], session)
            except (QueueUnavailable, QueueFailed, RoomNotFound) as error:
                log.debug("sessions of room %s: %s", name, error)
                if server is not None and isinstance(error, QueueUnavailable):
                    away.add(server)

    def _judge(self, connections: Iterable[_Watched], session: str) -> None:
        for watched in connections:
            if watched not in self._watched:
                continue
            if session and watched.began in ("", _ELSEWHERE, session):
                watched.began = session
            else:
                self._watched.discard(watched)
                watched.on_end()


def _slices(users: list[str]) -> Iterable[list[str]]:
    return (users[at : at + MAX_BATCH] for at in range(0, len(users), MAX_BATCH))
