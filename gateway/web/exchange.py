"""What is found out about one request on its way, step by step."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

from aiohttp import web

from gateway.observe.tracing import TraceContext

if TYPE_CHECKING:
    from gateway.auth.access import Access
    from gateway.auth.principal import Principal
    from gateway.proxy.forwarded import Origin
    from gateway.routing.cors import CorsRule
    from gateway.routing.crossing import Headers
    from gateway.routing.path import Target
    from gateway.routing.table import Match
    from gateway.security_headers import SecurityHeaders

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
