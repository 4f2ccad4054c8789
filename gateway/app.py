"""The composition root: the gateway as an aiohttp application. The only module that knows every package.

``create_app`` lists the middlewares and the resources in their order, each with the reason for its place. A resource is
one ``cleanup_ctx`` generator below: it starts, stores itself in the application, and stops after all resources that
started later.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Final

import aiohttp
from aiohttp import web
from prometheus_client import CollectorRegistry

from gateway import forward_auth
from gateway.api import (
    desk,
    docs,
    draw,
    gateway_routes,
    history,
    invitations,
    pages,
    pass_keys,
    public_rooms,
    queue,
    refresh,
    room_acts,
    room_notice,
    room_report,
    rooms,
    services,
    stream,
    transfer,
)
from gateway.api.actuator import Actuator
from gateway.api.desk_stream import DESK_FEED, desk_feed
from gateway.api.draw import DRAWS, Draws
from gateway.api.endpoints import NAMESPACES, Endpoint, Endpoints, on_demand
from gateway.api.forwarding import forward
from gateway.api.metrics import MetricsApi
from gateway.api.queue_commands import SERVICE_COMMANDS, ServiceCommands
from gateway.api.service_calls import forward_to_service
from gateway.api.service_docs import handler_chooser
from gateway.auth.access import Authenticator
from gateway.auth.challenge import Challenges
from gateway.auth.invitations import Invitations
from gateway.auth.key_ring import KeyRing
from gateway.auth.operators import Operators
from gateway.auth.passes import Passes
from gateway.auth.visitors import VisitorCookies
from gateway.auth.wrong_tokens import WrongTokens
from gateway.composition.health import (
    config_health,
    key_health,
    older_system_health,
    redis_health,
    service_health,
)
from gateway.composition.limits import download_limits_of, limits_of, max_tunnels, upload_limits_of
from gateway.composition.live_settings import LiveSettings, trusted_proxies
from gateway.composition.observation import access_log_of, spring_metrics_of
from gateway.composition.operators import OperatorsFile
from gateway.composition.rooms import WaitingRooms, has_draws, waiting_rooms
from gateway.composition.route_sources import RouteSources
from gateway.composition.services import hosts_of_routes, watching_instances
from gateway.composition.signing_keys import signing_keys_of
from gateway.composition.tokens import Tokens, checking_tokens
from gateway.composition.tracing import otlp_of, resource_of, zipkin_of
from gateway.composition.visitor_secrets import VisitorSecrets, visitor_secrets_of
from gateway.context import (
    ADMISSIONS,
    AUTHENTICATOR,
    BREAKERS,
    CHALLENGES,
    CODE_GUESSES,
    CONFIGURATION,
    DESK_SESSIONS,
    DETACHED,
    DOWNLOADS,
    FORWARDER,
    HEALTH,
    HUBS,
    INSTANCES,
    INVITATIONS,
    LOOP_LAG,
    OBSERVERS,
    OPERATORS,
    PASSES,
    RATE_LIMITER,
    REFRESH,
    ROOMS,
    SESSIONS,
    SIGNING_KEYS,
    TRANSFERS,
    UNTRUSTED_PROXIES,
    UPLOADS,
    VISITORS,
    Configuration,
    Health,
    LiveTable,
    Observers,
    Refresh,
)
from gateway.discovery.eureka.client import Eureka, discovering
from gateway.fast_path.executor import FastPath
from gateway.middleware.access_log import access_log
from gateway.middleware.authentication import authentication
from gateway.middleware.cors import cors
from gateway.middleware.errors import errors
from gateway.middleware.gate import gate
from gateway.middleware.overload import overload, refuse_arrival
from gateway.middleware.resolve import RESOLVER, Resolver, resolve
from gateway.name_threads import NameResolver
from gateway.observability.export import tracing
from gateway.observability.logging import AccessLog, LineWriter
from gateway.observability.loop_lag import LoopLag
from gateway.observability.metrics import Metrics
from gateway.proxy.breakers import Breakers
from gateway.proxy.downloads import Downloads
from gateway.proxy.forward import Forwarder
from gateway.proxy.forwarded import ALL_FIELDS, WHOLE_CHAIN
from gateway.proxy.load_balancer import Instances
from gateway.proxy.name_lookups import Lookup, look_up
from gateway.proxy.pool import UpstreamPool
from gateway.proxy.security_headers import security_headers
from gateway.proxy.untrusted_proxies import UntrustedProxies
from gateway.proxy.uploads import Uploads
from gateway.proxy.websocket import Tunnels
from gateway.resilience.services import slow_shares
from gateway.routing.breakers import breaker_names
from gateway.routing.table import RouteTable
from gateway.server.arrivals import Arrivals
from gateway.server.detached_connections import DetachedConnections
from gateway.server.limits import SERVER_OPTIONS
from gateway.settings.model import Settings
from gateway.waiting_room.desk_sessions import DeskSessions
from gateway.waiting_room.rate_limiter import RateLimiter
from gateway.waiting_room.scripts import load_all
from gateway.waiting_room.sessions import SessionWatch
from gateway.waiting_room.transfers import TransferStore

SETTINGS: Final[web.AppKey[Settings]] = web.AppKey("settings", Settings)
"""The settings as read at the start. ``CONFIGURATION`` has the settings in force."""
ENVIRON: Final[web.AppKey[Mapping[str, str]]] = web.AppKey("environ", Mapping)
METRICS: Final[web.AppKey[Metrics]] = web.AppKey("metrics", Metrics)
ACCESS_LOG: Final[web.AppKey[AccessLog]] = web.AppKey("access_log", AccessLog)
ARRIVALS: Final[web.AppKey[Arrivals]] = web.AppKey("arrivals", Arrivals)
"""The queue in which requests of new users wait."""
CLIENT: Final[web.AppKey[aiohttp.ClientSession]] = web.AppKey("client", aiohttp.ClientSession)
ROUTE_SOURCES: Final[web.AppKey[RouteSources]] = web.AppKey("route_sources", RouteSources)
OPERATORS_FILE: Final[web.AppKey[OperatorsFile]] = web.AppKey("operators_file", OperatorsFile)
"""Absent unless the settings name such a file."""
LIVE_SETTINGS: Final[web.AppKey[LiveSettings]] = web.AppKey("live_settings", LiveSettings)
WAITING_ROOMS: Final[web.AppKey[WaitingRooms]] = web.AppKey("waiting_rooms", WaitingRooms)
KEY_RING: Final[web.AppKey[KeyRing]] = web.AppKey("key_ring", KeyRing)
"""The keys with which this gateway signs."""
VISITOR_SECRETS: Final[web.AppKey[VisitorSecrets]] = web.AppKey("visitor_secrets", VisitorSecrets)
TOKENS: Final[web.AppKey[Tokens]] = web.AppKey("tokens", Tokens)
POOL: Final[web.AppKey[UpstreamPool]] = web.AppKey("pool", UpstreamPool)
LOOKUP: Final[web.AppKey[Lookup]] = web.AppKey("lookup")
"""How names of services are looked up."""
TUNNELS: Final[web.AppKey[Tunnels]] = web.AppKey("tunnels", Tunnels)
FAST_PATH: Final[web.AppKey[FastPath]] = web.AppKey("fast_path", FastPath)
"""Absent on the management port, and if the settings turn it off."""
EUREKA: Final[web.AppKey[Eureka]] = web.AppKey("eureka", Eureka)
"""Absent unless the settings name Eureka servers."""


def create_app(
    settings: Settings,
    environ: Mapping[str, str] | None = None,
    *,
    registry: CollectorRegistry | None = None,
    log_writer: LineWriter | None = None,
) -> web.Application:
    """Creates the gateway. ``environ`` fills the ``${…}`` of the route file; by default it is the environment of the
    process.

    Startup raises RouteFileError if the route file or the file of operators has errors, ConfigUnavailable if a Config
    Server that is not optional does not answer, and EmbeddedRedisError if the embedded Redis can't be started. If an
    optional Config Server answers with unusable content, the gateway starts but serves nothing: see ``RouteSources``.
    """
    endpoints = public_endpoints(settings)
    if settings.management_server_port is None:
        endpoints = (*endpoints, *management_endpoints(settings))
    namespaces: tuple[str, ...] = NAMESPACES
    if settings.desk:
        endpoints, namespaces = (
            (*endpoints, *desk.endpoints(management_endpoints(settings))),
            (*NAMESPACES, desk.PATH),
        )
    resolver = Resolver(Endpoints(endpoints, namespaces), forward, handler_chooser(forward_to_service))
    app = _application(settings, resolver, endpoints)
    app[ENVIRON] = os.environ if environ is None else environ
    app[METRICS] = Metrics(registry or CollectorRegistry())
    app[ACCESS_LOG] = access_log_of(settings, log_writer)
    app[HEALTH] = Health({})
    app[LOOKUP] = look_up
    app[KEY_RING] = KeyRing()
    app[INVITATIONS] = Invitations(settings.invite_secrets)
    if settings.pass_:
        app[PASSES] = Passes(app[KEY_RING], settings.pass_issuer or settings.spring_application_name)
    app[CODE_GUESSES] = WrongTokens()
    app[CHALLENGES] = Challenges(app[METRICS].challenge)
    app[DRAWS] = Draws()
    app[DESK_FEED] = desk_feed(app)
    app[desk.DESK_ACTS] = desk.acts(management_endpoints(settings))
    app[VISITORS] = VisitorCookies(on_cookie=app[METRICS].visitor_cookie)
    app[UNTRUSTED_PROXIES] = UntrustedProxies()
    app[UPLOADS] = Uploads(upload_limits_of(settings))
    app[DOWNLOADS] = Downloads(download_limits_of(settings))
    app.cleanup_ctx.extend(
        [
            client_session,
            # Before everything that depends on settings, because a Config Server may provide some of them.
            route_sources,
            operators,
            loop_lag,
            # Before everything that creates spans, so that it stops after them.
            observers,
            redis_and_rooms,
            rate_limiter,
            sessions,
            signing_keys,
            visitor_secrets,
            challenges,
            transfers,
            desk_sessions,
            key_set,
            upstreams,
            eureka,
            # Last: a new table changes resources, which must exist by then.
            reloading,
        ]
    )
    app.on_shutdown.append(end_streams)
    if settings.fast_path:
        app[FAST_PATH] = FastPath(app)
    return app


def create_management_app(app: web.Application) -> web.Application:
    """Creates the application of the management port. It shares the resources of ``app``, which must start first and
    stop last."""
    endpoints = management_endpoints(app[SETTINGS])
    endpoints = (*endpoints, *desk.endpoints(endpoints))
    resolver = Resolver(Endpoints(endpoints, (*NAMESPACES, desk.PATH)), forward, None)
    management = _application(app[SETTINGS], resolver, endpoints)
    # The server of this port counts with it from its start on.
    management[METRICS] = app[METRICS]

    async def share(_: web.Application) -> None:
        management[CONFIGURATION], management[OBSERVERS] = app[CONFIGURATION], app[OBSERVERS]
        management[INSTANCES], management[BREAKERS] = app[INSTANCES], app[BREAKERS]
        management[LOOP_LAG], management[ROOMS] = app[LOOP_LAG], app[ROOMS]
        management[AUTHENTICATOR], management[UPLOADS] = app[AUTHENTICATOR], app[UPLOADS]
        management[HEALTH], management[REFRESH] = app[HEALTH], app[REFRESH]
        management[INVITATIONS] = app[INVITATIONS]
        management[DESK_SESSIONS], management[DESK_FEED] = app[DESK_SESSIONS], app[DESK_FEED]
        management[desk.DESK_ACTS] = app[desk.DESK_ACTS]
        management[UNTRUSTED_PROXIES], management[OPERATORS] = app[UNTRUSTED_PROXIES], app[OPERATORS]

    management.on_startup.append(share)
    return management


def public_endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """The gateway's own endpoints on the public port."""
    return (
        *queue.endpoints(settings),
        *history.endpoints(settings),
        *stream.endpoints(settings),
        *transfer.endpoints(settings),
        *pages.endpoints(settings),
        *pass_keys.endpoints(settings),
        *public_rooms.endpoints(settings),
        *draw.endpoints(settings),
        *forward_auth.endpoints(settings),
        *docs.endpoints(settings),
    )


def management_endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """The endpoints for operators and monitoring."""
    return (
        *Actuator().endpoints(settings),
        *MetricsApi().endpoints(settings),
        *gateway_routes.endpoints(settings),
        *services.endpoints(settings),
        *rooms.endpoints(settings),
        *room_acts.endpoints(settings),
        *room_notice.endpoints(settings),
        *room_report.endpoints(settings),
        *draw.operator_endpoints(settings),
        *invitations.endpoints(settings),
        *refresh.endpoints(settings),
    )


def _application(settings: Settings, resolver: Resolver, endpoints: tuple[Endpoint, ...]) -> web.Application:
    app = web.Application(
        middlewares=[
            # Outermost, so that every answer has a trace id and a line in the log.
            access_log,
            errors,
            # All middlewares below see one canonical path. An ambiguous request is refused here.
            resolve,
            # Next, so that a page of another origin can read every refusal, and preflights need no token.
            cors,
            # Before any work on tokens, which an overloaded instance can't afford.
            overload,
            # The gate needs to know the user. A gated call needs a token even where a public rule matches.
            authentication,
            # Last: passing the gate renews a session, so only a request that will be served may reach it.
            gate,
        ],
        handler_args=SERVER_OPTIONS,
    )
    app[SETTINGS], app[RESOLVER] = settings, resolver
    app[DETACHED] = DetachedConnections(limits_of(settings))
    app[ARRIVALS] = Arrivals(settings.overload_lag_ms / 1000, refuse_arrival(app, resolver))
    app.add_routes([route for endpoint in endpoints for route in endpoint.routes()])
    # Every request that is not for one of the gateway's own endpoints goes to a service, whatever its method.
    app.router.add_route("*", "/{path:(?s:.*)}", forward, expect_handler=on_demand)
    return app


async def client_session(app: web.Application) -> AsyncIterator[None]:
    """The HTTP client for key sets and Config Servers. Calls to services use a pool of their own."""
    connector, cookies = aiohttp.TCPConnector(resolver=NameResolver()), aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(connector=connector, cookie_jar=cookies, trust_env=False) as session:
        app[CLIENT] = session
        yield


async def route_sources(app: web.Application) -> AsyncIterator[None]:
    """Reads the route file and the Config Server for the first time, and creates the configuration from them."""
    settings, environ = app[SETTINGS], app[ENVIRON]
    sources = await RouteSources.load(settings, environ, app[CLIENT], app[METRICS])
    live = LiveSettings(settings, environ, sources.first)
    app[ROUTE_SOURCES], app[LIVE_SETTINGS] = sources, live
    app[CONFIGURATION] = Configuration(
        live.now,
        LiveTable(sources.first),
        trusted_proxies(live.now),
        _forwarded_fields(live.now),
        security_headers(strict_transport=settings.server_forward_headers_strategy != "none")
        if settings.spring_environment
        else None,
    )
    app[HEALTH].checks["routes"] = lambda: (not sources.issues, {"faults": list(sources.issues)})
    if sources.config is not None:
        app[HEALTH].checks["configServer"] = partial(config_health, sources, sources.config)
    app[REFRESH] = Refresh(sources.refresh, sources.poll_config_server)
    yield


async def operators(app: web.Application) -> AsyncIterator[None]:
    """The operators: that of ``MANAGEMENT_TOKEN``, and those of ``OPERATORS_FILE``."""
    configuration = app[CONFIGURATION]
    app[OPERATORS] = Operators(
        lambda: configuration.settings.management_token, app[METRICS].operator_token_rejected
    )
    path = app[SETTINGS].operators_file
    if path is None:
        yield
        return
    file = app[OPERATORS_FILE] = OperatorsFile(path, app[OPERATORS])
    async with file.running():
        app[HEALTH].checks["operators"] = lambda: (not file.issues, {"faults": list(file.issues)})
        yield


async def loop_lag(app: web.Application) -> AsyncIterator[None]:
    """Measures continuously how far the event loop is behind."""
    async with LoopLag(app[METRICS].loop_lag) as app[LOOP_LAG]:
        yield


async def observers(app: web.Application) -> AsyncIterator[None]:
    """Metrics, access log, and the export of spans."""
    settings, metrics = app[CONFIGURATION].settings, app[METRICS]
    async with tracing(
        zipkin_of(settings),
        otlp_of(settings),
        resource_of(app[SETTINGS]),
        settings.tracing_sampling_probability,
        metrics.spans,
    ) as tracer:
        tables = app[CONFIGURATION].tables
        spring = spring_metrics_of(settings, metrics, lambda: len(tables.current.table.routes))
        app[OBSERVERS] = Observers(metrics, tracer, app[ACCESS_LOG], spring)
        yield


async def redis_and_rooms(app: web.Application) -> AsyncIterator[None]:
    """Redis, the rooms, and the streams of waiting users."""
    configuration = app[CONFIGURATION]
    async with waiting_rooms(
        configuration.settings,
        configuration.tables.current.table,
        app[METRICS],
        app[OBSERVERS].tracer,
        app.get(PASSES),
        lambda: app[LOOP_LAG].milliseconds / 1000,
    ) as waiting:
        app[WAITING_ROOMS] = waiting
        app[ROOMS], app[HUBS], app[ADMISSIONS] = waiting.rooms, waiting.hubs, waiting.admissions
        app[SERVICE_COMMANDS] = ServiceCommands(waiting.rooms, app[METRICS])
        app[HEALTH].checks["redis"] = partial(redis_health, waiting.rooms)
        app[HEALTH].checks["olderSystem"] = partial(older_system_health, waiting.rooms)
        yield


async def rate_limiter(app: web.Application) -> AsyncIterator[None]:
    """The limits of routes' rates, shared with the other instances through the Redis of the rooms."""
    redis, prefix = app[WAITING_ROOMS].redis, app[SETTINGS].redis_key_prefix
    limiter = app[RATE_LIMITER] = RateLimiter(redis, load_all(), prefix, app[METRICS].on_call)
    async with limiter.running():
        yield


async def sessions(app: web.Application) -> AsyncIterator[None]:
    """Watches the sessions that have let WebSockets in, which end with them."""
    watch = app[SESSIONS] = SessionWatch(app[ROOMS])
    async with watch.running():
        yield


async def signing_keys(app: web.Application) -> AsyncIterator[None]:
    """The keys with which the instances sign, shared through the Redis of the rooms."""
    waiting, settings = app[WAITING_ROOMS], app[SETTINGS]
    table = app[CONFIGURATION].tables.current.table
    async with signing_keys_of(
        app[KEY_RING], waiting.redis, settings, app[METRICS].on_call, needed=has_draws(table)
    ) as keys:
        app[SIGNING_KEYS] = keys
        yield


async def visitor_secrets(app: web.Application) -> AsyncIterator[None]:
    """The secrets that sign visitors' cookies. Without a setting, instances share one through the Redis of the
    rooms."""
    waiting, settings = app[WAITING_ROOMS], app[SETTINGS]
    async with visitor_secrets_of(app[VISITORS], waiting.redis, settings, app[METRICS].on_call) as app[
        VISITOR_SECRETS
    ]:
        if app[CONFIGURATION].tables.current.table.visitor_rooms:
            await app[VISITOR_SECRETS].need()
        yield


async def challenges(app: web.Application) -> AsyncIterator[None]:
    """The outside services that are asked about visitors."""
    async with app[CHALLENGES].running():
        yield


async def transfers(app: web.Application) -> AsyncIterator[None]:
    """The codes with which visitors take places to other devices."""
    store = TransferStore(
        app[WAITING_ROOMS].redis, load_all(), app[SETTINGS].redis_key_prefix, observe=app[METRICS].on_call
    )
    app[TRANSFERS] = store
    yield
    await store.close()


async def desk_sessions(app: web.Application) -> AsyncIterator[None]:
    """The sessions of the operator's desk, shared with the other instances through the Redis of the rooms."""
    redis, prefix = app[WAITING_ROOMS].redis, app[SETTINGS].redis_key_prefix
    store = app[DESK_SESSIONS] = DeskSessions(redis, load_all(), prefix, observe=app[METRICS].on_call)
    yield
    await store.close()


async def key_set(app: web.Application) -> AsyncIterator[None]:
    """The keys of the authorization server, kept up to date, and the authenticator that uses them."""
    settings, tables = app[SETTINGS], app[CONFIGURATION].tables
    async with checking_tokens(
        settings, app[ENVIRON], tables.current.table, app[CLIENT], app[METRICS]
    ) as tokens:
        app[TOKENS] = tokens
        app[AUTHENTICATOR] = Authenticator(
            tokens.verifier,
            cookie_name=settings.jwt_cookie_name,
            cookie_everywhere=settings.jwt_cookie_calls == "all",
            stream_grace=settings.stream_token_grace_seconds,
            on_token=app[METRICS].token,
        )
        app[HEALTH].checks["jwks"] = partial(key_health, tokens.jwks)
        yield


async def upstreams(app: web.Application) -> AsyncIterator[None]:
    """The connections to services, and the forwarder that uses them."""
    settings, metrics = app[SETTINGS], app[METRICS]
    async with UpstreamPool(app[CONFIGURATION].settings.proxy_keep_alive_seconds) as pool:
        app[POOL] = pool
        table = app[CONFIGURATION].tables.current.table
        instances = app[INSTANCES] = Instances(load=pool.in_use, observer=metrics)
        instances.replace(table.services, table.service_policies, hosts_of_routes(table))
        app[TUNNELS] = Tunnels(max_tunnels(settings), settings.websocket_idle_seconds, metrics)
        app[BREAKERS] = Breakers(metrics)
        app[FORWARDER] = Forwarder(
            pool,
            instances,
            app[TUNNELS],
            metrics.upstream,
            app[UPLOADS],
            settings.proxy_repeat_methods,
            metrics,
            app[BREAKERS],
        )
        _limit_services(app, table)
        app[HEALTH].checks["services"] = partial(service_health, instances)
        tables = app[CONFIGURATION].tables
        async with watching_instances(
            instances, settings, metrics, app[LOOKUP], lambda: tables.current.table
        ):
            yield


async def eureka(app: web.Application) -> AsyncIterator[None]:
    """Eureka, if the settings name it: requests are balanced over its instances, and its services may get routes."""
    async with discovering(app[SETTINGS], app[METRICS]) as client:
        if client is not None:
            app[EUREKA] = client
            client.on_change(app[INSTANCES].discover)
            client.on_change(app[ROUTE_SOURCES].discover)
            app[HEALTH].checks["eureka"] = client.health
        yield


async def reloading(app: web.Application) -> AsyncIterator[None]:
    """Puts each new route table in force."""
    async with app[ROUTE_SOURCES].running(partial(_put_in_force, app)):
        yield


async def end_streams(app: web.Application) -> None:
    """Ends streams and WebSockets at once. ``serve`` has already ended most of them during the grace time."""
    close_desk(app)
    await app[DRAWS].close()
    await app[WAITING_ROOMS].hubs.drain(0.0)
    await app[TUNNELS].drain(0.0)


def close_desk(app: web.Application) -> None:
    """Ends the streams of the operator's desk, and takes no more of them."""
    app[DESK_FEED].close()


async def _put_in_force(app: web.Application, new: RouteTable) -> None:
    """Puts a reloaded table in force. Rooms come first, because a gate must never name a room that does not exist."""
    configuration, live = app[CONFIGURATION], app[LIVE_SETTINGS]
    before, now = live.now, live.follow(new)
    await app[WAITING_ROOMS].provide(new, now)
    if has_draws(new):
        app[SIGNING_KEYS].need()
    if new.visitor_rooms:
        await app[VISITOR_SECRETS].need()
    app[INSTANCES].replace(new.services, new.service_policies, hosts_of_routes(new))
    _limit_services(app, new)
    app[TOKENS].follow(new)
    app[POOL].set_idle_seconds(now.proxy_keep_alive_seconds)
    app[OBSERVERS].tracer.sample(now.tracing_sampling_probability)
    if _proxies(now) != _proxies(before):
        configuration.trusted = trusted_proxies(now)
    configuration.forwarded_fields = _forwarded_fields(now)
    configuration.settings = now
    configuration.tables.replace(new)
    app[FORWARDER].keep_routes({route.id for route in new.routes}, breaker_names(new.routes))


def _limit_services(app: web.Application, table: RouteTable) -> None:
    """Bounds what each service gets at a time, and what slow clients may hold of that."""
    app[FORWARDER].limit_services(table.service_policies)
    shares = slow_shares(table.service_policies)
    app[UPLOADS].limit_services(shares)
    app[DOWNLOADS].limit_services(shares)


def _proxies(settings: Settings) -> tuple[object, object]:
    return settings.trusted_proxies, settings.trusted_proxies_pattern


def _forwarded_fields(settings: Settings) -> frozenset[str]:
    """What the gateway tells services about the client."""
    fields = frozenset(
        {*settings.forwarded_headers, *([WHOLE_CHAIN] if settings.forwarded_for_chain else [])}
    )
    return ALL_FIELDS if fields == ALL_FIELDS else fields
