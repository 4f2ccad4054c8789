"""What is to be forwarded, and where to: made from a resolved route, used once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from multidict import CIMultiDict

from gateway.proxy.upstream import UpstreamBase

Edits = Callable[[CIMultiDict[str]], None]


class ForwardPlan(NamedTuple):
    """One request to a service.

    ``base`` is an instance, or the name of an ``lb://`` service. ``target`` is the raw path and query.
    ``headers`` are final, without framing; where they lack ``Host`` it is the instance's own.
    ``response_edits`` changes the end-to-end headers of the answer, ``status`` replaces its status.
    ``cors`` holds headers that the answer gets instead of the service's own ``Access-Control-…``; None leaves
    these. ``websocket`` is the key of a handshake, if it is one. ``body_limit`` is in bytes (0: none), time-outs
    are in seconds; that for the response runs from the end of the request to the answer's head.
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
    cors: tuple[tuple[bytes, bytes], ...] | None = None
    websocket: str | None = None
