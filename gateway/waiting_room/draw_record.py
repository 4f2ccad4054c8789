"""What Redis holds of a room's pre-queue and its draw."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from redis.exceptions import ResponseError

from gateway.errors import QueueUnavailable
from gateway.waiting_room.keys import RoomKeys
from gateway.waiting_room.redis.wire import Argument
from gateway.waiting_room.state import Phase

KEPT_SECONDS: Final = 1.0
"""A record that was read for users is good for so long: a crowd that looks at the draw costs Redis one call a second
from each instance."""


class DrawRecord(NamedTuple):
    """What Redis holds of a pre-queue. Texts are empty where nothing is known; hashes and secrets are in hex."""

    phase: Phase
    opens_at: int
    """The moment of opening, in epoch milliseconds; known from the close on."""
    size: int
    """How many users took part; known from the close on."""
    placed: int
    """How many of these users have been put in line. Users who left before count, too."""
    order: str = ""
    commitment: str = ""
    secret: str = ""
    salt_key: str = ""
    beacon_name: str = ""
    beacon: str = ""
    """The beacon's value."""
    root: str = ""
    digest: str = ""

    @property
    def drawn(self) -> bool:
        """Whether the order is that of a draw."""
        return self.order == "draw"


class Call(Protocol):
    """Runs a script of the room."""

    def __call__(self, script: str, *args: Argument, extra_keys: Sequence[str]) -> Awaitable[list[Any]]:
        """The reply. Raises QueueUnavailable."""


async def read_record(call: Call, keys: RoomKeys) -> DrawRecord:
    """What Redis holds now. Raises QueueUnavailable."""
    reply = await call("draw", extra_keys=(keys.draw,))
    phase, opens_at, size, placed, *fields = reply[1:]
    texts = [field.decode("utf-8", "replace") for field in fields]
    found = dict(zip(texts[::2], texts[1::2], strict=True))
    known = {name: found[name] for name in DrawRecord._fields[4:] if name in found}
    return DrawRecord(Phase(phase.decode()), int(opens_at), size, placed, **known)


class DrawReader:
    """Reads the draw for users and operators. ``call`` and ``command`` have a connection of their own, so that an
    opening does not wait behind a crowd of readers. Every method raises QueueUnavailable."""

    def __init__(self, keys: RoomKeys, call: Call, command: Callable[..., Awaitable[Any]]) -> None:
        self._keys = keys
        self._call = call
        self._command = command
        self._turn = asyncio.Lock()
        self._known: DrawRecord | QueueUnavailable | None = None
        self._good_until = 0.0

    async def record(self) -> DrawRecord:
        """What Redis holds now."""
        return await read_record(self._call, self._keys)

    async def recent(self) -> DrawRecord:
        """What Redis held at most ``KEPT_SECONDS`` ago. A failure is remembered as well, so callers do not wait for
        Redis one after the other."""
        loop = asyncio.get_running_loop()
        async with self._turn:
            if self._known is None or loop.time() >= self._good_until:
                try:
                    self._known = await self.record()
                except QueueUnavailable as error:
                    self._known = error
                self._good_until = loop.time() + KEPT_SECONDS
            known = self._known
        if isinstance(known, QueueUnavailable):
            raise QueueUnavailable(known.reason, known.retry_after)
        return known

    async def entries(self, first: int, count: int) -> bytes:
        """``count`` published entries from ``first`` on, that of rank 1 first, one after the other."""
        try:
            found = await self._command("GETRANGE", self._keys.drawn, 32 * first, 32 * (first + count) - 1)
        except ResponseError as error:
            raise QueueUnavailable(f"Redis: {error}") from error
        return bytes(found)
