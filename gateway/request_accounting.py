"""What log, metrics and spans record about a request once it has been answered, including answers that last for
hours."""

from __future__ import annotations

import re
import time
from typing import Final

from gateway.auth.visitors import visitor_key, written
from gateway.context import AccountedCall, Observers
from gateway.errors import NoInstance, UpstreamTimeout, UpstreamUnreachable

CLIENT_GONE: Final = 499
"""The status in the log if the client disconnected before it had the answer. The gateway sends this status to no
one."""

_TRANSFER: Final = re.compile(r"/+api/+v1/+queue/+transfer/+.", re.IGNORECASE)
"""Canonical paths that end with a code. Any client with the code could take the place, so the log leaves the code out,
also where the gateway refuses the call: a preflight or a wrong method has the code in its path, too."""

_UPSTREAM_CODES: Final = frozenset({UpstreamUnreachable.code, UpstreamTimeout.code, NoInstance.code})


def account(
    observers: Observers,
    method: str,
    call: AccountedCall,
    status: int,
    size: int,
    end: str = "",
) -> None:
    """Counts the answer and writes its line in the log. Call it once per request."""
    metrics, trace = observers.metrics, call.trace
    seconds = time.perf_counter() - call.began
    metrics.request(call.label, method, status, seconds)
    if call.outcome:
        metrics.rejected(call.outcome)
        if call.outcome in _UPSTREAM_CODES:
            metrics.upstream_error(call.label, call.outcome)
    if observers.spring_metrics is not None:
        uri = call.match.route.upstream.uri if call.match else None
        observers.spring_metrics.request(call.label, method, status, seconds, call.outcome, uri)
    if call.recorded:
        observers.tracer.leave(
            trace,
            label=call.label,
            method=method,
            status=status,
            began=call.began,
            seconds=seconds,
            code=call.outcome,
        )
    if observers.access_log.enabled:
        observers.access_log.write(
            method=method,
            path=_path(call),
            label=call.label,
            status=status,
            seconds=seconds,
            size=size,
            trace_id=trace.trace_id,
            client=call.client,
            user=_caller(call),
            outcome=call.outcome,
            end=end,
        )


def _path(call: AccountedCall) -> str:
    if call.target is None:
        return "-"
    return call.target.raw_path if _TRANSFER.match(call.target.path) is None else "/api/v1/queue/transfer/…"


def _caller(call: AccountedCall) -> str | None:
    """The user, else the visitor as operators write it."""
    if call.principal is not None:
        return call.principal.user_id
    return None if call.visitor is None else written(visitor_key(call.visitor))


class DetachedCall(AccountedCall):
    """An answer that continues without its request. Until ``ended`` is called, it counts as in progress and is not
    logged.

    It keeps only what the log needs of the request. ``RequestContext.detached`` tells the middleware not to account for
    it.
    """

    __slots__ = ("_method", "_observers")

    def __init__(self, context: AccountedCall, observers: Observers, method: str) -> None:
        self._observers, self._method = observers, method
        self.trace, self.client, self.began = context.trace, context.client, context.began
        self.match, self.principal, self.target = context.match, context.principal, context.target
        self.visitor = context.visitor
        self.label, self.recorded, self.outcome = context.label, context.recorded, context.outcome
        if self.target is not None and self.target.raw_query:
            # The query may hold a token, and may be long.
            self.target = self.target._replace(raw_query="")

    def ended(self, status: int, size: int, end: str) -> None:
        """Counts and logs the answer. Call it once."""
        self._observers.metrics.in_progress -= 1
        account(self._observers, self._method, self, status, size, end)
