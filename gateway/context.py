"""What a request carries through the middlewares, and what the application holds for middlewares and handlers.

``CONTEXT`` is the key of the first on a request, the other keys are the application's. Each resource of the application
is put there by the ``cleanup_ctx`` generator in ``app`` that owns it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from aiohttp import web

from gateway.auth.access import Access, Authenticator
from gateway.auth.tokens import Principal
from gateway.errors import GatewayError
from gateway.observability.logging import AccessLog
from gateway.observability.loop_lag import LoopLag
from gateway.observability.metrics import Metrics
from gateway.observability.spans import Admissions, Tracer
from gateway.observability.spring_names import SpringMetrics
from gateway.observability.tracing import TraceContext
from gateway.proxy.downloads import Downloads
from gateway.proxy.forward import Forwarder
from gateway.proxy.forwarded import Origin, TrustedProxies
from gateway.proxy.security_headers import SecurityHeaders
from gateway.proxy.untrusted_proxies import UntrustedProxies
from gateway.proxy.uploads import Uploads
from gateway.routing.cors import CorsRule, Headers
from gateway.routing.gates import GateRule
from gateway.routing.path import Target
from gateway.routing.predicates import Method, Path
from gateway.routing.table import Match, RouteTable
from gateway.server.detached import DetachedConnections
from gateway.settings.model import Settings
from gateway.sse.hub import Hub
from gateway.waiting_room.rooms import Rooms

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Choose = Callable[[str, Match, str], Handler]
"""What answers a call that a route matches, by method, match and canonical path."""

_NO_PARAMETERS: Final[Mapping[str, str]] = {}
_MOST_REMEMBERED: Final = 4096
_LONGEST_REMEMBERED: Final = 256


class AccountedCall:
    """What log, metrics and spans tell of a call once it has been answered. ``RequestContext`` says what each is."""

    __slots__ = ("began", "client", "label", "match", "outcome", "principal", "recorded", "target", "trace")

    trace: TraceContext
    client: str
    began: float
    target: Target | None
    match: Match | None
    principal: Principal | None
    label: str
    recorded: bool
    outcome: str


class RequestContext(AccountedCall):
    """One request on its way through the middlewares. A plain class with slots: one is made for each request."""

    __slots__ = (
        "access",
        "auth",
        "cors",
        "cors_enabled",
        "cors_headers",
        "detached",
        "forward",
        "handler",
        "locale",
        "origin",
        "parameters",
        "refusal",
        "renews_only",
        "room",
        "security",
        "sheddable",
        "streams",
    )

    def __init__(self, trace: TraceContext, locale: str, client: str) -> None:
        """``client`` is the client's address, as far as trusted proxies vouch for it."""
        self.trace = trace
        """The request as a span of its trace."""
        self.locale = locale
        self.client = client
        self.origin: Origin | None = None
        """How the client came, as trusted proxies say; None if the peer is none of them."""
        self.began = time.perf_counter()
        self.target: Target | None = None
        """The canonical target; None until the request is resolved."""
        self.access: Access | None = None
        """The public rules this request is served under, whatever is loaded meanwhile."""
        self.handler: Handler | None = None
        """What aiohttp's router must have found: an endpoint of the gateway's own, or the catch-all."""
        self.forward: Handler | None = None
        """What answers a call to a service."""
        self.refusal: GatewayError | None = None
        """The error to answer with once the caller is known, instead of calling ``handler``."""
        self.match: Match | None = None
        self.cors_enabled = True
        """Whether pages of other origins may call this; false for what is for operators."""
        self.cors: CorsRule | None = None
        """What such pages may do here; None if no rule says so, and browsers allow them nothing."""
        self.cors_headers: Headers = ()
        """The CORS headers of the answer, whoever answers."""
        self.security: SecurityHeaders | None = None
        """Headers for browsers that the answer gets if it lacks them; None: none are added."""
        self.principal: Principal | None = None
        self.room: str | None = None
        """The room whose gate the call passes."""
        self.renews_only = False
        """Whether the gate only renews a session and refuses no caller."""
        self.sheddable = False
        """Whether an overloaded instance refuses this call, because it brings a new user."""
        self.streams = False
        """Whether the answer is a stream of server-sent events."""
        self.auth = "token"
        """``token``, ``nothing`` or ``management``."""
        self.parameters = _NO_PARAMETERS
        """Path parameters of an endpoint of the gateway's own."""
        self.label = "-"
        """For logs and metrics: a route id or the name of an endpoint, never a path."""
        self.recorded = False
        """Whether the request's span is noted when the request has been answered."""
        self.detached = False
        """Whether the answer goes on without aiohttp; then it is counted and logged when it ends."""
        self.outcome = ""
        """The code of the error that was answered, if one was."""

    @property
    def trace_id(self) -> str:
        """The trace's id for the client, the log and Zipkin."""
        return self.trace.trace_id


class ResolvedCall(NamedTuple):
    """What a call to a service was resolved to."""

    target: Target
    match: Match
    forward: Handler
    gate: GateRule | None
    cors: CorsRule | None = None


class _PublicCalls:
    """All public calls of a table as one rule: the table finds them by their path instead of asking each."""

    __slots__ = ("opens",)

    def __init__(self, table: RouteTable) -> None:
        self.opens = table.is_public


class Serving(NamedTuple):
    """A route table, and what is derived from it."""

    table: RouteTable
    access: Access
    resolved: dict[tuple[str, str], ResolvedCall]
    """Calls resolved before, by method and raw target, where these two alone decide."""
    by_target_alone: bool
    """Whether no route looks at anything but path and method."""

    def remember(self, method: str, raw: str, call: ResolvedCall) -> None:
        """Spares the next such call the search, if the result can't depend on anything else.

        Bounded in number and length: a client that makes up targets only empties it. Targets with a query are not
        kept, since they may hold a secret.
        """
        filters = call.match.route.filters
        plain = self.by_target_alone and "?" not in raw and all(each.by_path for each in filters)
        if plain and len(raw) <= _LONGEST_REMEMBERED:
            if len(self.resolved) >= _MOST_REMEMBERED:
                self.resolved.clear()
            self.resolved[method, raw] = call


class LiveTable:
    """The route table in force. A reload swaps it, and all that is derived from it, in one assignment."""

    def __init__(self, table: RouteTable) -> None:
        self.replace(table)

    def replace(self, table: RouteTable) -> None:
        """Puts ``table`` in force. Requests under way keep the one they began with."""
        predicates = (predicate for route in table.routes for predicate in route.predicates)
        alone = all(isinstance(predicate, Path | Method) for predicate in predicates)
        self.now = Serving(table, Access((_PublicCalls(table),)), {}, alone)


@dataclass(slots=True)
class Configuration:
    """What is in force at the moment. A reload, or a Config Server's answer, replaces its parts."""

    settings: Settings
    tables: LiveTable
    trusted: TrustedProxies
    told: frozenset[str]
    """What services are told of the client: see ``forwarded_headers``."""
    security: SecurityHeaders | None = None
    """Headers that all answers get which lack them, in a Spring environment."""


@dataclass(frozen=True, slots=True)
class Observers:
    """What counts, measures, traces and logs."""

    metrics: Metrics
    tracer: Tracer
    access_log: AccessLog
    spring_metrics: SpringMetrics | None = None
    """The same under Spring's names, if the settings want them."""


HealthCheck = Callable[[], tuple[bool | str, dict[str, object]]]
"""Whether a component is up, or its status, and details without secrets."""


@dataclass(slots=True)
class Health:
    """The health of each component, and whether the instance is going away."""

    checks: dict[str, HealthCheck]
    draining: bool = False


@dataclass(frozen=True, slots=True)
class Refresh:
    """How operators have routes and configuration read anew."""

    refresh: Callable[[], Awaitable[tuple[str, ...]]]
    """Reads both now; returns the names of what changed, or raises ConfigError."""
    look: Callable[[], None]
    """Has the Config Server asked as soon as may be."""


CONTEXT: Final[web.RequestKey[RequestContext]] = web.RequestKey("context", RequestContext)

CONFIGURATION: Final[web.AppKey[Configuration]] = web.AppKey("configuration", Configuration)
OBSERVERS: Final[web.AppKey[Observers]] = web.AppKey("observers", Observers)
LOOP_LAG: Final[web.AppKey[LoopLag]] = web.AppKey("loop_lag", LoopLag)
ROOMS: Final[web.AppKey[Rooms]] = web.AppKey("rooms", Rooms)
HUBS: Final[web.AppKey[Mapping[str, Hub]]] = web.AppKey("hubs", Mapping)
DETACHED: Final[web.AppKey[DetachedConnections]] = web.AppKey("detached", DetachedConnections)
"""Connections of open streams."""
ADMISSIONS: Final[web.AppKey[Admissions]] = web.AppKey("admissions", Admissions)
AUTHENTICATOR: Final[web.AppKey[Authenticator]] = web.AppKey("authenticator", Authenticator)
FORWARDER: Final[web.AppKey[Forwarder]] = web.AppKey("forwarder", Forwarder)
UPLOADS: Final[web.AppKey[Uploads]] = web.AppKey("uploads", Uploads)
DOWNLOADS: Final[web.AppKey[Downloads]] = web.AppKey("downloads", Downloads)
UNTRUSTED_PROXIES: Final[web.AppKey[UntrustedProxies]] = web.AppKey("untrusted_proxies", UntrustedProxies)
HEALTH: Final[web.AppKey[Health]] = web.AppKey("health", Health)
REFRESH: Final[web.AppKey[Refresh]] = web.AppKey("refresh", Refresh)
