"""All rooms of a gateway, by name."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import cast

from redis.crc import key_slot
from redis.exceptions import ResponseError

from gateway.errors import QueueUnavailable, RoomNotFound, SettingsError
from gateway.room_names import STAR, ByRoom, RoomEntries, may_be_made
from gateway.waiting_room.batch import BatchObserver
from gateway.waiting_room.configured import ConfiguredLimits, RoomPolicy
from gateway.waiting_room.directory import Directory
from gateway.waiting_room.events import RoomEvent, Subscription
from gateway.waiting_room.keys import DEFAULT_ROOM, RoomKeys, has_hash_tag
from gateway.waiting_room.named_room import NamedRoom, UnmadeRoom
from gateway.waiting_room.named_rooms import NamedRoomLimits, NamedRooms
from gateway.waiting_room.observer import NoObserver, RoomObserver
from gateway.waiting_room.redis.availability import RedisState
from gateway.waiting_room.redis.connection import Redis
from gateway.waiting_room.redis.shared import ConnectionsByKind
from gateway.waiting_room.room import Room, channel
from gateway.waiting_room.rules import Mode
from gateway.waiting_room.scripts import Script, load_all
from gateway.waiting_room.sweep import PERIOD_MS, Sweeper, SweepLock


def check_prefix_for_cluster(prefix: str, *, one_node: bool = False) -> None:
    """Raises SettingsError for a prefix that would put the keys of a room into several slots. ``one_node``: the address
    is that of one node, so all rooms must be in one slot."""
    keys = RoomKeys(prefix, DEFAULT_ROOM, cluster=True)
    if one_node and not has_hash_tag(prefix):
        allowed = (
            "a prefix with a hash tag, such as {gw}:, because this Redis is a cluster; or any with a REDIS_URL of "
            "redis+cluster://"
        )
    elif len({key_slot(key.encode()) for key in keys.common}) > 1:
        allowed = "a prefix without {}, or with a hash tag, such as {gw}:, because this Redis is a cluster"
    else:
        return
    raise SettingsError("REDIS_KEY_PREFIX", prefix, allowed)


@contextlib.asynccontextmanager
async def _alone(room: Room) -> AsyncIterator[None]:
    """Runs nothing beside the room."""
    yield


class Rooms:
    """The rooms by name; ``default`` always exists. Works inside ``running()``.

    Beside the rooms that the configuration names there are those that calls make, see ``NamedRooms``: ``named`` bounds
    them, ``beside`` runs beside each of them, and ``on_stopped`` is called when one runs here no longer.

    ``on_events`` and ``on_restored`` as in ``Subscription``; ``on_sweep`` as in ``Sweeper``. ``on_redis`` is called
    when Redis becomes unreachable or reachable again, and when it stops or starts accepting writes.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        prefix: str = "",
        policy: RoomPolicy | None = None,
        observer: RoomObserver | None = None,
        batch_observer: BatchObserver | None = None,
        on_events: Callable[[Sequence[RoomEvent]], None] = lambda events: None,
        on_restored: Callable[[], None] = lambda: None,
        on_sweep: Callable[[str, str], None] = lambda room, outcome: None,
        on_redis: Callable[[RedisState], None] = lambda state: None,
        scripts: Mapping[str, Script] | None = None,
        named: NamedRoomLimits | None = None,
        beside: Callable[[Room], AbstractAsyncContextManager[None]] = _alone,
        on_stopped: Callable[[str], None] = lambda room: None,
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._policy = policy or RoomPolicy()
        self._observer = observer or NoObserver()
        self._batch_observer = batch_observer
        self._scripts = scripts or load_all()
        self._rooms: dict[str, Room] = {}
        self._stack: contextlib.AsyncExitStack | None = None
        self._on_restored = on_restored
        self._on_redis = on_redis
        self._away = False
        self.subscription = Subscription(
            redis,
            lambda room: channel(self._keys(room), redis),
            on_events,
            self._restored,
            self._refresh_notice,
        )
        lock_key = self._keys(DEFAULT_ROOM).sweep_lock
        self._lock_link = redis.link(key=lock_key)
        self._connections = ConnectionsByKind(redis.shared)
        lock = SweepLock(self._lock_link, self._scripts, lock_key, PERIOD_MS)
        self._configured: ByRoom[ConfiguredLimits] = ByRoom(RoomEntries(()), {})
        directory = Directory(redis, self._scripts, prefix, self._observer.on_call)
        self.named = NamedRooms(directory, self._named_room, named or NamedRoomLimits(), beside, on_stopped)
        self._sweeper = Sweeper(lambda: tuple(self), lock, on_sweep)

    def __getitem__(self, name: str) -> Room:
        """The room of that name, if it runs here. Raises RoomNotFound."""
        room = self.get(name)
        if room is None:
            raise RoomNotFound(name)
        return room

    def get(self, name: str) -> Room | None:
        """The room of that name; None if it does not run here."""
        return self._rooms.get(name) or self.named.get(name)

    async def find(self, name: str) -> Room | UnmadeRoom:
        """The room of that name, or what stands for one that calls may make and none has made. Raises RoomNotFound, and
        QueueUnavailable if it is not known whether there is such a room."""
        room = self.get(name)
        if room is not None:
            return room
        limits = self._configured.get(name)
        if limits is None or not may_be_made(name):
            raise RoomNotFound(name)
        return await self.named.find(name) or UnmadeRoom(name, limits, self.mode_of(name))

    async def make(self, name: str, client: str = "") -> Room:
        """The room of that name, made if there is none. ``client``: who is counted as having made it; "": no client,
        as for operators. Raises RoomNotFound, TooManyRooms and QueueUnavailable."""
        room = self.get(name)
        if room is not None:
            return room
        if self._configured.get(name) is None or not may_be_made(name):
            raise RoomNotFound(name)
        return await self.named.make(name, client)

    def mode_of(self, name: str) -> Mode:
        """What the gate of the room does, as far as this instance knows."""
        room = self.get(name)
        if room is not None:
            return room.mode
        limits = self._configured.get(name)
        return "on" if limits is None else cast(Mode, limits.rules.mode)

    def implicit_of(self, name: str) -> bool:
        """Whether the gate of the room lines up users without a place, as far as this instance knows."""
        room = self.get(name)
        if room is not None:
            return room.implicit
        limits = self._configured.get(name)
        return limits is not None and limits.rules.lineup == "implicit"

    def label_of(self, name: str) -> str:
        """The room's label in metrics: rooms that calls make share the one of their settings, ``concert-*``."""
        return self._configured.entry_of(name) or name

    def _named_room(self, name: str) -> NamedRoom:
        """The object of a room that calls make. Raises KeyError if the configuration knows no such rooms."""
        return NamedRoom(
            self._redis,
            self._scripts,
            self._keys(name),
            self._configured[name],
            self._policy,
            self._observer,
            self._batch_observer,
            self._connections,
        )

    def _refresh_notice(self, room: str) -> None:
        found = self.get(room)
        if found is not None:
            found.notices.refresh()

    def _keys(self, room: str) -> RoomKeys:
        return RoomKeys(self._prefix, room, cluster=self._redis.is_cluster)

    def __iter__(self) -> Iterator[Room]:
        """The rooms that run here: all that the configuration names, and of the others those with work."""
        return iter((*self._rooms.values(), *self.named))

    @property
    def redis_state(self) -> RedisState:
        """What is known of Redis."""
        return self._redis.availability.state

    @property
    def refused_scripts(self) -> list[str]:
        """Scripts that Redis refuses although it answers, for example because a permission is missing."""
        return self._redis.refused_scripts

    @property
    def failing_scripts(self) -> list[str]:
        """Scripts that have failed for a while although Redis answers the probe, for example at its limit of
        clients."""
        return self._redis.failing_scripts

    async def provide(self, limits: Mapping[str, ConfiguredLimits]) -> None:
        """Makes rooms that don't exist yet and sets the limits of the others. Rooms that are no longer named stay: they
        may still have users."""
        self._configured = ByRoom(RoomEntries(limits), limits)
        self.named.needed = any(STAR in name for name in limits)
        for named in self.named:
            named.set_configured_limits(self._configured.get(named.name, named.limits))
        for name, given in limits.items():
            if STAR in name:
                continue
            await self.named.drop(name)
            room = self._rooms.get(name)
            if room is not None:
                room.set_configured_limits(given)
                continue
            room = Room(
                self._redis,
                self._scripts,
                self._keys(name),
                given,
                self._policy,
                self._observer,
                self._batch_observer,
                self._connections,
            )
            if self._stack is not None:
                await self._stack.enter_async_context(room.running())
            self._rooms[name] = room

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serves, listens and sweeps until the block ends. Redis may be away at the start.

        Raises SettingsError if Redis is a cluster and the prefix would scatter a room's keys over its nodes, and
        NewerSchema if a later version of the gateway has written to a room.
        """
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._lock_link.close)
            stack.push_async_callback(self._connections.close)
            await self._check_prefix()
            await self._check_schema()
            key = self._keys(DEFAULT_ROOM).mark
            await stack.enter_async_context(self._redis.probing(key, self._redis_changed))
            # Rooms that are added later end with the others, after the sweeper: it would open their connections again.
            rooms = await stack.enter_async_context(contextlib.AsyncExitStack())
            for room in self._rooms.values():
                await rooms.enter_async_context(room.running())
            self._stack = rooms
            await rooms.enter_async_context(self.named.running())
            await stack.enter_async_context(self.subscription.running())
            await stack.enter_async_context(self._sweeper.running())
            try:
                yield
            finally:
                self._stack = None

    def _restored(self) -> None:
        for room in self:
            room.presence.resend()
        self._on_restored()

    def _redis_changed(self, state: RedisState) -> None:
        back, self._away = self._away and not state.away, bool(state.away)
        self._on_redis(state)
        # Events may arrive again before the probe is answered; reads of the state failed at once until now.
        if back and self.subscription.listening.is_set():
            self._on_restored()

    async def _check_prefix(self) -> None:
        if self._redis.is_cluster:
            check_prefix_for_cluster(self._prefix)
        elif await self._is_node_of_cluster():
            check_prefix_for_cluster(self._prefix, one_node=True)

    async def _check_schema(self) -> None:
        """Without Redis nothing is known; each room then looks again with its first call."""
        with contextlib.suppress(QueueUnavailable):
            for room in self._rooms.values():
                await room.check_schema(self._lock_link)

    async def _is_node_of_cluster(self) -> bool:
        with contextlib.suppress(QueueUnavailable, ResponseError):
            return b"cluster_enabled:1" in await self._lock_link.call("INFO", "cluster")
        return False
