"""What of a request a routing decision may depend on."""

from __future__ import annotations

from typing import NamedTuple

from multidict import CIMultiDict, CIMultiDictProxy

from gateway.routing.path import Target


class RequestFacts(NamedTuple):
    """What a predicate may look at; a tuple, because one is made for each request.

    ``client`` is the caller's address as text, trusted proxies already taken off; ``host`` is the Host header's value
    with its port, if it has one, and empty without a Host, as HTTP/1.0 allows; ``scheme`` is ``http`` or ``https``.
    """

    method: str
    target: Target
    headers: CIMultiDict[str] | CIMultiDictProxy[str]
    client: str
    host: str
    scheme: str
