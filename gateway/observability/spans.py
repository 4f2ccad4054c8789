"""Spans of a sampled request: the request itself, calls to services, and the time that a user waited in a room.

Nothing is recorded for requests that are not sampled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Final, Literal, NamedTuple, Protocol

from gateway.observability.metrics import METHODS
from gateway.observability.span_clock import SpanClock
from gateway.observability.tracing import TraceContext, begin

Kind = Literal["SERVER", "CLIENT", "INTERNAL"]


class Remote(NamedTuple):
    """The remote side of a call: a name, and an address if it is known."""

    service: str
    host: str = ""
    port: int = 0


class Span(NamedTuple):
    """A span: something that took time. ``began`` is in epoch seconds, ``seconds`` is its length.

    ``error`` says in one word what went wrong, if anything did. ``moments`` are names and epoch seconds.
    """

    context: TraceContext
    kind: Kind
    name: str
    began: float
    seconds: float
    tags: Mapping[str, str | int | float]
    remote: Remote | None = None
    error: str = ""
    moments: Sequence[tuple[str, float]] = ()


class Exporter(Protocol):
    """Receives the finished spans of sampled traces. Must return at once, and never raise."""

    def export(self, span: Span, /) -> None: ...


_REDIS: Final = Remote("redis")
# The trace that the current request's task works for; set for recorded requests only.
_current: ContextVar[TraceContext | None] = ContextVar("trace", default=None)


class Tracer:
    """Begins and continues traces, and records spans of those that are sampled.

    ``probability``: the share of traces begun here that are sampled. Without an ``exporter`` the sampling decision is
    still made, and sent to services, but nothing is recorded.
    """

    def __init__(
        self, exporter: Exporter | None = None, probability: float = 0.1, clock: SpanClock | None = None
    ) -> None:
        self._exporter = exporter
        self._probability = probability
        self.clock: Final = clock or SpanClock()
        """That of all spans, so that none of them begins before its parent."""

    def sample(self, probability: float) -> None:
        """Samples this share of the traces that begin here from now on."""
        self._probability = probability

    def begin(self, headers: Mapping[str, str]) -> TraceContext:
        """The server span of a request with these headers."""
        return begin(headers, self._probability)

    def records(self, trace: TraceContext) -> bool:
        """Whether spans of this trace are recorded."""
        return trace.sampled and self._exporter is not None

    # -- a request ------------------------------------------------------------------------------------

    def enter(self, trace: TraceContext) -> bool:
        """From now on, this task's work belongs to ``trace``, or to none. Returns False if nothing of it is recorded.

        Always sets the trace: a task may begin in the callback of another request's connection, with that trace.
        """
        if self._exporter is None:
            return False
        _current.set(trace if trace.sampled else None)
        return trace.sampled

    def clear_current(self) -> None:
        """No request is current any more. A callback that serves several requests calls it after each."""
        _current.set(None)

    def leave(
        self,
        trace: TraceContext,
        *,
        label: str,
        method: str,
        status: int,
        began: float,
        seconds: float,
        code: str,
    ) -> None:
        """The request of the matching ``enter`` has been answered. ``label``: a route's id, or the name of one of the
        gateway's own calls; ``began``: a reading of ``perf_counter``; ``code``: that of the error answered, if there
        was one."""
        _current.set(None)
        method = known(method)
        tags: dict[str, str | int | float] = {
            "http.request.method": method,
            "http.response.status_code": status,
            "gateway.route": label,
        }
        if code:
            tags["gateway.code"] = code
        error = (code or str(status)) if status >= 500 else ""
        if error:
            tags["error.type"] = error
        name = f"{method} {label}"
        self.note(Span(trace, "SERVER", name, self.clock.epoch(began), seconds, tags, error=error))

    # -- Redis ----------------------------------------------------------------------------------------

    def caller(self) -> TraceContext | None:
        """The trace that this task works for; None if nothing of it is recorded."""
        return _current.get()

    def on_batch(
        self, room: str, script: str, callers: Sequence[TraceContext], size: int, seconds: float, failed: bool
    ) -> None:
        """A script was called for ``size`` users at once. Each of ``callers`` gets the call as a span of its own trace,
        so every trace shows what it waited for."""
        tags: dict[str, str | int | float] = {
            "db.system.name": "redis",
            "queue.room": room,
            "queue.script": script,
            "queue.batch.size": size,
        }
        began = self._ago(seconds)
        error = "QUEUE_UNAVAILABLE" if failed else ""
        if error:
            tags["error.type"] = error
        for caller in callers:
            self.note(
                Span(caller.child(), "CLIENT", f"redis {script}", began, seconds, tags, _REDIS, error=error)
            )

    # -- the line -------------------------------------------------------------------------------------

    def admitted(self, lineup: TraceContext, room: str, seconds: float) -> None:
        """A user was admitted after ``seconds`` in line. ``lineup``: the request that put the user there."""
        tags: dict[str, str | int | float] = {"queue.room": room, "queue.wait_seconds": round(seconds, 3)}
        began = self._ago(seconds)
        self.note(Span(lineup.child(), "INTERNAL", "queue.admission", began, seconds, tags))

    def _ago(self, seconds: float) -> float:
        """The moment so many seconds ago, in epoch seconds."""
        return self.clock.epoch(self.clock.now() - seconds)

    def note(self, span: Span) -> None:
        """Passes a finished span of a sampled trace to the exporter."""
        if self._exporter is not None:
            self._exporter.export(span)


def known(method: str) -> str:
    """A method as it may stand in a trace; clients could make up others without limit."""
    return method if method in METHODS else "_OTHER"


class _Base(Protocol):
    """The address of an instance."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...


class TracedCalls:
    """The calls to services that one sampled request makes, one after the other.

    ``headers`` are those of the request to the service; each call changes their ``traceparent`` to its own span.
    ``service`` is the name of a service, or empty if the route names an address.
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
        """A call to this instance begins; a call that is still under way counts as failed."""
        self.failed("UPSTREAM_UNREACHABLE")
        call = self._trace.child()
        remote = Remote(self._service or base.host, base.host, base.port)
        self._open = call, remote, self._tracer.clock.now()
        self._moments = ()
        self._status = 0
        self._headers[:] = [
            call.traceparent() if name == b"traceparent" else (name, value) for name, value in self._headers
        ]

    def answered(self, status: int) -> None:
        """The head of the answer has arrived."""
        clock = self._tracer.clock
        self._moments = (("response head", clock.epoch(clock.now())),)
        self._status = status

    def failed(self, code: str) -> None:
        """The call under way, if any, failed; ``code`` is that of the error."""
        self._end(code)

    def dropped(self) -> None:
        """The answer that has arrived is not the client's: another call follows."""
        self._end("")

    def done(self, complete: bool) -> None:
        """The answer has been passed on, or (``complete`` False) broke off."""
        self._end("" if complete else "BROKEN_OFF")

    def _end(self, error: str) -> None:
        if self._open is None:
            return
        call, remote, began = self._open
        self._open = None
        tags: dict[str, str | int | float] = {
            "http.request.method": self._method,
            "gateway.route": self._route,
        }
        if self._status:
            tags["http.response.status_code"] = self._status
        if self._status >= 500:
            error = error or str(self._status)
        if error:
            tags["error.type"] = error
        name = f"{self._method} {self._route}"
        clock = self._tracer.clock
        seconds = clock.now() - began
        at = clock.epoch(began)
        self._tracer.note(Span(call, "CLIENT", name, at, seconds, tags, remote, error, self._moments))


MAX_WAITING: Final = 4096
"""Sampled lineups that are remembered, at most; beyond that the oldest is dropped."""


class Event(Protocol):
    """An event of a user in line."""

    @property
    def room(self) -> str: ...
    @property
    def user(self) -> str: ...
    @property
    def ticket(self) -> int: ...
    @property
    def kind(self) -> str:
        """Equal to ``ADMITTED``, ``REMOVED`` or ``FRONT``."""


class _Lineup(NamedTuple):
    ticket: int
    trace: TraceContext
    since: float


class Admissions:
    """Remembers sampled lineups until they end. The end may be missed: Redis was away, or the event was faster than the
    answer to the lineup. The entry then stays until a newer one replaces it."""

    def __init__(self, tracer: Tracer, max_waiting: int = MAX_WAITING) -> None:
        self._tracer = tracer
        self._max_waiting = max_waiting
        self._waiting: dict[tuple[str, str], _Lineup] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def waits(self, room: str, user: str, ticket: int, trace: TraceContext) -> None:
        """The user has just been put in line by a request of this trace."""
        if not self._tracer.records(trace):
            return
        # Lining up again begins a new wait, which is the newest of all.
        self._waiting.pop((room, user), None)
        if len(self._waiting) >= self._max_waiting:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[room, user] = _Lineup(ticket, trace, self._tracer.clock.now())

    def deliver(self, events: Sequence[Event]) -> None:
        """Ends the waits that these events end, by admission or otherwise. An event of an older ticket is ignored: that
        wait has ended before."""
        if not self._waiting:
            return
        for event in events:
            lineup = self._waiting.get((event.room, event.user))
            if lineup is not None and event.kind == "FRONT":
                self._waiting[event.room, event.user] = lineup._replace(ticket=event.ticket)
                continue
            if lineup is None or event.ticket < lineup.ticket:
                continue
            del self._waiting[event.room, event.user]
            if event.kind == "ADMITTED" and event.ticket == lineup.ticket:
                seconds = self._tracer.clock.now() - lineup.since
                self._tracer.admitted(lineup.trace, event.room, seconds)
