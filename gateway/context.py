"""What a request carries through the middlewares, and what handlers and middlewares work with."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from aiohttp import web

from gateway.auth.access import Access, Authenticator
from gateway.middleware.untrusted_proxies import UntrustedProxies
from gateway.observability.metrics import Metrics
from gateway.observability.spans import Admissions, Tracer
from gateway.observability.spring_names import SpringMetrics
from gateway.observability.tracing import TraceContext
from gateway.proxy.downloads import Downloads
from gateway.proxy.forward import Forwarder
from gateway.proxy.forwarded import TrustedProxies
from gateway.proxy.security_headers import SecurityHeaders
from gateway.proxy.uploads import Uploads
from gateway.routing.cors import CorsRule
from gateway.routing.gates import GateRule
from gateway.routing.path import Target
from gateway.routing.predicates import Method, Path
from gateway.routing.table import Match, RouteTable
from gateway.settings.model import Settings
from gateway.sse.hub import Hub
from gateway.waiting_room.rooms import Rooms

if TYPE_CHECKING:
    from gateway.auth.access import Access
    from gateway.auth.tokens import Principal
    from gateway.proxy.forwarded import Origin
    from gateway.proxy.security_headers import SecurityHeaders
    from gateway.routing.cors import CorsRule, Headers
    from gateway.routing.path import Target
    from gateway.routing.table import Match


_NO_PARAMETERS: Final[Mapping[str, str]] = {}


class Exchange:
    """One request on its way. A plain class with slots, because one is made for each request."""

    __slots__ = (
        "access",
        "began",
        "client",
        "cors",
        "cors_headers",
        "crosses",
        "endpoint",
        "label",
        "locale",
        "match",
        "needs",
        "origin",
        "outcome",
        "parameters",
        "principal",
        "renews_only",
        "room",
        "security",
        "sheds",
        "streams",
        "target",
        "trace",
    )

    def __init__(self, trace: TraceContext, locale: str, client: str) -> None:
        """``client`` is the client's address, as far as trusted proxies vouch for it."""
        self.trace = trace
        """The request as a span of its trace."""
        self.locale = locale
        self.client = client
        self.origin: Origin | None = None
        """What trusted proxies say of how the client came; None if the peer is none of them."""
        self.began = time.perf_counter()
        self.target: Target | None = None
        self.access: Access | None = None
        """The public rules this request is served under, whatever is loaded meanwhile."""
        self.endpoint: Handler | None = None
        """What answers in the end, of the gateway's own or the way to a service."""
        self.match: Match | None = None
        self.crosses = True
        """Pages of other origins may be meant; false for what is for operators."""
        self.cors: CorsRule | None = None
        """What such pages may do here; None: nobody has said, and browsers allow them nothing."""
        self.cors_headers: Headers = ()
        """What the answer says about it, whoever answers."""
        self.security: SecurityHeaders | None = None
        """What the answer says to browsers where it does not say it itself; None: nothing is added."""
        self.principal: Principal | None = None
        self.room: str | None = None
        """The room whose gate the call passes."""
        self.renews_only = False
        self.sheds = False
        """A newcomer's call, refused while this instance is overloaded."""
        self.streams = False
        """The answer is a stream of server-sent events."""
        self.needs = "token"
        """``token``, ``nothing`` or ``management``, for the gateway's own calls."""
        self.parameters = _NO_PARAMETERS
        self.label = "-"
        """For logs and metrics: a route id or the name of an own call, never a path."""
        self.outcome = ""
        """The code of the error that was answered, if one was."""

    @property
    def trace_id(self) -> str:
        """What the client, the log and Zipkin know the trace by."""
        return self.trace.trace_id


Handler = Callable[[web.BaseRequest, Exchange], Awaitable[web.StreamResponse]]
"""What answers a request in the end."""

Step = Callable[[web.BaseRequest, Exchange], Awaitable[None] | None]
"""One thing to find out or to refuse, before anybody answers. Returns what has to be waited for, if anything:
most steps need not wait, and then cost no more than a call. Refuses by raising an error of the tree."""


_MOST_REMEMBERED: Final = 4096
_LONGEST_REMEMBERED: Final = 256


class _PublicCalls:
    """All public calls of a table as one rule: the table finds them by their path instead of asking each."""

    __slots__ = ("opens",)

    def __init__(self, table: RouteTable) -> None:
        self.opens = table.is_public


class Located(NamedTuple):
    """What a call that goes to a service was found to be."""

    target: Target
    match: Match
    endpoint: Handler
    gate: GateRule | None
    cors: CorsRule | None = None


class Serving(NamedTuple):
    """A route table, and what is derived from it."""

    table: RouteTable
    access: Access
    located: dict[tuple[str, str], Located]
    """Calls found before, by method and raw target, where these two alone decide."""
    by_target_alone: bool
    """Whether no route looks at anything but path and method."""

    def remember(self, method: str, raw: str, located: Located) -> None:
        """Spares the next such call the search, if the answer can't depend on anything else. Bounded in number and
        length: whoever makes up targets only empties it. Nothing with a query, which may hold a secret."""
        filters = located.match.route.filters
        plain = self.by_target_alone and "?" not in raw and all(each.by_path for each in filters)
        if plain and len(raw) <= _LONGEST_REMEMBERED:
            if len(self.located) >= _MOST_REMEMBERED:
                self.located.clear()
            self.located[method, raw] = located


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
class Context:
    """The collaborators of the web layer. ``settings`` are those of now: a Config Server may give some of them."""

    settings: Settings
    tables: LiveTable
    rooms: Rooms
    hubs: Mapping[str, Hub]
    authenticator: Authenticator
    forwarder: Forwarder
    trusted: TrustedProxies
    told: frozenset[str]
    """What services are told of the client: see ``forwarded_headers``."""
    metrics: Metrics
    tracer: Tracer
    admissions: Admissions
    lag_ms: Callable[[], float]
    """How far the event loop is behind at the moment."""
    checks: Mapping[str, Callable[[], tuple[bool | str, dict[str, object]]]]
    """Health of each component: whether it is up, and details without secrets."""
    refresh: Callable[[], Awaitable[tuple[str, ...]]]
    """Reads routes and configuration anew; returns the names of what changed, or raises ConfigError."""
    look: Callable[[], None]
    """Has the Config Server asked as soon as may be."""
    spring_metrics: SpringMetrics | None = None
    """The same under Spring's names, if the settings want them."""
    security: SecurityHeaders | None = None
    """Headers that all answers get which lack them, in a Spring environment."""
    uploads: Uploads = field(default_factory=Uploads)
    """Bounds slow request bodies, those for services and those for the gateway."""
    untrusted: UntrustedProxies = field(default_factory=UntrustedProxies)
    """Warns of a proxy that is not believed."""
    downloads: Downloads = field(default_factory=Downloads)
    """Bounds slow clients that services wait for."""
    draining: bool = False
    """Set when the instance is going away: not ready any more."""
