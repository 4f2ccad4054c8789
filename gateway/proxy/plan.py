"""What is to be forwarded, and where to: made from a resolved route, used once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from multidict import CIMultiDict

from gateway.proxy.downloads import Downloads
from gateway.proxy.load_balancer import UpstreamBase
from gateway.proxy.security_headers import SecurityHeaders

Edits = Callable[[CIMultiDict[str]], None]


class Calls(Protocol):
    """Is told of the calls to instances that one request leads to, one after the other."""

    def begin(self, base: UpstreamBase, /) -> None:
        """A call to this instance begins, before anything is sent. May still change the plan's headers."""

    def answered(self, status: int, /) -> None:
        """The head of the final answer has come."""

    def failed(self, code: str, /) -> None:
        """There was no connection to be had; ``code`` is the error's."""


class _NoCalls:
    """Looks away."""

    def begin(self, base: UpstreamBase, /) -> None: ...
    def answered(self, status: int, /) -> None: ...
    def failed(self, code: str, /) -> None: ...


NO_CALLS: Final = _NoCalls()
_UNSHARED: Final = Downloads()


class ForwardPlan(NamedTuple):
    """One request to a service.

    ``base`` is an instance, or the name of an ``lb://`` service. ``target`` is the raw path and query.
    ``headers`` are final, without framing; where they lack ``Host`` it is the instance's own.
    ``response_edits`` changes the end-to-end headers of the answer, ``status`` replaces its status. ``trace_id``, if
    any, is named in the answer. ``cors`` holds headers that the answer gets instead of the service's own
    ``Access-Control-…``; None leaves these. ``websocket`` is the key of a handshake, if it is one. ``body_limit`` is in
    bytes (0: none), time-outs are in seconds; that for the response runs from the end of the request to the answer's
    head. ``calls`` is told of each call to an instance. ``client`` is the client's address, as far as proxies vouch for
    it: slow bodies and slow downloads are counted by it. ``security`` adds headers that the answer lacks. ``downloads``
    counts slow downloads.
    """

    route_id: str
    base: UpstreamBase | str
    target: str
    headers: list[tuple[bytes, bytes]]
    response_edits: Edits | None = None
    body_limit: int = 0
    connect_timeout: float = 2.0
    response_timeout: float = 30.0
    status: int | None = None
    trace_id: bytes = b""
    cors: tuple[tuple[bytes, bytes], ...] | None = None
    websocket: str | None = None
    calls: Calls = NO_CALLS
    client: str = ""
    security: SecurityHeaders | None = None
    downloads: Downloads = _UNSHARED
