"""What is noted of a sampled request: a span for each thing that took time. Nothing at all of the others.

A ``Tracer`` is passed to whoever has something to tell; without an exporter it notes nothing. Names and tags are made
of route ids, rooms, methods, statuses and the codes of errors, never of paths, queries, headers or users.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Final, Literal, NamedTuple, Protocol

from gateway.observe.metrics import METHODS
from gateway.observe.tracing import TraceContext, begin

Kind = Literal["SERVER", "CLIENT", "INTERNAL"]


class Remote(NamedTuple):
    """Who was called: a name, and an address where it is known."""

    service: str
    host: str = ""
    port: int = 0


class Span(NamedTuple):
    """Something that took time. ``began`` is in epoch seconds, ``seconds`` its length.

    ``error`` says in a word what went wrong, if anything did. ``moments`` are names and epoch seconds.
    """

    context: TraceContext
    kind: Kind
    name: str
    began: float
    seconds: float
    tags: Mapping[str, str]
    remote: Remote | None = None
    error: str = ""
    moments: Sequence[tuple[str, float]] = ()


class Exporter(Protocol):
    """Where finished spans of sampled traces go. Must return at once, and never raise."""

    def export(self, span: Span, /) -> None: ...


_REDIS: Final = Remote("redis")
# A request's task asks here on behalf of which trace it is; set for recorded requests only.
_current: ContextVar[TraceContext | None] = ContextVar("trace", default=None)


class Tracer:
    """Begins and continues traces, and notes spans of those that are sampled.

    ``probability``: the share of the traces begun here that is sampled. Without an ``exporter`` it decides all the
    same, for services to know, and notes nothing.
    """

    def __init__(self, exporter: Exporter | None = None, probability: float = 0.1) -> None:
        self._exporter = exporter
        self._probability = probability

    def sample(self, probability: float) -> None:
        """Records that share of the traces that begin here from now on."""
        self._probability = probability

    def begin(self, headers: Mapping[str, str]) -> TraceContext:
        """The server span of a request with these headers."""
        return begin(headers, self._probability)

    def records(self, trace: TraceContext) -> bool:
        """Whether spans of this trace are noted."""
        return trace.sampled and self._exporter is not None

    # -- a request ------------------------------------------------------------------------------------

    def enter(self, trace: TraceContext) -> bool:
        """From now on, what this task does belongs to ``trace``. False if nothing of it is to be noted."""
        if not self.records(trace):
            return False
        _current.set(trace)
        return True

    def leave(
        self, trace: TraceContext, *, label: str, method: str, status: int, seconds: float, code: str
    ) -> None:
        """The request that was entered has been answered. ``label``: a route's id or the name of an own call;
        ``code``: that of the error answered, if one was."""
        _current.set(None)
        method = known(method)
        tags = {
            "http.request.method": method,
            "http.response.status_code": str(status),
            "gateway.route": label,
        }
        if code:
            tags["gateway.code"] = code
        error = (code or str(status)) if status >= 500 else ""
        self.note(
            Span(trace, "SERVER", f"{method} {label}", time.time() - seconds, seconds, tags, error=error)
        )

    # -- Redis ----------------------------------------------------------------------------------------

    def caller(self) -> TraceContext | None:
        """The trace on whose behalf this task is at work, if anything of it is noted."""
        return _current.get()

    def on_batch(
        self, room: str, script: str, callers: Sequence[TraceContext], size: int, seconds: float, failed: bool
    ) -> None:
        """A script was called for ``size`` users at once. Each of ``callers`` gets the call as a span of its own
        trace: what waited for it is there to be seen, wherever one looks."""
        tags = {
            "db.system.name": "redis",
            "queue.room": room,
            "queue.script": script,
            "queue.batch.size": str(size),
        }
        began = time.time() - seconds
        error = "QUEUE_UNAVAILABLE" if failed else ""
        for caller in callers:
            self.note(
                Span(caller.child(), "CLIENT", f"redis {script}", began, seconds, tags, _REDIS, error=error)
            )

    # -- the line -------------------------------------------------------------------------------------

    def admitted(self, lineup: TraceContext, room: str, seconds: float) -> None:
        """Somebody was admitted after so long in line. ``lineup``: the request that put them there."""
        tags = {"queue.room": room, "queue.wait_seconds": f"{seconds:.3f}"}
        began = time.time() - seconds
        self.note(Span(lineup.child(), "INTERNAL", "queue.admission", began, seconds, tags))

    def note(self, span: Span) -> None:
        """Hands a finished span of a sampled trace to the exporter."""
        if self._exporter is not None:
            self._exporter.export(span)


def known(method: str) -> str:
    """A method as it may stand in a trace: clients may make up others without end."""
    return method if method in METHODS else "_OTHER"
