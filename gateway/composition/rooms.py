"""The rooms of a gateway with everything that they need: Redis, the streams of waiting users, events from other
instances."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from gateway.auth.passes import Passes
from gateway.composition.hubs import Hubs
from gateway.composition.limits import max_streams
from gateway.observability.metrics import Metrics
from gateway.observability.spans import Admissions, Tracer
from gateway.routing.gates import RoomLimits
from gateway.routing.table import RouteTable
from gateway.settings.model import Settings
from gateway.sse.hub import StreamTimings
from gateway.sse.registry import StreamLimit
from gateway.waiting_room.configured import ConfiguredLimits, RoomPolicy
from gateway.waiting_room.events import RoomEvent
from gateway.waiting_room.keys import DEFAULT_ROOM, RoomKeys
from gateway.waiting_room.lanes import lanes_text
from gateway.waiting_room.named_rooms import NamedRoomLimits
from gateway.waiting_room.redis.connection import Redis
from gateway.waiting_room.redis.embedded import embedded_redis
from gateway.waiting_room.rooms import Rooms
from gateway.waiting_room.rules import DEFAULTS, RULE_NAMES, Prequeue, RoomRules

T = TypeVar("T")

_LIMITS: Final = {"capacity": "allowed_in_max_capacity", "duration": "allowed_in_duration_seconds"}
"""The limits of a room, and the settings for rooms without."""
_BUILT_IN: Final = Settings()


@dataclass(frozen=True, slots=True)
class WaitingRooms:
    """The rooms and their hubs. ``redis_url`` is the address of ``redis``."""

    rooms: Rooms
    hubs: Hubs
    admissions: Admissions
    redis_url: str
    redis: Redis

    async def provide(self, table: RouteTable, settings: Settings) -> None:
        """Makes every room that ``table`` names, with the limits of the table, else of the settings."""
        await self.rooms.provide(room_limits(settings, table))
        await self.hubs.provide(self.rooms)


@contextlib.asynccontextmanager
async def waiting_rooms(
    settings: Settings,
    table: RouteTable,
    metrics: Metrics,
    tracer: Tracer,
    passes: Passes | None = None,
    lag: Callable[[], float] = lambda: 0.0,
) -> AsyncIterator[WaitingRooms]:
    """Connects to Redis, or starts one, and runs the rooms of ``table`` and their streams. ``lag`` returns how late the
    event loop is, in seconds.

    Raises EmbeddedRedisError if the embedded Redis can't be started. A Redis elsewhere may be away.
    """
    async with contextlib.AsyncExitStack() as stack:
        redis_url = settings.redis_url
        if redis_url == "embedded":
            redis_url = await stack.enter_async_context(embedded_redis(settings.embedded_redis_dir))
        admissions = Admissions(tracer)

        def deliver(events: Sequence[RoomEvent]) -> None:
            hubs.deliver(events)
            admissions.deliver(events)

        hubs = Hubs(
            StreamLimit(max_streams(settings)),
            StreamTimings(
                settings.queue_status_interval_seconds,
                settings.sse_heartbeat_seconds,
                settings.sse_max_streams_per_user,
            ),
            metrics,
            passes,
            lag,
        )
        redis = Redis(redis_url, settings.redis_timeout_seconds, main_key=main_key(settings))
        rooms = Rooms(
            redis,
            prefix=settings.redis_key_prefix,
            policy=RoomPolicy(
                settings.redis_wait_replicas,
                settings.queue_follow,
                settings.queue_follow_seconds,
            ),
            observer=metrics,
            batch_observer=tracer,
            on_events=deliver,
            on_restored=hubs.restored,
            on_sweep=metrics.swept,
            on_redis=metrics.redis_state,
            named=NamedRoomLimits(
                settings.queue_max_rooms, settings.queue_room_idle_seconds, settings.queue_rooms_per_client
            ),
            beside=hubs.beside,
            on_stopped=metrics.room_stopped,
        )
        metrics.label_rooms(rooms.label_of, lambda: len(rooms.named))
        made = WaitingRooms(rooms, hubs, admissions, redis_url, redis)
        await made.provide(table, settings)
        await stack.enter_async_context(rooms.running())
        await stack.enter_async_context(hubs.running())
        yield made


def main_key(settings: Settings) -> str:
    """A key in the slot of room ``default`` on a cluster."""
    return RoomKeys(settings.redis_key_prefix, DEFAULT_ROOM, cluster=True).mark


def room_limits(settings: Settings, table: RouteTable) -> dict[str, ConfiguredLimits]:
    """Every room with its configured limits: those of the route file, else those of the settings. An entry with a star
    is for the rooms that calls make.

    Empty for a table that is not ready: its limits are unknown, and other instances sweep the rooms.
    """
    if table.unready:
        return {}
    limits = {DEFAULT_ROOM: _limits(settings, RoomLimits())}
    limits.update((name, _limits(settings, given)) for name, given in table.rooms.items())
    return limits


def has_draws(table: RouteTable) -> bool:
    """Whether a room puts its registered users in line by a draw, so that they get signed receipts."""
    return any(given.prequeue and given.prequeue.order == "draw" for given in table.rooms.values())


def _limits(settings: Settings, given: RoomLimits) -> ConfiguredLimits:
    def chosen(value: T | None, otherwise: T) -> T:
        return otherwise if value is None else value

    from_settings = RoomRules(
        absent=settings.queue_absent_seconds,
        hold=settings.queue_hold_seconds,
        max_session=settings.queue_max_session_seconds,
        claim=settings.queue_claim_seconds,
        rate=settings.queue_rate,
        history=settings.queue_history_seconds,
        relineup=settings.queue_relineup,
        lineup=settings.queue_lineup,
        max_waiting=settings.queue_max_waiting,
        lineups_per_minute=settings.queue_lineups_per_minute,
        mode=settings.queue_mode,
    )
    of_file = {name: getattr(given, name) for name in RULE_NAMES}
    of_file["lanes"] = lanes_text((lane.name, lane.share) for lane in given.lanes) if given.lanes else None
    of_file["prequeue"] = given.prequeue.seconds if given.prequeue else None
    from_file = {name for name, value in of_file.items() if value is not None}
    sources = {
        name: "file" if name in from_file else "environment"
        for name in RULE_NAMES
        if name in from_file or getattr(from_settings, name) != getattr(DEFAULTS, name)
    }
    for name, attribute in _LIMITS.items():
        if getattr(given, name) is not None:
            sources[name] = "file"
        elif getattr(settings, attribute) != getattr(_BUILT_IN, attribute):
            sources[name] = "environment"
    return ConfiguredLimits(
        chosen(given.capacity, settings.allowed_in_max_capacity),
        chosen(given.duration, settings.allowed_in_duration_seconds),
        replace(from_settings, **{name: of_file[name] for name in from_file}),
        sources,
        Prequeue(given.prequeue.order, given.prequeue.beacon) if given.prequeue else Prequeue(),
    )
