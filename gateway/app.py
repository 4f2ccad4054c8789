"""The composition root: the only place that knows everybody.

A gateway is built out of its settings, one resource after the other, and taken down in reverse.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial

import aiohttp
from prometheus_client import CollectorRegistry

from gateway.api.actuator import Actuator
from gateway.api.docs import Docs
from gateway.api.endpoints import Endpoints
from gateway.api.forwarding import forwarding
from gateway.api.gateway_routes import GatewayApi
from gateway.api.metrics import MetricsApi
from gateway.api.queue import QueueApi
from gateway.api.refresh import RefreshApi
from gateway.api.rooms import RoomsApi, following_object
from gateway.api.service_docs import describing
from gateway.api.stream import StreamApi
from gateway.auth.access import Authenticator
from gateway.auth.discovery import IssuerLocation, http_fetch
from gateway.auth.jwks import Jwks
from gateway.auth.tokens import TokenVerifier
from gateway.composition.hubs import Lobby
from gateway.composition.limits import download_limits_of, max_tunnels, upload_limits_of
from gateway.composition.live_settings import (
    LiveSettings,
    TokenSettings,
    is_address,
    token_settings,
    trusted_proxies,
)
from gateway.composition.rooms import waiting_rooms
from gateway.composition.route_sources import RouteSources
from gateway.context import Context, LiveTable
from gateway.discovery.config_server.client import ConfigServer
from gateway.discovery.eureka.client import Eureka, discovering
from gateway.middleware.admit import authenticating, gating, shedding
from gateway.middleware.cors import acting, crossing
from gateway.middleware.door import Door
from gateway.middleware.resolve import locating
from gateway.observability.export import tracing
from gateway.observability.logging import AccessLog, LineWriter, timestamp
from gateway.observability.loop_lag import LoopLag
from gateway.observability.metrics import Metrics
from gateway.observability.spring_names import OWN_LABELS, SpringMetrics
from gateway.proxy.downloads import Downloads
from gateway.proxy.forward import Forwarder
from gateway.proxy.forwarded import ALL, WHOLE_CHAIN
from gateway.proxy.load_balancer import Instances
from gateway.proxy.pool import UpstreamPool
from gateway.proxy.security_headers import security_headers
from gateway.proxy.uploads import Uploads
from gateway.proxy.websocket import Tunnels
from gateway.routing.table import RouteTable
from gateway.settings.model import Settings
from gateway.waiting_room.keys import DEFAULT_ROOM
from gateway.waiting_room.rooms import Rooms


@dataclass(slots=True)
class Gateway:
    """A gateway that is up: what answers requests, and what ``serve`` needs to end it well.

    ``management`` answers on a port of its own, if the settings want one.
    """

    public: Door
    management: Door | None
    context: Context
    lobby: Lobby
    tunnels: Tunnels
    routes: RouteSources
    eureka: Eureka | None
    redis_url: str


@contextlib.asynccontextmanager
async def composed(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    registry: CollectorRegistry | None = None,
    log_writer: LineWriter | None = None,
) -> AsyncIterator[Gateway]:
    """Builds a gateway and takes it down. ``environ`` fills the ``${…}`` of the route file.

    Raises RouteFileError if the route file has faults, ConfigUnavailable if a Config Server that is not optional
    does not answer, EmbeddedRedisError if that Redis can't be started. While an optional Config Server answers with
    something unusable, the gateway is there and serves nothing: see ``RouteSources``.
    """
    metrics = Metrics(registry or CollectorRegistry())
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        session = await enter(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=False))
        sources = await RouteSources.load(settings, environ, session, metrics)
        table = sources.first
        live = LiveSettings(settings, environ, table)
        lag = await enter(LoopLag(metrics.loop_lag))
        # Before all who make spans, so that it ends after them.
        tracer = await enter(
            tracing(
                live.now.zipkin_endpoint,
                settings.spring_application_name,
                live.now.tracing_sampling_probability,
                metrics.spans,
            )
        )
        waiting = await enter(waiting_rooms(live.now, table, metrics, tracer))
        tokens = await enter(_tokens(settings, environ, table, session, metrics))
        pool = await enter(UpstreamPool(live.now.proxy_keep_alive_seconds))
        uploads = Uploads(upload_limits_of(settings))
        tunnels = Tunnels(max_tunnels(settings), settings.websocket_idle_seconds, metrics)
        instances = Instances(table.services)
        tables = LiveTable(table)
        eureka = await enter(discovering(settings, metrics))
        if eureka is not None:
            eureka.on_change(instances.discover)
            eureka.on_change(sources.discover)

        context = Context(
            settings=live.now,
            tables=tables,
            rooms=waiting.rooms,
            hubs=waiting.lobby,
            authenticator=Authenticator(
                tokens.verifier,
                cookie_name=settings.jwt_cookie_name,
                stream_grace=settings.stream_token_grace_seconds,
                allowed_origin=acting(tables),
                on_token=metrics.token,
            ),
            forwarder=Forwarder(
                pool, instances, tunnels, metrics.upstream, uploads, settings.proxy_repeat_methods
            ),
            uploads=uploads,
            downloads=Downloads(download_limits_of(settings)),
            trusted=trusted_proxies(live.now),
            told=_told(live.now),
            metrics=metrics,
            spring_metrics=_spring_metrics(live.now, metrics, tables),
            security=security_headers(strict_transport=settings.server_forward_headers_strategy != "none")
            if settings.spring_environment
            else None,
            tracer=tracer,
            admissions=waiting.admissions,
            lag_ms=lambda: lag.milliseconds,
            checks=_checks(waiting.rooms, tokens.jwks, sources, eureka),
            refresh=sources.refresh,
            look=sources.look,
        )

        async def take(new: RouteTable) -> None:
            """Puts a reloaded table in force, rooms first: a gate must never name a room that isn't there."""
            before, now = live.now, live.follow(new)
            await waiting.provide(new, now)
            instances.replace(new.services)
            tokens.follow(new)
            pool.keep(now.proxy_keep_alive_seconds)
            tracer.sample(now.tracing_sampling_probability)
            if _proxies(now) != _proxies(before):
                context.trusted = trusted_proxies(now)
            context.told = _told(now)
            context.settings = now
            tables.replace(new)

        await enter(sources.running(take))
        public, management = _doors(context, _access_log(settings, log_writer))
        yield Gateway(public, management, context, waiting.lobby, tunnels, sources, eureka, waiting.redis_url)


@dataclass(frozen=True, slots=True)
class _Tokens:
    """What tokens are checked with; ``follow`` keeps it to what a Config Server says."""

    jwks: Jwks
    verifier: TokenVerifier
    follow: Callable[[RouteTable], None]


@contextlib.asynccontextmanager
async def _tokens(
    settings: Settings,
    environ: Mapping[str, str],
    table: RouteTable,
    session: aiohttp.ClientSession,
    metrics: Metrics,
) -> AsyncIterator[_Tokens]:
    """Keeps the keys up to date for as long as it lasts."""
    in_force = token_settings(settings, environ, table)
    jwks = Jwks(_source(in_force), in_force.algorithms, http_fetch(session), on_fetch=metrics.jwks_fetched)
    verifier = TokenVerifier(
        jwks,
        issuer=in_force.issuer,
        audience=in_force.audiences,
        user_type_claim=settings.jwt_user_type_claim,
    )

    def follow(new: RouteTable) -> None:
        nonlocal in_force
        wanted = token_settings(settings, environ, new)
        if wanted != in_force:
            in_force = wanted
            jwks.aim(_source(wanted), wanted.algorithms)
            verifier.expect(wanted.issuer, wanted.audiences)

    async with jwks.running():
        yield _Tokens(jwks, verifier, follow)


def _source(wanted: TokenSettings) -> str | IssuerLocation:
    """Where the keys come from: the address that is set, else what the issuer's document names."""
    if wanted.keys is not None:
        return wanted.keys
    return IssuerLocation(wanted.issuer) if wanted.issuer and is_address(wanted.issuer) else ""


def _checks(
    rooms: Rooms, jwks: Jwks, sources: RouteSources, eureka: Eureka | None
) -> dict[str, Callable[[], tuple[bool | str, dict[str, object]]]]:
    """Health of all that the gateway uses: whether it is up, or its status, and details without secrets."""
    checks: dict[str, Callable[[], tuple[bool | str, dict[str, object]]]] = {
        "redis": partial(_redis_health, rooms),
        "jwks": partial(_key_health, jwks),
        "routes": lambda: (not sources.faults, {"faults": list(sources.faults)}),
        "olderSystem": partial(_older_system_health, rooms),
    }
    if sources.config is not None:
        checks["configServer"] = partial(_config_health, sources, sources.config)
    if eureka is not None:
        checks["eureka"] = eureka.health
    return checks


def _spring_metrics(settings: Settings, metrics: Metrics, tables: LiveTable) -> SpringMetrics | None:
    if not settings.metrics_spring_names:
        return None
    tags = {"application": settings.spring_application_name} if settings.spring_environment else {}
    tags |= {re.sub(r"[^a-zA-Z0-9_]", "_", name): value for name, value in settings.metrics_tags}
    tags = {name: value for name, value in tags.items() if name not in OWN_LABELS}
    return SpringMetrics(metrics.registry, lambda: len(tables.now.table.routes), tags=tags)


def _proxies(settings: Settings) -> tuple[object, object]:
    return settings.trusted_proxies, settings.trusted_proxies_pattern


def _told(settings: Settings) -> frozenset[str]:
    """What services are told of the client."""
    told = frozenset({*settings.forwarded_headers, *([WHOLE_CHAIN] if settings.forwarded_for_chain else [])})
    return ALL if told == ALL else told


def _access_log(settings: Settings, writer: LineWriter | None) -> AccessLog:
    return AccessLog(
        writer,
        log_format=settings.log_format,
        user=settings.access_log_user,
        # Shared by the instances if they share the secret; else each has names of its own for users.
        key=(settings.identity_hmac_secret or secrets.token_hex()).encode(),
        service=settings.spring_application_name,
    )


def _redis_health(rooms: Rooms) -> tuple[bool | str, dict[str, object]]:
    """DOWN as the probe found it; UNKNOWN while Redis answers, but what happens in the rooms is not heard."""
    state = rooms.redis_state
    if state.away:
        return "DOWN", {"since": timestamp(state.away_since), "reason": state.away}
    details: dict[str, object] = {}
    if state.refuses:
        details = {"refusesWrites": state.refuses, "since": timestamp(state.refuses_since)}
    if rooms.refused_scripts:
        details["refusedScripts"] = rooms.refused_scripts
    if rooms.failing_scripts:
        details["failingScripts"] = rooms.failing_scripts
    if not rooms.subscription.listening.is_set():
        return False, details | {"reason": "events of the rooms are not heard"}
    return True, details


def _older_system_health(rooms: Rooms) -> tuple[bool, dict[str, object]]:
    """Whether an older system is followed, as this instance last heard. Nothing is wrong with that."""
    # There is no room while the gateway is not ready.
    following = next((room.following for room in rooms if room.name == DEFAULT_ROOM), None)
    details: dict[str, object] = {"following": following is not None}
    if following is not None:
        details |= following_object(following)
    return True, details


def _key_health(jwks: Jwks) -> tuple[bool | str, dict[str, object]]:
    """OUT_OF_SERVICE while an issuer that is to name its key set could never be read: no token can be checked."""
    status = jwks.status()
    if status.unread is not None:
        return "OUT_OF_SERVICE", {"keys": status.keys, "reason": status.unread}
    return jwks.keys_known, {"keys": status.keys}


def _config_health(sources: RouteSources, config: ConfigServer) -> tuple[bool | str, dict[str, object]]:
    """OUT_OF_SERVICE while nothing is served because of what the server answered."""
    status = config.status()
    routes = "Config Server" if status.gives_routes else "file"
    details: dict[str, object] = {
        "version": status.version,
        "label": status.label,
        "routes": "none" if sources.unready else routes,
        "failures": status.failures,
    }
    if status.reason:
        details["reason"] = status.reason
    details["ignored"] = status.ignored
    if sources.unready:
        return "OUT_OF_SERVICE", {"reason": sources.unready} | details
    return not status.failures, details


def _doors(context: Context, access_log: AccessLog) -> tuple[Door, Door | None]:
    """What answers on the public port, and on that of management. Own calls come before any route."""
    public = (*QueueApi(context).endpoints(), *StreamApi(context).endpoints(), *Docs(context).endpoints())
    actuator = tuple(
        endpoint
        for api in (
            Actuator(context),
            MetricsApi(context),
            GatewayApi(context),
            RoomsApi(context),
            RefreshApi(context),
        )
        for endpoint in api.endpoints()
    )
    if context.settings.management_server_port is None:
        return _door(context, access_log, Endpoints((*public, *actuator))), None
    return (
        _door(context, access_log, Endpoints(public)),
        _door(context, access_log, Endpoints(actuator), routed=False),
    )


def _door(context: Context, access_log: AccessLog, endpoints: Endpoints, *, routed: bool = True) -> Door:
    """The order of things. Around all of them stands the door, so that nothing leaves without a trace id and a line
    in the log."""
    finding = (
        # One canonical path for all that follows; whatever is ambiguous goes no further.
        locating(context, endpoints, describing(context, forwarding(context)) if routed else None),
        # Next, so that whatever refuses can be read by the page of another origin, and preflights need no token.
        crossing(context),
    )
    judging = (
        # Before any JWT work: that is what an overloaded instance can't afford.
        shedding(context),
        # The gate needs to know who; and a gated call needs a token even where a public rule matches.
        authenticating(context),
        # Last, because passing it renews a session, which only a request that goes on may do.
        gating(context),
    )
    return Door(context, access_log, finding, judging)
