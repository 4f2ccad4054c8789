"""The request context that middlewares pass on, and the application's keys for middlewares and handlers.

``CONTEXT`` is the key of the request context; the other keys belong to the application. The
``cleanup_ctx`` generator in ``app`` that owns a resource sets its key.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from aiohttp import web

from gateway.auth.access import Access, Authenticator
from gateway.auth.challenge import Challenges
from gateway.auth.claims import NO_CLAIMS
from gateway.auth.invitations import Invitations
from gateway.auth.operators import Operator, Operators
from gateway.auth.passes import Pass, Passes, superseded
from gateway.auth.tokens import Principal
from gateway.auth.visitors import Identity, VisitorCookies, visitor_key
from gateway.auth.wrong_tokens import WrongTokens
from gateway.errors import GatewayError
from gateway.observability.logging import AccessLog
from gateway.observability.loop_lag import LoopLag
from gateway.observability.metrics import Metrics
from gateway.observability.spans import Admissions, Tracer
from gateway.observability.spring_names import SpringMetrics
from gateway.observability.tracing import TraceContext
from gateway.proxy.breakers import Breakers
from gateway.proxy.downloads import Downloads
from gateway.proxy.forward import Forwarder
from gateway.proxy.forwarded import Origin, TrustedProxies
from gateway.proxy.load_balancer import Instances
from gateway.proxy.security_headers import SecurityHeaders
from gateway.proxy.untrusted_proxies import UntrustedProxies
from gateway.proxy.uploads import Uploads
from gateway.routing.callers import Bypass, bypass_of
from gateway.routing.cors import CorsRule, Headers
from gateway.routing.gates import GateRule, RoomPage
from gateway.routing.path import Target
from gateway.routing.predicates import Method, Path
from gateway.routing.table import RouteMatch, RouteTable
from gateway.server.detached_connections import DetachedConnections
from gateway.settings.model import Settings
from gateway.sse.hub import Hub
from gateway.waiting_room.desk_sessions import DeskSessions
from gateway.waiting_room.rate_limiter import RateLimiter
from gateway.waiting_room.rooms import Rooms
from gateway.waiting_room.sessions import SessionWatch
from gateway.waiting_room.transfers import TransferStore

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ChooseHandler = Callable[[str, RouteMatch, str], Handler]
"""Chooses the handler of a call that a route matches, by method, match and canonical path."""

_NO_PARAMETERS: Final[Mapping[str, str]] = {}
_MAX_CACHED_CALLS: Final = 4096
_MAX_CACHED_TARGET_LENGTH: Final = 256


class AccountedCall:
    """What log, metrics and spans record about an answered call. ``RequestContext`` explains each attribute."""

    __slots__ = (
        "began",
        "client",
        "label",
        "match",
        "outcome",
        "principal",
        "recorded",
        "target",
        "trace",
        "visitor",
    )

    trace: TraceContext
    client: str
    began: float
    target: Target | None
    match: RouteMatch | None
    principal: Principal | None
    visitor: str | None
    label: str
    recorded: bool
    outcome: str


class RequestContext(AccountedCall):
    """The state of one request in the middlewares. A plain class with slots, because one is created for each
    request."""

    __slots__ = (
        "access",
        "as_page",
        "auth",
        "bypasses",
        "challenged",
        "cookies",
        "cors",
        "cors_enabled",
        "cors_headers",
        "described",
        "detached",
        "forward",
        "handler",
        "identity",
        "languages",
        "limit_headers",
        "lines_up",
        "locale",
        "may_reopen_claim",
        "origin",
        "outlives",
        "page",
        "parameters",
        "place_is_enough",
        "queue_pass",
        "refusal",
        "renews_only",
        "room",
        "secure",
        "security",
        "session_user",
        "sheddable",
        "streams",
        "visitor_cookie",
        "visitor_to_move",
    )

    def __init__(self, trace: TraceContext, locale: str, client: str) -> None:  # noqa: PLR0915 - one line a field
        """``client`` is the client's address, as far as trusted proxies vouch for it."""
        self.trace = trace
        """The request as a span of its trace."""
        self.locale = locale
        self.client = client
        self.languages = locale
        """What the client asks for, as in ``Accept-Language``."""
        self.origin: Origin | None = None
        """How the client reached the first proxy, as trusted proxies report it; None if the peer is not a trusted
        proxy."""
        self.began = time.perf_counter()
        self.target: Target | None = None
        """The canonical target; None until the request is resolved."""
        self.access: Access | None = None
        """The route table of this request. A reload in the meantime does not change it."""
        self.handler: Handler | None = None
        """The handler that aiohttp's router must have found: one of the gateway's own endpoints, or the catch-all."""
        self.forward: Handler | None = None
        """The handler of a call to a service."""
        self.refusal: GatewayError | None = None
        """The error to answer with, instead of calling ``handler``, once the caller has been authenticated."""
        self.match: RouteMatch | None = None
        self.cors_enabled = True
        """Whether pages of other origins may call this; false for operators' endpoints."""
        self.cors: CorsRule | None = None
        """What such pages may do here; None if no rule applies, and then browsers allow them nothing."""
        self.cors_headers: Headers = ()
        """The CORS headers of the answer, whether a service or the gateway answers."""
        self.secure = False
        """Whether the connection to the gateway is over TLS."""
        self.described = False
        """Whether the call is one that another proxy describes: it is for a service, and no route is asked."""
        self.security: SecurityHeaders | None = None
        """Security headers that the answer gets if it lacks them; None: none are added."""
        self.principal: Principal | None = None
        """The user whose token the request brings."""
        self.identity: Identity = "token"
        """Who may have a place in the room that the call is about."""
        self.place_is_enough = False
        """Whether a place stands for the token in this gated call; otherwise the access rules decide as well."""
        self.visitor: str | None = None
        """The id of the visitor who calls, if the call is one of a visitor: then the place is the visitor's."""
        self.challenged = False
        """Whether the outside service has let this visitor have a place, in this call."""
        self.visitor_to_move: str | None = None
        """The id of the visitor whose place becomes the user's, because a lineup brings both."""
        self.visitor_cookie: str | None = None
        """A ``Set-Cookie`` for the visitor; the gateway's own answer gets it, never that of a service."""
        self.room: str | None = None
        """The room whose gate the call must pass."""
        self.page: RoomPage | None = None
        """The page of the room that the call is about; None if it has none, and then all answers are JSON."""
        self.as_page = False
        """Whether the call is a browser's navigation, which gets the page."""
        self.renews_only = False
        """Whether the gate only renews a session and refuses no call."""
        self.lines_up = False
        """Whether the gate lines the caller up even if the room's ``lineup`` is explicit."""
        self.outlives = False
        """Whether a WebSocket outlives the session by which the call passes the gate."""
        self.session_user: str | None = None
        """Whose session has let the call pass the gate; None if it passed without one."""
        self.bypasses: tuple[Bypass, ...] = ()
        """Who passes the gate without a place."""
        self.limit_headers: Headers = ()
        """What the answer says about the route's limits of the rate, whether a service or the gateway answers."""
        self.cookies: Sequence[str] = ()
        """The values of ``Cookie``, if the gateway issues passes."""
        self.queue_pass: Pass | None = None
        """The pass that the answer and the service get; None without one."""
        self.may_reopen_claim = False
        """Whether this gated call may be the one that claims the slot, see ``State.may_reopen``."""
        self.sheddable = False
        """Whether an overloaded instance refuses this call, because it brings a new user."""
        self.streams = False
        """Whether the answer is a stream of server-sent events."""
        self.auth = "token"
        """``token``, ``nothing`` or ``management``."""
        self.parameters = _NO_PARAMETERS
        """Path parameters of an endpoint of the gateway's own."""
        self.label = "-"
        """The name for logs and metrics: a route id or the name of an endpoint, never a path."""
        self.recorded = False
        """Whether the request's span is recorded when the request has been answered."""
        self.detached = False
        """Whether the answer continues without aiohttp; then it is counted and logged when it ends."""
        self.outcome = ""
        """The code of the error that was answered, if any."""

    @property
    def member(self) -> str | None:
        """The key under which the caller has a place in the room of the call; None if the caller can have none."""
        if self.visitor is not None:
            return visitor_key(self.visitor)
        return None if self.principal is None or self.identity == "visitor" else self.principal.user_id

    @property
    def pass_cookies(self) -> tuple[str, ...]:
        """The ``Set-Cookie`` lines that bring the pass, and take too old ones away; none without a pass."""
        if self.queue_pass is None:
            return ()
        cookie = self.queue_pass.cookie
        removed = superseded(self.cookies, cookie, secure=self.over_tls) if self.cookies else ()
        return (*removed, cookie)

    @property
    def for_service(self) -> bool:
        """Whether the call is for a service, and not for the gateway itself."""
        return self.described or self.match is not None

    @property
    def over_tls(self) -> bool:
        """Whether the client came by TLS: to the gateway itself, or to the first proxy, as trusted proxies say."""
        return self.secure if self.origin is None else self.origin.scheme == "https"

    @property
    def bypass(self) -> str | None:
        """The name of the rule by which the caller, as far as known by now, passes the gate without a place."""
        if not self.bypasses or self.renews_only:
            return None
        claims = NO_CLAIMS if self.principal is None else self.principal.claims
        return bypass_of(self.bypasses, claims, self.client)

    @property
    def gate_needs_token(self) -> bool:
        """Whether the gate needs to know the caller, even if the call is public."""
        return self.room is not None and not self.renews_only and self.bypass is None

    @property
    def trace_id(self) -> str:
        """The trace's id as shown to the client, in the log and in Zipkin."""
        return self.trace.trace_id


class ResolvedCall(NamedTuple):
    """The result of resolving a call to a service."""

    target: Target
    match: RouteMatch
    forward: Handler
    gate: GateRule | None
    cors: CorsRule | None = None
    place_is_enough: bool = False
    """Whether a place of a visitor stands for the token in this call."""


class DescribedTarget(NamedTuple):
    """The result of resolving a call that another proxy describes."""

    target: Target
    gate: GateRule | None
    cors: CorsRule | None
    place_is_enough: bool


class _PublicCallRule:
    """All public calls of a table as one rule: the table finds them by their path instead of trying each.

    Calls found to be public are remembered; a client that invents paths only empties this cache. Others are not: the
    table also says no if the comparison took too long.
    """

    __slots__ = ("_known", "_table")

    def __init__(self, table: RouteTable) -> None:
        self._table = table
        self._known: set[tuple[str, str]] = set()

    def opens(self, method: str, path: str) -> bool:
        """Whether the call needs no token."""
        call = method, path
        if call in self._known:
            return True
        if not self._table.is_public(method, path):
            return False
        if len(path) <= _MAX_CACHED_TARGET_LENGTH:
            if len(self._known) >= _MAX_CACHED_CALLS:
                self._known.clear()
            self._known.add(call)
        return True


class RoutingState(NamedTuple):
    """A route table, and everything that is derived from it."""

    table: RouteTable
    access: Access
    resolved: dict[tuple[str, str], ResolvedCall]
    """Calls resolved before, by method and raw target, if only these two decide the result."""
    by_target_only: bool
    """Whether all routes match by path and method only."""
    described: dict[tuple[str, str], DescribedTarget]
    """The same of described calls, which no route is asked about."""

    def cache_call(self, method: str, raw: str, call: ResolvedCall) -> None:
        """Caches the result for the next such call, if it depends only on method and target.

        The cache is bounded in entries and in length: a client that invents targets only empties it. Targets with a
        query are not cached, since they may hold a secret.
        """
        filters = call.match.route.filters
        if self.by_target_only and all(each.by_path or each.fixed for each in filters):
            _cache(self.resolved, method, raw, call)

    def cache_described(self, method: str, raw: str, call: DescribedTarget) -> None:
        """The same for a described call."""
        _cache(self.described, method, raw, call)


_Resolved = TypeVar("_Resolved", ResolvedCall, DescribedTarget)


def _cache(cache: dict[tuple[str, str], _Resolved], method: str, raw: str, call: _Resolved) -> None:
    if "?" not in raw and len(raw) <= _MAX_CACHED_TARGET_LENGTH:
        if len(cache) >= _MAX_CACHED_CALLS:
            cache.clear()
        cache[method, raw] = call


class LiveTable:
    """The route table in force. A reload replaces it, and everything derived from it, in one assignment."""

    def __init__(self, table: RouteTable) -> None:
        self.replace(table)

    def replace(self, table: RouteTable) -> None:
        """Puts ``table`` in force. Requests in progress keep the table that they began with."""
        predicates = (predicate for route in table.routes for predicate in route.predicates)
        path_and_method_only = all(isinstance(predicate, Path | Method) for predicate in predicates)
        self.current = RoutingState(table, Access((_PublicCallRule(table),)), {}, path_and_method_only, {})


@dataclass(slots=True)
class Configuration:
    """What is in force now. A reload, or an answer of the Config Server, replaces its parts."""

    settings: Settings
    tables: LiveTable
    trusted: TrustedProxies
    forwarded_fields: frozenset[str]
    """What services learn about the client: see ``forwarded_headers``."""
    security: SecurityHeaders | None = None
    """Headers added to each answer that lacks them, in a Spring environment."""


@dataclass(frozen=True, slots=True)
class Observers:
    """What counts, measures, traces and logs."""

    metrics: Metrics
    tracer: Tracer
    access_log: AccessLog
    spring_metrics: SpringMetrics | None = None
    """The same metrics under Spring's names, if the settings ask for them."""


class PublishedKeys(Protocol):
    """The keys with which the gateway signs."""

    async def document(self) -> bytes:
        """The public keys as a JWKS. Raises QueueUnavailable while none are known."""
        ...

    def need(self) -> None:
        """From now on the keys are kept up to date. Without a need there are none."""
        ...

    def sign(self, typ: str, claims: Callable[[float], Mapping[str, Any]]) -> str | None:
        """What ``claims`` returns for the time now, in epoch seconds, as a compact JWS of the kind ``typ``; None if no
        key may sign now."""
        ...


HealthCheck = Callable[[], tuple[bool | str, dict[str, object]]]
"""Returns whether a component is up, or its status, and details without secrets."""


@dataclass(slots=True)
class Health:
    """The health of each component, and whether the instance is shutting down."""

    checks: dict[str, HealthCheck]
    draining: bool = False


@dataclass(frozen=True, slots=True)
class Refresh:
    """How operators make the gateway read routes and configuration again."""

    refresh: Callable[[], Awaitable[tuple[str, ...]]]
    """Reads both now. Returns the names of what changed, or raises ConfigError."""
    poll_config_server: Callable[[], None]
    """Makes the gateway read the Config Server as soon as possible."""


CONTEXT: Final[web.RequestKey[RequestContext]] = web.RequestKey("context", RequestContext)

OPERATOR: Final[web.RequestKey[Operator]] = web.RequestKey("operator", Operator)
"""The operator who calls, in calls that need one."""

CONFIGURATION: Final[web.AppKey[Configuration]] = web.AppKey("configuration", Configuration)
OBSERVERS: Final[web.AppKey[Observers]] = web.AppKey("observers", Observers)
LOOP_LAG: Final[web.AppKey[LoopLag]] = web.AppKey("loop_lag", LoopLag)
ROOMS: Final[web.AppKey[Rooms]] = web.AppKey("rooms", Rooms)
SESSIONS: Final[web.AppKey[SessionWatch]] = web.AppKey("sessions", SessionWatch)
"""Watches the sessions that have let WebSockets in."""
HUBS: Final[web.AppKey[Mapping[str, Hub]]] = web.AppKey("hubs", Mapping)
DETACHED: Final[web.AppKey[DetachedConnections]] = web.AppKey("detached", DetachedConnections)
"""The connections of open streams."""
ADMISSIONS: Final[web.AppKey[Admissions]] = web.AppKey("admissions", Admissions)
PASSES: Final[web.AppKey[Passes]] = web.AppKey("passes", Passes)
"""Absent unless the settings turn passes on."""
INVITATIONS: Final[web.AppKey[Invitations]] = web.AppKey("invitations", Invitations)
RATE_LIMITER: Final[web.AppKey[RateLimiter]] = web.AppKey("rate_limiter", RateLimiter)
CHALLENGES: Final[web.AppKey[Challenges]] = web.AppKey("challenges", Challenges)
TRANSFERS: Final[web.AppKey[TransferStore]] = web.AppKey("transfers", TransferStore)
CODE_GUESSES: Final[web.AppKey[WrongTokens]] = web.AppKey("code_guesses", WrongTokens)
"""Wrong codes for a transfer, by the client's address."""
VISITORS: Final[web.AppKey[VisitorCookies]] = web.AppKey("visitors", VisitorCookies)
SIGNING_KEYS: Final[web.AppKey[PublishedKeys]] = web.AppKey("signing_keys", PublishedKeys)
DESK_SESSIONS: Final[web.AppKey[DeskSessions]] = web.AppKey("desk_sessions", DeskSessions)
DESK_SESSION: Final[web.RequestKey[str]] = web.RequestKey("desk_session", str)
"""The token of the session of the operator's desk, in calls that need one."""
OPERATORS: Final[web.AppKey[Operators]] = web.AppKey("operators", Operators)
AUTHENTICATOR: Final[web.AppKey[Authenticator]] = web.AppKey("authenticator", Authenticator)
INSTANCES: Final[web.AppKey[Instances]] = web.AppKey("instances", Instances)
BREAKERS: Final[web.AppKey[Breakers]] = web.AppKey("breakers", Breakers)
FORWARDER: Final[web.AppKey[Forwarder]] = web.AppKey("forwarder", Forwarder)
UPLOADS: Final[web.AppKey[Uploads]] = web.AppKey("uploads", Uploads)
DOWNLOADS: Final[web.AppKey[Downloads]] = web.AppKey("downloads", Downloads)
UNTRUSTED_PROXIES: Final[web.AppKey[UntrustedProxies]] = web.AppKey("untrusted_proxies", UntrustedProxies)
HEALTH: Final[web.AppKey[Health]] = web.AppKey("health", Health)
REFRESH: Final[web.AppKey[Refresh]] = web.AppKey("refresh", Refresh)
