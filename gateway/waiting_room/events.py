"""The events that the scripts publish, received by one task for all rooms and all streams of this instance."""

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

from gateway.background import background_task
from gateway.waiting_room.redis.connection import Redis
from gateway.waiting_room.redis.wire import describe, send_command

log = logging.getLogger(__name__)

PING_SECONDS = 5.0
"""A silent connection is pinged this often. If it has not answered by the next ping, it is closed."""

QUIET_SECONDS = 5.0
"""A lost connection for events is logged only after this many seconds."""

EVENTS_PER_TURN = 128
"""After so many events in messages that have already arrived, other work of the event loop comes first: when a room
opens, thousands of users are admitted at once, and the last event of each stream is written here."""

Kind = Literal["ADMITTED", "REMOVED", "FRONT"]
"""``FRONT``: an operator has put the user in front of all others, with a lower ticket."""
Reason = Literal["LEFT", "ABSENT", "UNCLAIMED", "SOLD_OUT", "OPERATOR", "MOVED"]

_KINDS: Final[dict[str, tuple[Kind, Reason | None]]] = {
    "ADMITTED": ("ADMITTED", None),
    "FRONT": ("FRONT", None),
    "LEFT": ("REMOVED", "LEFT"),
    "ABSENT": ("REMOVED", "ABSENT"),
    "UNCLAIMED": ("REMOVED", "UNCLAIMED"),
    "SOLD_OUT": ("REMOVED", "SOLD_OUT"),
    "OPERATOR": ("REMOVED", "OPERATOR"),
    "MOVED": ("REMOVED", "MOVED"),
}

_TICKET: Final = re.compile("-?[0-9]{1,16}")
NOTICE: Final = b'{"event":"NOTICE"}'
"""The message that ``notice.lua`` publishes."""


class RoomEvent(NamedTuple):
    """Something happened to one user. ``ticket`` identifies the stay in line that the event is about."""

    room: str
    user: str
    ticket: int
    kind: Kind
    reason: Reason | None
    """Why the user was removed from the line."""
    expires_in: float
    """Length in seconds of the session that begins, if admitted."""
    claim_by: int = 0
    """Until when the user must claim the slot, in epoch milliseconds, if admitted; 0: need not."""


def parse_event(room: str, payload: bytes) -> list[RoomEvent]:
    """The events of one message, in the order in which they happened. Raises ValueError for a malformed message."""
    try:
        # User ids are opaque: an id that is not UTF-8 must not cost the other users of the message their events.
        message = json.loads(payload.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError) as error:
        raise ValueError("not an event: no JSON") from error
    if not isinstance(message, dict):
        raise ValueError("not an event: no object")
    event, expires_ms, people = (message.get(name) for name in ("event", "expires_ms", "people"))
    claim_by = message.get("claim_by", 0)
    if not isinstance(event, str) or event not in _KINDS:
        raise ValueError("not an event: of no known kind")
    if not isinstance(expires_ms, int | float):
        raise ValueError("not an event: expires_ms is no number")
    if not isinstance(people, list) or not all(map(_is_user_entry, people)):
        raise ValueError("not an event: people are not pairs of user and ticket")
    if not isinstance(claim_by, int | float):
        raise ValueError("not an event: claim_by is no number")
    kind, reason = _KINDS[event]
    return [
        RoomEvent(room, user, int(ticket), kind, reason, expires_ms / 1000, int(claim_by))
        for user, ticket in people
    ]


def _is_user_entry(entry: object) -> bool:
    return (
        isinstance(entry, list)
        and len(entry) == 2
        and isinstance(entry[0], str)
        and isinstance(entry[1], str)
        and _TICKET.fullmatch(entry[1]) is not None
    )


class Subscription:
    """Listens to every room whose channel has a name like ``channel_of("<room>")``.

    ``on_events`` is called with the events of each message and must not block, ``on_notice`` with the name of a room
    that has another notice. ``on_restored`` is called whenever the
    connection starts listening (again): events published before are lost, so the owners of streams must read the state
    themselves. ``ping``: seconds, as ``PING_SECONDS``. Redis may be away at the start, and later.
    """

    def __init__(
        self,
        redis: Redis,
        channel_of: Callable[[str], str],
        on_events: Callable[[Sequence[RoomEvent]], None],
        on_restored: Callable[[], None],
        on_notice: Callable[[str], None] = lambda room: None,
        *,
        ping: float = PING_SECONDS,
    ) -> None:
        self._redis = redis
        self._ping = ping
        self._on_events = on_events
        self._on_restored = on_restored
        self._on_notice = on_notice
        # On a cluster a message published at any node reaches all nodes; it reaches the node with the rooms first.
        self._near = channel_of("")
        before, after = channel_of("\0").split("\0")
        self._pattern = _escape(before) + "*" + _escape(after)
        self._room = re.compile(re.escape(before) + "(.*)" + re.escape(after), re.DOTALL)
        self.listening = asyncio.Event()
        """Set while the connection is up and subscribed."""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listens until the block ends."""
        async with background_task(self._keep(), "room events"):
            yield

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
                # A fault of the gateway's own. Reconnecting sends the missed state again.
                log.exception("room events could not be passed on")
            finally:
                was_listening = self.listening.is_set()
                self.listening.clear()
            if was_listening:
                lost_at, told = loop.time(), False
            # While Redis is away, the probe has already logged it. A connection that comes back soon is not worth a
            # line.
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
                await send_command(connection, "PSUBSCRIBE", self._pattern)
            await self._receive_messages(connection)
        finally:
            await connection.disconnect(nowait=True)

    async def _receive_messages(self, connection: AbstractConnection) -> None:
        self.listening.set()
        log.debug("events of rooms are received")
        self._on_restored()
        asked, passed_on = False, 0
        while True:
            message = await connection.read_response(timeout=self._ping)
            if message is not None:
                asked = False
                passed_on += self._receive(message)
                if passed_on >= EVENTS_PER_TURN:
                    # A message that has arrived is read without waiting.
                    passed_on = 0
                    await asyncio.sleep(0)
            elif asked:
                raise TimeoutError
            else:
                asked = True
                await connection.send_packed_command(connection.pack_command("PING"), check_health=False)

    def _receive(self, message: Any) -> int:
        """Returns how much work the message was, in events."""
        if not isinstance(message, list) or message[0] != b"pmessage":
            return 1
        room = self._room.fullmatch(message[2].decode("utf-8", "surrogateescape"))
        if room is None:
            return 1
        events: list[RoomEvent] = []
        try:
            if message[3] == NOTICE:
                self._on_notice(room[1])
            else:
                events = parse_event(room[1], message[3])
                self._on_events(events)
        except Exception:
            log.exception("an event of room %s could not be passed on", room[1])
        return max(1, len(events))


def _escape(text: str) -> str:
    """The text escaped for PSUBSCRIBE, so that the pattern matches it literally."""
    return re.sub(r"([*?\[\]\\^])", r"\\\1", text)
