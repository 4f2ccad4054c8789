"""Calls to services, as spans: one for each attempt, so that each has an identifier of its own to be told apart by."""

from __future__ import annotations

import time
from typing import Protocol

from gateway.observe.tracer import Remote, Span, Tracer, known
from gateway.observe.tracing import TraceContext


class _Base(Protocol):
    """The address of an instance."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...


class TracedCalls:
    """The calls that one sampled request leads to, one after the other.

    ``headers`` are those of the request to the service, and are changed with each call: their ``traceparent`` names it.
    ``service`` is the name of a service, or empty where the route names an address.
    """

    def __init__(
        self,
        tracer: Tracer,
        trace: TraceContext,
        *,
        method: str,
        route: str,
        service: str,
        headers: list[tuple[bytes, bytes]],
    ) -> None:
        self._tracer = tracer
        self._trace = trace
        self._method = known(method)
        self._route = route
        self._service = service
        self._headers = headers
        self._open: tuple[TraceContext, Remote, float] | None = None
        self._moments: tuple[tuple[str, float], ...] = ()
        self._status = 0

    def begin(self, base: _Base) -> None:
        """A call to this instance begins; one that is under way has failed."""
        self.failed("UPSTREAM_UNREACHABLE")
        call = self._trace.child()
        self._open = call, Remote(self._service or base.host, base.host, base.port), time.time()
        self._moments = ()
        self._status = 0
        self._headers[:] = [
            call.traceparent() if name == b"traceparent" else (name, value) for name, value in self._headers
        ]

    def answered(self, status: int) -> None:
        """The head of the answer has come."""
        self._moments = (("response head", time.time()),)
        self._status = status

    def failed(self, code: str) -> None:
        """The call under way, if any, came to nothing; ``code`` is the error's."""
        self._end(code)

    def done(self, complete: bool) -> None:
        """The answer has been passed on, or has broken off within."""
        self._end("" if complete else "BROKEN_OFF")

    def _end(self, error: str) -> None:
        if self._open is None:
            return
        call, remote, began = self._open
        self._open = None
        tags = {"http.request.method": self._method, "gateway.route": self._route}
        if self._status:
            tags["http.response.status_code"] = str(self._status)
        if self._status >= 500:
            error = error or str(self._status)
        name = f"{self._method} {self._route}"
        seconds = max(0.0, time.time() - began)
        self._tracer.note(Span(call, "CLIENT", name, began, seconds, tags, remote, error, self._moments))
