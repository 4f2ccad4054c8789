"""What of a request a routing decision may depend on."""

from __future__ import annotations

from dataclasses import dataclass

from multidict import CIMultiDict, CIMultiDictProxy

from gateway.routing.path import Target


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """``client`` is the caller's address as text, trusted proxies already taken off; ``host`` is the Host
    header's value with its port, if it has one; ``scheme`` is ``http`` or ``https``."""

    method: str
    target: Target
    headers: CIMultiDict[str] | CIMultiDictProxy[str]
    client: str
    host: str
    scheme: str
