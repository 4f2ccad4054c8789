"""What handlers and middlewares work with; made once by the composition root."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from gateway.auth.access import Access
from gateway.auth.authenticator import Authenticator
from gateway.observe.admissions import Admissions
from gateway.observe.metrics import Metrics
from gateway.observe.spring_metrics import SpringMetrics
from gateway.observe.tracer import Tracer
from gateway.proxy.downloads import Downloads
from gateway.proxy.forward import Forwarder
from gateway.proxy.forwarded import TrustedProxies
from gateway.proxy.uploads import Uploads
from gateway.routing.cors import CorsRule
from gateway.routing.gates import GateRule
from gateway.routing.path import Target
from gateway.routing.predicates import Method, Path
from gateway.routing.table import Match, RouteTable
from gateway.security_headers import SecurityHeaders
from gateway.settings import Settings
from gateway.stream.hub import Hub
from gateway.waiting_room.rooms import Rooms
from gateway.web.exchange import Handler
from gateway.web.untrusted import UntrustedProxies

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
