"""The composition root: the only place that knows everybody.

A gateway is built out of its settings, one resource after the other, and taken down in reverse.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from prometheus_client import CollectorRegistry

from gateway.auth.authenticator import Authenticator
from gateway.auth.fetch import http_fetch
from gateway.auth.jwks import Jwks
from gateway.auth.tokens import TokenVerifier
from gateway.observe.lag import LoopLag
from gateway.observe.logs import AccessLog
from gateway.observe.metrics import Metrics
from gateway.observe.spring_metrics import SpringMetrics
from gateway.observe.writer import LineWriter
from gateway.proxy.balance import Instances
from gateway.proxy.forward import Forwarder
from gateway.proxy.forwarded import TrustedProxies
from gateway.proxy.pool import UpstreamPool
from gateway.routing.faults import Fault
from gateway.routing.loader import default_file, load
from gateway.routing.table import RouteTable
from gateway.routing.watch import RouteWatcher
from gateway.settings import Settings
from gateway.stream.hub import Tempo
from gateway.stream.registry import Seats
from gateway.waiting_room.embedded import embedded_redis
from gateway.waiting_room.keys import DEFAULT_ROOM
from gateway.waiting_room.link import Redis
from gateway.waiting_room.room import Limits, RoomPolicy
from gateway.waiting_room.rooms import Rooms
from gateway.web.actuator import Actuator
from gateway.web.admit import authenticating, gating, shedding
from gateway.web.context import Context, LiveTable
from gateway.web.door import RequestHandler, door
from gateway.web.endpoints import Endpoints
from gateway.web.exchange import Step
from gateway.web.forwarding import forwarding
from gateway.web.lobby import Lobby
from gateway.web.locate import locating
from gateway.web.queue_api import QueueApi
from gateway.web.rooms_api import RoomsApi
from gateway.web.stream import StreamApi

log = logging.getLogger("gateway")


@dataclass(slots=True)
class Gateway:
    """A gateway that is up: what answers requests, and what ``serve`` needs to end it well.

    ``management`` answers on a port of its own, if the settings want one.
    """

    public: RequestHandler
    management: RequestHandler | None
    context: Context
    lobby: Lobby
    watcher: RouteWatcher
    redis_url: str
    routes_file: Path


@contextlib.asynccontextmanager
async def composed(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    registry: CollectorRegistry | None = None,
    log_writer: LineWriter | None = None,
) -> AsyncIterator[Gateway]:
    """Builds a gateway and takes it down. ``environ`` fills the ``${…}`` of the route file.

    Raises RouteFileError if the route file has faults, EmbeddedRedisError if that Redis can't be started.
    """
    routes_file = settings.routes_path(default_file())
    table = load(routes_file, environ)
    metrics = Metrics(registry or CollectorRegistry())
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        redis_url = settings.redis_url
        if redis_url == "embedded":
            redis_url = await enter(embedded_redis(settings.embedded_redis_dir))
        lag = await enter(LoopLag(metrics.loop_lag))
        lobby = Lobby(
            Seats(max_streams(settings)),
            Tempo(
                settings.queue_status_interval_seconds,
                settings.sse_heartbeat_seconds,
                settings.sse_max_streams_per_user,
            ),
            metrics,
        )
        rooms = Rooms(
            Redis(redis_url, settings.redis_timeout_seconds),
            prefix=settings.redis_key_prefix,
            policy=RoomPolicy(settings.queue_relineup, settings.queue_absent_seconds),
            observer=metrics,
            on_events=lobby.deliver,
            on_restored=lobby.restored,
            on_sweep=metrics.swept,
        )
        await rooms.provide(_limits(settings, table))
        await lobby.provide(rooms)
        await enter(rooms.running())
        await enter(lobby.running())
        session = await enter(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=False))
        jwks = await enter(
            Jwks(
                settings.jwt_jwks_uri,
                settings.jwt_algorithms,
                http_fetch(session),
                on_fetch=metrics.jwks_fetched,
            ).running()
        )
        pool = await enter(UpstreamPool())
        instances = Instances(table.services)
        tables = LiveTable(table)

        async def take(new: RouteTable) -> None:
            """Puts a reloaded table in force, rooms first: a gate must never name a room that isn't there."""
            await rooms.provide(_limits(settings, new))
            await lobby.provide(rooms)
            instances.replace(new.services)
            tables.replace(new)
            metrics.routes_reloaded(True)
            log.info("%d routes from %s", len(new.routes), routes_file)

        def refuse(faults: tuple[Fault, ...]) -> None:
            tables.faults = tuple(map(str, faults))
            metrics.routes_reloaded(False)
            log.error("%s stays as it was: %s", routes_file, "; ".join(tables.faults))

        taken = await enter(_one_after_the_other(take))
        watcher = RouteWatcher(routes_file, environ, table, on_table=taken, on_faults=refuse)
        await enter(watcher.running())
        context = Context(
            settings=settings,
            tables=tables,
            rooms=rooms,
            hubs=lobby,
            authenticator=Authenticator(
                TokenVerifier(
                    jwks,
                    issuer=settings.jwt_issuer,
                    audience=settings.jwt_audience,
                    user_type_claim=settings.jwt_user_type_claim,
                ),
                cookie_name=settings.jwt_cookie_name,
                stream_grace=settings.stream_token_grace_seconds,
                on_token=metrics.token,
            ),
            forwarder=Forwarder(pool, instances, metrics.upstream),
            trusted=TrustedProxies(settings.trusted_proxies),
            metrics=metrics,
            spring_metrics=SpringMetrics(metrics.registry, lambda: len(tables.now.table.routes))
            if settings.metrics_spring_names
            else None,
            lag_ms=lambda: lag.milliseconds,
            checks={
                "redis": lambda: (rooms.subscription.listening.is_set(), {}),
                "jwks": lambda: (jwks.keys_known, {"keys": len(jwks.status().kids)}),
                "routes": lambda: (not tables.faults, {"faults": list(tables.faults)}),
            },
        )
        access_log = AccessLog(
            log_writer,
            log_format=settings.log_format,
            user=settings.access_log_user,
            # Shared by the instances if they share the secret; else each has names of its own for users.
            key=(settings.identity_hmac_secret or secrets.token_hex()).encode(),
        )
        yield Gateway(*_doors(context, access_log), context, lobby, watcher, redis_url, routes_file)


@contextlib.asynccontextmanager
async def _one_after_the_other(
    take: Callable[[RouteTable], Awaitable[None]],
) -> AsyncIterator[Callable[[RouteTable], None]]:
    """Yields what is called with each new table. Of those that come while one is being taken, the last counts."""
    newest: list[RouteTable] = []
    come = asyncio.Event()

    def put(table: RouteTable) -> None:
        newest[:] = [table]
        come.set()

    async def work() -> None:
        while True:
            await come.wait()
            come.clear()
            try:
                await take(newest[0])
            except Exception:
                log.exception("a route table could not be put in force")

    task = asyncio.create_task(work(), name="route table")
    try:
        yield put
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _doors(context: Context, access_log: AccessLog) -> tuple[RequestHandler, RequestHandler | None]:
    """What answers on the public port, and on that of management. Own calls come before any route."""
    queue = (*QueueApi(context).endpoints(), *StreamApi(context).endpoints())
    actuator = (*Actuator(context).endpoints(), *RoomsApi(context).endpoints())
    if context.settings.management_server_port is None:
        return door(context, access_log, _steps(context, Endpoints((*queue, *actuator)))), None
    return (
        door(context, access_log, _steps(context, Endpoints(queue))),
        door(context, access_log, _steps(context, Endpoints(actuator), routed=False)),
    )


def _steps(context: Context, endpoints: Endpoints, *, routed: bool = True) -> tuple[Step, ...]:
    """The order of things. Around all of them stands the door, so that nothing leaves without a trace id and a line
    in the log."""
    return (
        # One canonical path for all that follows; whatever is ambiguous goes no further.
        locating(context, endpoints, forwarding(context) if routed else None),
        # Before any JWT work: that is what an overloaded instance can't afford.
        shedding(context),
        # The gate needs to know who; and a gated call needs a token even where a public rule matches.
        authenticating(context),
        # Last, because passing it renews a session, which only a request that goes on may do.
        gating(context),
    )


def max_streams(settings: Settings) -> int:
    """``SSE_MAX_STREAMS``, or what the limit of file descriptors leaves: a tenth, and 256, stay for services,
    Redis, files, and for saying "full"."""
    if settings.sse_max_streams is not None:
        return settings.sse_max_streams
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(0, int(soft * 0.9) - 256)


def _limits(settings: Settings, table: RouteTable) -> dict[str, Limits]:
    """Every room that there is, with what it is given: the file's limits, else the settings'."""
    capacity, duration = settings.allowed_in_max_capacity, settings.allowed_in_duration_seconds
    limits = {DEFAULT_ROOM: Limits(capacity, duration)}
    for name, given in table.rooms.items():
        limits[name] = Limits(
            capacity if given.capacity is None else given.capacity,
            duration if given.duration is None else given.duration,
        )
    return limits
