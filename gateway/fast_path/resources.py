"""The resources that the fast path shares with the middlewares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from aiohttp import web

from gateway.api.queue_commands import SERVICE_COMMANDS, ServiceCommands
from gateway.auth.access import Authenticator
from gateway.auth.invitations import Invitations
from gateway.auth.passes import Passes
from gateway.auth.visitors import VisitorCookies
from gateway.context import (
    ADMISSIONS,
    AUTHENTICATOR,
    CONFIGURATION,
    DETACHED,
    DOWNLOADS,
    FORWARDER,
    HUBS,
    INVITATIONS,
    LOOP_LAG,
    OBSERVERS,
    PASSES,
    RATE_LIMITER,
    ROOMS,
    SIGNING_KEYS,
    UNTRUSTED_PROXIES,
    VISITORS,
    Configuration,
    Observers,
    PublishedKeys,
)
from gateway.middleware.resolve import RESOLVER, Resolver
from gateway.observability.loop_lag import LoopLag
from gateway.observability.spans import Admissions
from gateway.proxy.downloads import Downloads
from gateway.proxy.forward import Forwarder
from gateway.proxy.untrusted_proxies import UntrustedProxies
from gateway.server.detached_connections import DetachedConnections
from gateway.sse.hub import Hub
from gateway.waiting_room.rate_limiter import RateLimiter
from gateway.waiting_room.rooms import Rooms


class Resources(NamedTuple):
    """The resources that a request needs."""

    app: web.Application
    resolver: Resolver
    configuration: Configuration
    observers: Observers
    untrusted: UntrustedProxies
    authenticator: Authenticator
    rooms: Rooms
    loop_lag: LoopLag
    admissions: Admissions
    forwarder: Forwarder
    downloads: Downloads
    hubs: Mapping[str, Hub]
    detached: DetachedConnections
    passes: Passes | None
    visitors: VisitorCookies
    invitations: Invitations
    limiter: RateLimiter
    signing_keys: PublishedKeys
    service_commands: ServiceCommands


def resources_of(app: web.Application) -> Resources:
    """The resources of ``app``, which must have started."""
    return Resources(
        app,
        app[RESOLVER],
        app[CONFIGURATION],
        app[OBSERVERS],
        app[UNTRUSTED_PROXIES],
        app[AUTHENTICATOR],
        app[ROOMS],
        app[LOOP_LAG],
        app[ADMISSIONS],
        app[FORWARDER],
        app[DOWNLOADS],
        app[HUBS],
        app[DETACHED],
        app.get(PASSES),
        app[VISITORS],
        app[INVITATIONS],
        app[RATE_LIMITER],
        app[SIGNING_KEYS],
        app[SERVICE_COMMANDS],
    )
