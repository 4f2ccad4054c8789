"""Reports to the room which users have an open stream at this instance, and cleans up after instances that died.

An instance keeps a set of its users in Redis under a name of its own, and sends a beat every two seconds. It reports
the first stream that a user opens here, the last one that the user closes, and how many there are in between. When a
call fails, or Redis does not know this instance, it is unknown which changes arrived. The instance then takes a new
name and reports all its users again; the set under the old name is drained like that of a dead instance.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from itertools import chain, islice
from typing import Literal

from gateway.background import end_task
from gateway.errors import QueueUnavailable
from gateway.waiting_room.batch import MAX_BATCH
from gateway.waiting_room.keys import RoomKeys
from gateway.waiting_room.lane_keys import LaneKeys
from gateway.waiting_room.lanes import NO_LANES
from gateway.waiting_room.redis.connection import RedisConnection
from gateway.waiting_room.redis.wire import Argument
from gateway.waiting_room.scripts import Script
from gateway.waiting_room.spread import ERRORS

log = logging.getLogger(__name__)

BEAT_SECONDS = 2.0
GATHER_SECONDS = 0.05
"""Seconds from one report to the next: changes within that time share a call. No user is evicted because of this
delay."""

DEAD_SECONDS = 10.0
"""An instance without a beat for this many seconds is dead. That is five beats: one slow answer of Redis must not look
like a death."""

Change = tuple[Literal["arrived", "departed"] | int, str]
"""What has become of a user's streams here; a number: so many are open now, and there was one before."""


class Presence:
    """The users of one room with a stream open here. Works inside ``running()``.

    ``beat`` and ``dead``: seconds, as ``BEAT_SECONDS`` and ``DEAD_SECONDS``. ``retires``: at the end the instance is
    taken out of the room at once, and not found dead later.
    """

    def __init__(
        self,
        keys: RoomKeys,
        link: RedisConnection,
        scripts: Mapping[str, Script],
        arguments: Callable[[], tuple[Argument, ...]],
        before_beat: Callable[[], Awaitable[None]],
        *,
        beat: float = BEAT_SECONDS,
        dead: float = DEAD_SECONDS,
        retires: bool = False,
        lanes: LaneKeys | None = None,
    ) -> None:
        self._keys = keys
        self._link = link
        self._scripts = scripts
        self._lanes = lanes or LaneKeys(keys, NO_LANES)
        self._arguments = arguments
        self._before_beat = before_beat
        self._beat_seconds = beat
        self._dead_seconds = dead
        self._here: set[str] = set()
        self._several: dict[str, int] = {}
        self._errors: dict[int, int] = {}
        self._changes: deque[Change] = deque()
        self._wake = asyncio.Event()
        self._good_beats = 0
        self._retires = retires
        self._instance = ""
        self.about: Callable[[], str] = lambda: ""
        """What this instance reports of itself, see ``instances.report``; nothing, if it is empty."""
        self._reset()

    @property
    def streams_here(self) -> int:
        """How many users have a stream open here."""
        return len(self._here)

    @property
    def instance(self) -> str:
        """The name of this instance in Redis. It changes when Redis has lost the instance."""
        return self._instance

    def arrived(self, user: str) -> None:
        """The user opened their first stream here."""
        self._here.add(user)
        self._changes.append(("arrived", user))
        self._wake.set()

    def departed(self, user: str) -> None:
        """The user closed their last stream here."""
        self._here.discard(user)
        self._several.pop(user, None)
        self._changes.append(("departed", user))
        self._wake.set()

    def counted(self, user: str, streams: int) -> None:
        """The user, who has streams here, has so many now."""
        if streams > 1:
            self._several[user] = streams
        else:
            self._several.pop(user, None)
        self._changes.append((streams, user))
        self._wake.set()

    def estimated(self, first_estimate: float, real: float) -> None:
        """A user was admitted after ``real`` seconds, and a stream here had shown ``first_estimate`` first. The next
        beat reports how far that was off. If its reply is lost, nothing is reported again: rather too little than
        twice."""
        at = ERRORS.of(abs(first_estimate - real) / max(real, 0.001))
        self._errors[at] = self._errors.get(at, 0) + 1

    def resend(self) -> None:
        """Redis was away, so its record of this instance is not reliable: report all users again."""
        if self._good_beats > 0:
            self._reset()
            self._wake.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Reports to the room until the block ends; the last changes are sent at the end."""
        task = asyncio.create_task(self._keep(), name=f"presence {self._keys.room}")
        try:
            yield
        finally:
            await end_task(task)
            # Under a name that was not announced there are no entries yet, and there must be none: no instance would
            # remove them.
            if self._good_beats > 0:
                with contextlib.suppress(QueueUnavailable):
                    await self._send_changes()
                    await self._retire()

    async def _retire(self) -> None:
        if self._retires:
            me = self._instance
            keys = (self._keys.instances, self._keys.about(me), self._keys.here(me))
            await self._link.run(self._scripts["retire"], keys, (me,))

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        next_beat = loop.time()
        while True:
            try:
                # The name is announced before any entry stands under it; otherwise no instance would ever clean up
                # after this one.
                if self._good_beats == 0 or loop.time() >= next_beat:
                    next_beat = loop.time() + self._beat_seconds
                    await self._before_beat()
                    await self._beat()
                if self._good_beats > 0:
                    await self._send_changes()
            except QueueUnavailable as error:
                log.debug("presence in room %s: %s", self._keys.room, error.reason)
                self._reset()
                await asyncio.sleep(self._beat_seconds / 4)
                continue
            except Exception:
                # Without this task every other instance would take this one for dead, and its users for absent.
                log.exception("presence in room %s could not be told", self._keys.room)
                self._reset()
                await asyncio.sleep(self._beat_seconds / 4)
                continue
            told = loop.time()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(next_beat):
                    await self._wake.wait()
            await asyncio.sleep(told + GATHER_SECONDS - loop.time())
            self._wake.clear()

    async def _beat(self) -> None:
        instance = self._instance
        errors, self._errors = self._errors, {}
        reply = await self._link.run(
            self._scripts["beat"],
            (self._keys.instances, self._keys.about(instance), self._keys.pace),
            (instance, round(self._dead_seconds * 1000), self.about(), *chain.from_iterable(errors.items())),
        )
        if instance != self._instance:
            return
        unknown, *dead = reply
        if unknown and self._good_beats > 0:
            self._reset()
            await self._beat()
            return
        self._good_beats += 1
        # After an outage every instance looks dead to the first one that is back. So an instance declares others dead
        # only after it has been back for ``dead`` seconds itself.
        if self._good_beats * self._beat_seconds > self._dead_seconds:
            for name in dead:
                await self._drain(name.decode())

    async def _drain(self, dead: str) -> None:
        keys = (*self._keys.common, self._keys.instances, self._keys.here(dead), self._keys.several(dead))
        more = True
        while more:
            arguments = (*self._arguments(), dead, round(self._dead_seconds * 1000))
            reply = await self._lanes.run(self._link, self._scripts["drain"], keys, arguments)
            more = reply[1] == 1

    async def _send_changes(self) -> None:
        """Sends the changes so far. A change leaves the queue only once Redis has replied; after a failure the set of
        users counts."""
        keys = (*self._keys.common, self._keys.here(self._instance), self._keys.several(self._instance))
        left = len(self._changes)
        while left > 0:
            batch = list(islice(self._changes, min(left, MAX_BATCH)))
            left -= len(batch)
            pairs = [part for change in batch for part in change]
            instance = self._instance
            arguments = (*self._arguments(), *pairs)
            await self._lanes.run(self._link, self._scripts["presence"], keys, arguments, size=len(batch))
            if instance != self._instance:
                return
            for _ in batch:
                self._changes.popleft()

    def _reset(self) -> None:
        self._instance = secrets.token_hex(8)
        self._good_beats = 0
        self._changes.clear()
        self._changes.extend(("arrived", user) for user in self._here)
        self._changes.extend((streams, user) for user, streams in self._several.items())
