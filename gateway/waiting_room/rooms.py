"""All rooms of a gateway, by name."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

from redis.crc import key_slot
from redis.exceptions import ResponseError

from gateway.errors import QueueUnavailable, RoomNotFound, SettingsError
from gateway.waiting_room.batch import BatchObserver
from gateway.waiting_room.configured import ConfiguredLimits, RoomPolicy
from gateway.waiting_room.events import RoomEvent, Subscription
from gateway.waiting_room.keys import DEFAULT_ROOM, RoomKeys, has_hash_tag
from gateway.waiting_room.observer import NoObserver, RoomObserver
from gateway.waiting_room.redis.availability import RedisState
from gateway.waiting_room.redis.connection import Redis
from gateway.waiting_room.room import Room, channel
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


class Rooms:
    """The rooms by name; ``default`` always exists. Works inside ``running()``.

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
            redis, lambda room: channel(self._keys(room), redis), on_events, self._restored
        )
        lock_key = self._keys(DEFAULT_ROOM).sweep_lock
        self._lock_link = redis.link(key=lock_key)
        lock = SweepLock(self._lock_link, self._scripts, lock_key, PERIOD_MS)
        self._sweeper = Sweeper(lambda: tuple(self._rooms.values()), lock, on_sweep)

    def __getitem__(self, name: str) -> Room:
        """The room of that name. Raises RoomNotFound."""
        try:
            return self._rooms[name]
        except KeyError:
            raise RoomNotFound(name) from None

    def _keys(self, room: str) -> RoomKeys:
        return RoomKeys(self._prefix, room, cluster=self._redis.is_cluster)

    def __iter__(self) -> Iterator[Room]:
        return iter(tuple(self._rooms.values()))

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
        for name, given in limits.items():
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
            await self._check_prefix()
            await self._check_schema()
            key = self._keys(DEFAULT_ROOM).mark
            await stack.enter_async_context(self._redis.probing(key, self._redis_changed))
            # Rooms that are added later end with the others, after the sweeper: it would open their connections again.
            rooms = await stack.enter_async_context(contextlib.AsyncExitStack())
            for room in self._rooms.values():
                await rooms.enter_async_context(room.running())
            self._stack = rooms
            await stack.enter_async_context(self.subscription.running())
            await stack.enter_async_context(self._sweeper.running())
            try:
                yield
            finally:
                self._stack = None

    def _restored(self) -> None:
        for room in self._rooms.values():
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
