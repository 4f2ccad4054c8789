"""What handlers and middlewares work with; made once by the composition root."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.auth.access import Access
from gateway.auth.authenticator import Authenticator
from gateway.observe.metrics import Metrics
from gateway.proxy.forward import Forwarder
from gateway.proxy.forwarded import TrustedProxies
from gateway.routing.table import RouteTable
from gateway.settings import Settings
from gateway.stream.hub import Hub
from gateway.waiting_room.rooms import Rooms


class _PublicCalls:
    """All public calls of a table as one rule: the table finds them by their path instead of asking each."""

    __slots__ = ("opens",)

    def __init__(self, table: RouteTable) -> None:
        self.opens = table.is_public


class LiveTable:
    """The route table in force, and what is derived from it. A reload swaps all of it in one assignment."""

    def __init__(self, table: RouteTable) -> None:
        self.replace(table)
        self.faults: tuple[str, ...] = ()
        """Why the file as it is now was not loaded; empty while it is the one in force."""

    def replace(self, table: RouteTable) -> None:
        """Puts ``table`` in force. Requests under way keep the one they began with."""
        self.now: tuple[RouteTable, Access] = (table, Access((_PublicCalls(table),)))
        self.faults = ()


@dataclass(slots=True)
class Context:
    """The collaborators of the web layer."""

    settings: Settings
    tables: LiveTable
    rooms: Rooms
    hubs: Mapping[str, Hub]
    authenticator: Authenticator
    forwarder: Forwarder
    trusted: TrustedProxies
    metrics: Metrics
    lag_ms: Callable[[], float]
    """How far the event loop is behind at the moment."""
    checks: Mapping[str, Callable[[], tuple[bool, dict[str, object]]]]
    """Health of each component: whether it is up, and details without secrets."""
    draining: bool = False
    """Set when the instance is going away: not ready any more."""
