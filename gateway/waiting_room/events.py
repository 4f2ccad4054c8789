"""What the scripts publish, received by one task for all rooms and all streams of this instance."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import re
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, Literal, NamedTuple

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from gateway.waiting_room.redis.connection import Redis
from gateway.waiting_room.redis.wire import ask, describe

log = logging.getLogger(__name__)

PING_SECONDS = 5.0
"""A silent connection is asked so often whether it lives; one that has not answered by the next time is given up."""

QUIET_SECONDS = 5.0
"""For so long a lost connection for events is no line in the log."""

Reason = Literal["LEFT", "ABSENT", "OPERATOR"]

_KINDS: Final[dict[str, tuple[Literal["ADMITTED", "REMOVED"], Reason | None]]] = {
    "ADMITTED": ("ADMITTED", None),
    "LEFT": ("REMOVED", "LEFT"),
    "ABSENT": ("REMOVED", "ABSENT"),
    "OPERATOR": ("REMOVED", "OPERATOR"),
}

_TICKET: Final = re.compile("[0-9]{1,16}")


class RoomEvent(NamedTuple):
    """Something happened to one user. ``ticket`` tells which stay in line it is about."""

    room: str
    user: str
    ticket: int
    kind: Literal["ADMITTED", "REMOVED"]
    reason: Reason | None
    """Why they were removed."""
    expires_in: float
    """Length in seconds of the session that begins, if admitted."""


def parse_event(room: str, payload: bytes) -> list[RoomEvent]:
    """The events of one message, in the order in which they happened. Raises ValueError for anything else."""
    try:
        # User ids are opaque: bytes that are no UTF-8 must not cost the others their news.
        message = json.loads(payload.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError) as error:
        raise ValueError("not an event: no JSON") from error
    if not isinstance(message, dict):
        raise ValueError("not an event: no object")
    event, expires_ms, people = (message.get(name) for name in ("event", "expires_ms", "people"))
    if not isinstance(event, str) or event not in _KINDS:
        raise ValueError("not an event: of no known kind")
    if not isinstance(expires_ms, int | float):
        raise ValueError("not an event: expires_ms is no number")
    if not isinstance(people, list) or not all(map(_is_person, people)):
        raise ValueError("not an event: people are not pairs of user and ticket")
    kind, reason = _KINDS[event]
    return [RoomEvent(room, user, int(ticket), kind, reason, expires_ms / 1000) for user, ticket in people]


def _is_person(entry: object) -> bool:
    return (
        isinstance(entry, list)
        and len(entry) == 2
        and isinstance(entry[0], str)
        and isinstance(entry[1], str)
        and _TICKET.fullmatch(entry[1]) is not None
    )


class Subscription:
    """Listens to every room whose events have names like ``channel_of("<room>")``.

    ``on_events`` is called with each message's events, and must not wait. ``on_restored`` is called whenever the
    connection is (again) listening: what was published before is lost, so whoever has streams must look for themselves.
    ``ping`` in seconds, as ``PING_SECONDS``.
    Redis may be away at the start and come and go.
    """

    def __init__(
        self,
        redis: Redis,
        channel_of: Callable[[str], str],
        on_events: Callable[[Sequence[RoomEvent]], None],
        on_restored: Callable[[], None],
        *,
        ping: float = PING_SECONDS,
    ) -> None:
        self._redis = redis
        self._ping = ping
        self._on_events = on_events
        self._on_restored = on_restored
        # On a cluster every node hears what any of them publishes; the one with the rooms hears it first.
        self._near = channel_of("")
        before, after = channel_of("\0").split("\0")
        self._pattern = _escape(before) + "*" + _escape(after)
        self._room = re.compile(re.escape(before) + "(.*)" + re.escape(after), re.DOTALL)
        self.listening = asyncio.Event()
        """Set while the connection is up and subscribed."""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listens for as long as it lasts."""
        task = asyncio.create_task(self._keep(), name="room events")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        delay = 0.1
        lost_at, told = loop.time(), False
        while True:
            why = ""
            try:
                await self._listen()
            except (RedisError, OSError, TimeoutError) as error:
                why = describe(error)
            except Exception:
                # A fault of the gateway's own. What was missed is told again with the next connection.
                log.exception("room events could not be passed on")
            finally:
                was_listening = self.listening.is_set()
                self.listening.clear()
            if was_listening:
                lost_at, told = loop.time(), False
            # While Redis is away the probe has said so; and a connection that comes back soon is no news.
            away = self._redis.availability.state.away
            if why and not told and not away and loop.time() - lost_at > QUIET_SECONDS:
                told = True
                log.warning("Redis answers, but events of rooms can't be received: %s", why)
            delay = 0.1 if was_listening else min(delay * 2, 2.0)
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))

    async def _listen(self) -> None:
        connection = await self._redis.connection(self._near)
        try:
            async with asyncio.timeout(self._redis.timeout):
                await ask(connection, "PSUBSCRIBE", self._pattern)
            await self._hear(connection)
        finally:
            await connection.disconnect(nowait=True)

    async def _hear(self, connection: AbstractConnection) -> None:
        self.listening.set()
        log.debug("events of rooms are received")
        self._on_restored()
        asked = False
        while True:
            message = await connection.read_response(timeout=self._ping)
            if message is not None:
                asked = False
                self._receive(message)
            elif asked:
                raise TimeoutError
            else:
                asked = True
                await connection.send_packed_command(connection.pack_command("PING"), check_health=False)

    def _receive(self, message: Any) -> None:
        if not isinstance(message, list) or message[0] != b"pmessage":
            return
        room = self._room.fullmatch(message[2].decode("utf-8", "surrogateescape"))
        if room is None:
            return
        try:
            self._on_events(parse_event(room[1], message[3]))
        except Exception:
            log.exception("an event of room %s could not be passed on", room[1])


def _escape(text: str) -> str:
    """As it stands, in the pattern language of PSUBSCRIBE."""
    return re.sub(r"([*?\[\]\\^])", r"\\\1", text)
