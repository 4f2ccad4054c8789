"""The attributes of a request that a routing decision may depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from multidict import CIMultiDict, CIMultiDictProxy

from gateway.query import parse_query
from gateway.resilience.failures import Cause
from gateway.routing.path import Target


@dataclass(slots=True)
class RequestAttributes:
    """The attributes of a request that predicates read.

    ``client`` is the client's address as text, behind all trusted proxies. ``host`` is the Host header's value, with
    its port if it has one; empty without a Host, which HTTP/1.0 allows. ``scheme`` is ``http`` or ``https``. ``cause``:
    why another route's call failed, for which this request is the fallback; None for a client's own request.
    """

    method: str
    target: Target
    headers: CIMultiDict[str] | CIMultiDictProxy[str]
    client: str
    host: str
    scheme: str
    cause: Cause | None = None
    _parameters: Mapping[str, list[str]] | None = field(default=None, init=False, repr=False, compare=False)

    def parameters(self) -> Mapping[str, list[str]]:
        """The decoded values of each parameter of the query. A parameter without ``=`` has no values.

        The query is parsed once, at the first call. Raises BadRequest if it is malformed.
        """
        if self._parameters is None:
            found: dict[str, list[str]] = {}
            for name, value in parse_query(self.target.raw_query):
                values = found.setdefault(name, [])
                if value is not None:
                    values.append(value)
            self._parameters = found
        return self._parameters
