"""What is to be forwarded, and where: created from a resolved route, used once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, Protocol

from multidict import CIMultiDict

from gateway.proxy.downloads import Downloads
from gateway.proxy.queue_commands import QueueCommands
from gateway.proxy.security_headers import SecurityHeaders
from gateway.proxy.upstream import UpstreamBase
from gateway.resilience.breaker import BreakerPolicy
from gateway.resilience.retry import RetryPolicy
from gateway.service_tls import ServiceTls

Edits = Callable[[CIMultiDict[str]], None]


class CallObserver(Protocol):
    """Is notified of the calls to instances that one request leads to, one after the other."""

    def begin(self, base: UpstreamBase, /) -> None:
        """A call to this instance begins; nothing has been sent yet. This method may still change the plan's
        headers."""

    def answered(self, status: int, /) -> None:
        """The head of the final answer has arrived."""

    def failed(self, code: str, /) -> None:
        """The gateway could not connect; ``code`` is the error's."""

    def dropped(self) -> None:
        """The answer is not the client's: another call follows."""


class _NullObserver:
    """No-op."""

    def begin(self, base: UpstreamBase, /) -> None: ...
    def answered(self, status: int, /) -> None: ...
    def failed(self, code: str, /) -> None: ...
    def dropped(self) -> None: ...


NO_CALL_OBSERVER: Final = _NullObserver()


class CallUnderWay:
    """Passes all on to ``observer``, and knows which instance is being asked."""

    __slots__ = ("_observer", "instance")

    def __init__(self, observer: CallObserver) -> None:
        self._observer = observer
        self.instance: UpstreamBase | None = None
        """The instance that owes an answer; None between two calls, and once the answer's head is there."""

    def begin(self, base: UpstreamBase) -> None:
        """A call to this instance begins."""
        self.instance = base
        self._observer.begin(base)

    def answered(self, status: int) -> None:
        """The head of the final answer has arrived."""
        self.instance = None
        self._observer.answered(status)

    def failed(self, code: str) -> None:
        """The call failed."""
        self.instance = None
        self._observer.failed(code)

    def dropped(self) -> None:
        """Another call follows."""
        self.instance = None
        self._observer.dropped()


WatchSession = Callable[[Callable[[], None]], Callable[[], None]]
"""Has a function called when the caller's session ends, until the function that it returns is called."""

_UNSHARED: Final = Downloads()


class ForwardPlan(NamedTuple):
    """One request to a service.

    * ``base``: an instance, or the name of an ``lb://`` service. ``target``: the raw path and query.
    * ``headers``: final, without framing. If they lack ``Host``, the instance's own is used.
    * ``response_edits`` changes the end-to-end headers of the answer, ``status`` replaces its status.
    * ``trace_id``: sent to the client with the answer, if set.
    * ``cors``: headers that replace the service's own ``Access-Control-…``; None leaves the service's.
    * ``websocket``: the key of a WebSocket handshake; None if it is none.
    * ``body_limit``: in bytes (0: none).
    * Time-outs: in seconds. The one for the response runs from the end of the request to the answer's head.
    * ``calls``: notified of each call to an instance.
    * ``client``: the client's address, as far as proxies vouch for it; slow bodies and slow downloads are counted by
      it.
    * ``cookies``: ``Set-Cookie`` lines for the client; an answer that has one is not for shared caches. ``extra``:
      further headers for the client. ``key``: calls with the same key get the same instance, if the service says so.
    * ``security``: adds the security headers that the answer lacks. ``downloads`` counts slow downloads.
    * ``retry``: when the call is repeated; None: never. ``breaker``: the circuit breaker that it passes; None: none.
    * ``on_commands`` carries out what the answer asks of the waiting room, before the answer is passed on.
    * ``private``: an answer with a status of 2xx is kept from shared caches.
    * ``tls``: how ``https`` instances are called; None: as the system's certificates say.
    * ``watch_session``: a WebSocket ends with the session that let it in; None: it outlives the session.
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
    calls: CallObserver = NO_CALL_OBSERVER
    client: str = ""
    security: SecurityHeaders | None = None
    downloads: Downloads = _UNSHARED
    cookies: tuple[str, ...] = ()
    extra: tuple[tuple[bytes, bytes], ...] = ()
    key: str = ""
    retry: RetryPolicy | None = None
    breaker: BreakerPolicy | None = None
    on_commands: Callable[[QueueCommands], Awaitable[None]] | None = None
    private: bool = False
    watch_session: WatchSession | None = None
    tls: ServiceTls | None = None

    def after(self, commands: QueueCommands) -> ForwardPlan:
        """The plan for an answer with these commands: a session that has ended needs no cookie any more."""
        return self._replace(cookies=()) if commands.leave and self.cookies else self
