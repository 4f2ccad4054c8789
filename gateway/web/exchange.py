"""What the middlewares find out about one request, each adding its part."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from aiohttp import web

if TYPE_CHECKING:
    from gateway.auth.access import Access
    from gateway.auth.principal import Principal
    from gateway.routing.path import Target
    from gateway.routing.table import Match

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Exchange:
    """One request on its way. Everything but ``trace_id`` and ``locale`` is found out step by step."""

    trace_id: str
    locale: str
    client: str
    """The client's address, as far as trusted proxies vouch for it."""
    began: float = field(default_factory=time.perf_counter)
    target: Target | None = None
    access: Access | None = None
    """The public rules this request is served under, whatever is loaded meanwhile."""
    endpoint: Handler | None = None
    """What answers in the end, of the gateway's own or the way to a service."""
    match: Match | None = None
    principal: Principal | None = None
    room: str | None = None
    """The room whose gate the call passes."""
    renews_only: bool = False
    sheds: bool = False
    """A newcomer's call, refused while this instance is overloaded."""
    needs: str = "token"
    """``token``, ``nothing`` or ``management``, for the gateway's own calls."""
    parameters: dict[str, str] = field(default_factory=dict)
    label: str = "-"
    """For logs and metrics: a route id or the name of an own call, never a path."""
    outcome: str = ""
    """The code of the error that was answered, if one was."""


EXCHANGE: Final = web.RequestKey("exchange", Exchange)
