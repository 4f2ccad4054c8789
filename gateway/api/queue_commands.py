"""Carries out what services ask of the waiting room: see ``proxy.queue_commands``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from aiohttp import web

from gateway.context import RequestContext
from gateway.errors import QueueError, QueueUnavailable
from gateway.observability.metrics import Metrics
from gateway.proxy.queue_commands import QueueCommands
from gateway.waiting_room.batch import Outcome
from gateway.waiting_room.room import Room
from gateway.waiting_room.rooms import Rooms
from gateway.waiting_room.state import Left

log = logging.getLogger(__name__)


class ServiceCommands:
    """The commands of services about the rooms of gated calls. Those of other calls are dropped and counted."""

    def __init__(self, rooms: Rooms, metrics: Metrics) -> None:
        self._rooms = rooms
        self._metrics = metrics

    def carry_out(self, context: RequestContext, commands: QueueCommands, then: Callable[[], None]) -> None:
        """Carries out what the answer to a call asks, and calls ``then`` once a session that it ends has ended, or if
        Redis is away. ``then`` is called at once if there is nothing to wait for."""
        if context.room is None:
            self._metrics.queue_commands_dropped(commands.headers)
            then()
            return
        if commands.unusable:
            self._metrics.queue_commands_dropped(commands.unusable)
        room = self._rooms.get(context.room)
        if room is None:
            # No call has made the room, or it was forgotten: there is no session to end.
            then()
            return
        if commands.stock is not None:
            room.stock.say(commands.stock)
        member = context.member
        if not commands.leave or member is None:
            then()
            return
        ended: Outcome[Left] = Outcome(lambda: _on_end(room, ended, then))
        try:
            room.end_session(member, ended)
        except QueueUnavailable as error:
            _note_failure(room, error)
            then()

    def wait(self, context: RequestContext, commands: QueueCommands) -> asyncio.Future[None]:
        """``carry_out`` for a caller that awaits the end. If the caller stops waiting, the session ends all the
        same."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.carry_out(context, commands, partial(_finish, done))
        return done


SERVICE_COMMANDS: Final[web.AppKey[ServiceCommands]] = web.AppKey("service_commands", ServiceCommands)


def _finish(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


def _on_end(room: Room, ended: Outcome[Left], then: Callable[[], None]) -> None:
    try:
        ended.result()
    except QueueError as error:
        _note_failure(room, error)
    then()


def _note_failure(room: Room, error: QueueError) -> None:
    """The session goes on, and ends like any other."""
    log.debug("room %s: a session that a service ends goes on: %s", room.name, error)
