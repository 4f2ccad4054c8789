"""The metrics for Prometheus. Labels are route ids, rooms and fixed words, never raw paths.

``Metrics`` is passed to every part that reports something; ``NoMetrics`` has the same methods and keeps nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram

from gateway.observability.families import ForwardingFamilies, VisitorFamilies
from gateway.observability.instruments import LATENCY, Series
from gateway.observability.room_metrics import Maker, RoomFamilies, RoomMetrics, RoomNumbers
from gateway.observability.route_numbers import RouteNumbers, route_numbers

_SCRIPT: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0)
_LAG: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
_BATCH: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
# Any other method counts as OTHER, so that clients can't create labels without limit.
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
BREAKER_STATES: Final = ("closed", "open", "half_open")
BREAKER_RESULTS: Final = ("successful", "failed", "ignored", "not_permitted")
REFUSALS: Final = ("memory", "disk", "replicas", "read-only")


class RedisStatus(Protocol):
    """What is known of Redis."""

    @property
    def away(self) -> str:
        """Why Redis counts as away; empty if it answers."""

    @property
    def refuses(self) -> str:
        """The one of ``REFUSALS`` for which Redis accepts no writes; empty if it accepts them."""


class Metrics:
    """Keeps everything in ``registry``. All times are in seconds; every method returns at once."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        make = Maker(registry)
        self._requests = make.latency(
            "requests_seconds",
            "Requests answered: how many, and how long until the last byte was handed over.",
            LATENCY,
            "route",
            "method",
            "status",
        )
        self._forwarding = ForwardingFamilies(make)
        self._rejections = make.tally(
            "rejections", "Requests that the gateway answered with an error of its own.", "code"
        ).counts
        self._unchecked = make.counter("gate_unchecked", "Gated requests let pass because Redis was away.")
        self._would_refuse = make.counter(
            "room_would_refuse",
            "Gated requests that passed because the room is only observed, by what they would have got.",
            *("room", "code"),
        )
        self._bypassed = make.counter(
            "room_bypassed",
            "Gated requests let pass without a place, by the rule of the room.",
            "room",
            "name",
        )
        self._commands_dropped = make.counter(
            "queue_commands_dropped",
            "Headers of services for the waiting room that came from calls without a gate, or with unusable values.",
        )
        self._tokens = make.tally("tokens", "Requests looked at for a token.", "outcome").counts
        self._visitors = VisitorFamilies(make)
        self._operator_tokens = make.counter(
            "operator_tokens_rejected", "Calls to operators' endpoints with a token that is no operator's."
        )
        self._fast_path = make.tally(
            "fast_path_requests", "Requests served on the fast path.", "route"
        ).counts
        self._jwks = make.counter("jwks_fetches", "Fetches of the key set.", "outcome")
        self._reloads = make.counter("route_reloads", "Reloads of the routes.", "outcome")
        self._routes_ok = make.gauge("routes_up_to_date", "1 unless the last reload was refused.")
        self._eureka = make.counter("eureka_calls", "Calls to Eureka.", "operation", "outcome")
        self._discovered = make.gauge("eureka_instances", "Instances of services that Eureka says are up.")
        self._config = make.counter("config_fetches", "Looks at the Config Server.", "outcome")
        self._streams = make.gauge("streams_open", "Open streams of this instance.")
        self._frames = make.counter("stream_frames", "Frames written to streams.")
        self._cut_off = make.counter(
            "stream_readers_cut_off", "Streams ended because the reader had stopped."
        )
        self._tunnels = make.gauge("websockets_open", "Open WebSockets to services.")
        self._tunnels_ended = make.counter(
            "websockets_ended",
            "WebSockets that ended: by client, service, idle, session or shutdown.",
            "route",
            "by",
        )
        self._lag = make.latency(
            "loop_lag_seconds", "How late the event loop was, measured ten times a second.", _LAG
        ).of()
        self._failed_handshakes = make.counter(
            "tls_handshakes_failed", "TLS handshakes on SERVER_PORT that failed, by reason.", "reason"
        )
        self._refused_headers = make.counter(
            "proxy_headers_refused", "Malformed headers of the PROXY protocol from trusted proxies."
        )
        self._displaced = make.counter(
            "idle_connections_displaced", "Idle connections ended for new ones, since there were too many."
        )
        self._script = make.histogram("script_seconds", "Script calls to Redis.", _SCRIPT, "script")
        self._batch = make.histogram("script_batch_users", "Users in one script call.", _BATCH, "script")
        self._script_failures = make.counter("script_failures", "Script calls that failed.", "script")
        self._redis_up = make.gauge(
            "redis_up", "1 while Redis answers within a second, by a probe of its own."
        )
        self._redis_refuses = make.gauge(
            "redis_refuses_writes",
            "1 while Redis answers but takes no writes: memory (it is at maxmemory), disk, replicas or read-only.",
            "reason",
        )
        self._sweeps = make.counter("sweeps", "Sweeps done by this instance.", "room", "outcome")
        self.in_progress = 0
        """Requests that are being answered; the code that answers a request counts it here."""
        make.gauge("requests_in_flight", "Requests being answered, streams among them.").set_function(
            lambda: self.in_progress
        )
        self._spans = make.counter(
            "trace_spans",
            "Spans: sent to Zipkin or by OTLP, not taken there, or dropped because too many waited.",
            "receiver",
            "outcome",
        )
        self._rooms: dict[str, RoomMetrics] = {}
        self._label_of: Callable[[str], str] = lambda room: room
        self._made = make.gauge("rooms_made", "Rooms that calls have made and that are not forgotten.")
        self._scripts: dict[str, tuple[Histogram, Histogram]] = {}
        self._by_route: dict[str, Series] = {}
        self._by_limit: dict[tuple[str, str], Counter] = {}
        self._by_answer: dict[tuple[str, str, int], Series] = {}
        self._room_families = RoomFamilies(make)
        self._routes_ok.set(1)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request was answered. ``route``: a route's id, or a fixed name for the gateway's own paths."""
        key = (route, method, status // 100)
        child = self._by_answer.get(key)
        if child is None:
            known = method if method in METHODS else "OTHER"
            child = self._requests.of(route, known, f"{status // 100}xx")
            if known == method:
                self._by_answer[key] = child
        child.observe(seconds)

    def route_numbers(self) -> Mapping[str, RouteNumbers]:
        """The totals of each route so far, and of the gateway's own paths by their fixed names."""
        return route_numbers(self._requests, self._forwarding.upstream)

    def upstream(self, route: str, seconds: float) -> None:
        """A service answered; ``seconds`` is the time until the head of its response."""
        series = self._by_route.get(route)
        if series is None:
            series = self._by_route[route] = self._forwarding.upstream.of(route)
        series.observe(seconds)

    def upstream_error(self, route: str, code: str) -> None:
        """A service did not answer; ``code`` is that of the error."""
        self._forwarding.upstream_errors.labels(route, code).inc()

    def retried(self, route: str, reason: str) -> None:
        """A call is repeated. ``reason``: the status that the service sent, or the code of the error."""
        self._forwarding.retries.labels(route, reason).inc()

    def retry_refused(self, route: str) -> None:
        """A call is not repeated, only because the route's budget is spent."""
        self._forwarding.retries_refused.labels(route).inc()

    def breaker_state(self, name: str, state: str) -> None:
        """A circuit breaker is in this state now."""
        for each in BREAKER_STATES:
            self._forwarding.breaker_states.labels(name, each).set(each == state)

    def breaker_call(self, name: str, result: str) -> None:
        """A call through a circuit breaker ended, or was not permitted."""
        self._forwarding.breaker_calls.labels(name, result).inc()

    def breaker_forgotten(self, name: str) -> None:
        """No route names this circuit breaker any more."""
        for state in BREAKER_STATES:
            self._forwarding.breaker_states.remove(name, state)
        for result in BREAKER_RESULTS:
            self._forwarding.breaker_calls.remove(name, result)

    def fell_back(self, route: str) -> None:
        """A call of this route failed, and its fallback answers."""
        self._forwarding.fallbacks.labels(route).inc()

    def rate_limited(self, route: str, outcome: str) -> None:
        """A request of a route that limits the rate was ``allowed``, ``limited``, refused for want of a key
        (``no_key``), or passed ``unchecked``."""
        counter = self._by_limit.get((route, outcome))
        if counter is None:
            counter = self._by_limit[route, outcome] = self._forwarding.rate_limits.labels(route, outcome)
        counter.inc()

    def ejected(self, service: str) -> None:
        """An instance of this service is left out because it has failed."""
        self._forwarding.ejections.labels(service).inc()

    def health_checked(self, service: str, passed: bool) -> None:
        """A health check of an instance of this service has ended."""
        self._forwarding.health_checks.labels(service, "passed" if passed else "failed").inc()

    def health_changed(self, service: str, healthy: bool) -> None:
        """The health checks of an instance of this service have changed their result."""
        self._forwarding.health_changes.labels(service, "healthy" if healthy else "unhealthy").inc()

    def looked_up(self, ok: bool) -> None:
        """The name of a service was looked up."""
        self._forwarding.lookups.labels("ok" if ok else "failed").inc()

    def count_instances(self, read: Callable[[], Iterable[tuple[tuple[str, str], int]]]) -> None:
        """From now on the instances are counted by ``read``, whenever the metrics are collected, and in any thread: by
        service and state."""
        self._forwarding.instances.read = read

    def rejected(self, code: str) -> None:
        """The gateway answered a request with this error code."""
        self._rejections[code] += 1

    def passed_unchecked(self) -> None:
        """A gated request passed without a check, because Redis was away and ``QUEUE_FAIL_OPEN`` is set."""
        self._unchecked.inc()

    def would_refuse(self, room: str, code: str) -> None:
        """The gate of a room that is only observed would have refused a request with this error code."""
        self._would_refuse.labels(self._label_of(room), code).inc()

    def bypassed(self, room: str, name: str) -> None:
        """A gated request passed without a place, by the rule ``name`` of its room."""
        self._bypassed.labels(self._label_of(room), name).inc()

    def queue_commands_dropped(self, count: int) -> None:
        """A service has sent so many headers for the waiting room that have no effect."""
        self._commands_dropped.inc(count)

    def token(self, outcome: str) -> None:
        """The token of a request was checked: ``ok``, ``cached``, ``late``, or the error's code."""
        self._tokens[outcome] += 1

    def visitor_cookie(self, outcome: str) -> None:
        """A visitor's cookie was looked for or set: see ``VisitorCookies``."""
        self._visitors.cookies[outcome] += 1

    def place_moved(self, room: str, to: str) -> None:
        """A visitor's place or slot became that of a ``user``, or moved to another ``device``."""
        self._visitors.places_moved.labels(self._label_of(room), to).inc()

    def challenge(self, room: str, outcome: str) -> None:
        """The service of a room's challenge was asked about a visitor: ``passed``, ``refused`` or ``failed``."""
        self._visitors.challenges.labels(self._label_of(room), outcome).inc()

    def operator_token_rejected(self) -> None:
        """A call to an operators' endpoint had a token that is no operator's."""
        self._operator_tokens.inc()

    def fast_path_request(self, route: str) -> None:
        """The fast path serves a request of this route."""
        self._fast_path[route] += 1

    def jwks_fetched(self, ok: bool) -> None:
        """The key set was fetched; ``ok`` says whether that succeeded."""
        self._jwks.labels("ok" if ok else "failed").inc()

    def routes_reloaded(self, ok: bool) -> None:
        """The routes were read again. ``ok``: the new ones were accepted, else refused."""
        self._reloads.labels("ok" if ok else "refused").inc()
        self._routes_ok.set(ok)

    def eureka_call(self, operation: str, outcome: str) -> None:
        """Eureka was called, one server after the other: ``ok``, or ``failed`` if none answered."""
        self._eureka.labels(operation, outcome).inc()

    def eureka_instances(self, count: int) -> None:
        """Eureka lists ``count`` instances as up."""
        self._discovered.set(count)

    def config_fetched(self, outcome: str) -> None:
        """The Config Server was called: ``ok``, ``failed``, or ``refused`` if its configuration can't be used."""
        self._config.labels(outcome).inc()

    def stream_opened(self) -> None:
        """A stream was opened."""
        self._streams.inc()

    def stream_closed(self) -> None:
        """A stream ended, for any reason."""
        self._streams.dec()

    def frames(self, count: int) -> None:
        """``count`` frames were written to streams."""
        self._frames.inc(count)

    def slow_client_cut_off(self) -> None:
        """A stream was ended because its client had stopped reading."""
        self._cut_off.inc()

    def tunnel_opened(self) -> None:
        """A WebSocket to a service was opened."""
        self._tunnels.inc()

    def tunnel_closed(self, route: str, by: str) -> None:
        """A WebSocket to a service ended. ``by``: one of the sides, silence, or the end of the gateway itself."""
        self._tunnels.dec()
        self._tunnels_ended.labels(route, by).inc()

    def loop_lag(self, seconds: float) -> None:
        """The event loop was ``seconds`` late."""
        self._lag.observe(seconds)

    def on_call(self, script: str, seconds: float, size: int, failed: bool) -> None:
        """A script was called for ``size`` users."""
        pair = self._scripts.get(script)
        if pair is None:
            pair = self._scripts[script] = (self._script.labels(script), self._batch.labels(script))
        pair[0].observe(seconds)
        pair[1].observe(size)
        if failed:
            self._script_failures.labels(script).inc()

    def on_summary(self, room: str, summary: RoomNumbers) -> None:
        """A room's numbers after a call, and what the call did."""
        self._of(room).update(room, summary)

    def swept(self, room: str, outcome: str) -> None:
        """A sweep ended: ``ok``, ``failed``, or ``elsewhere`` if another instance sweeps."""
        self._sweeps.labels(self._label_of(room), outcome).inc()

    def estimated(self, room: str, first_estimate: float, real: float) -> None:
        """A stream sent an admission ``real`` seconds after its first estimate, which was ``first_estimate``
        seconds."""
        self._of(room).estimated(first_estimate, real)

    def redis_state(self, state: RedisStatus) -> None:
        """Redis became unreachable or reachable again, or stopped or started accepting writes."""
        self._redis_up.set(not state.away)
        for reason in REFUSALS:
            self._redis_refuses.labels(reason).set(reason == state.refuses)

    def label_rooms(self, label_of: Callable[[str], str], made: Callable[[], int]) -> None:
        """Calls may make rooms. ``label_of``: the label of a room, of which there is a bounded number. ``made``: how
        many such rooms there are."""
        self._label_of = label_of
        self._made.set_function(made)

    def room_stopped(self, room: str) -> None:
        """The room runs here no longer, so that its numbers are not known any more."""
        self._of(room).forget(room)

    def _of(self, room: str) -> RoomMetrics:
        label = self._label_of(room)
        of_label = self._rooms.get(label)
        if of_label is None:
            of_label = self._rooms[label] = RoomMetrics(self._room_families, label)
        return of_label

    def handshake_failed(self, reason: str) -> None:
        """A client's TLS handshake failed: ``plain_text``, ``version``, ``cipher``, ``certificate``, ``timeout``,
        ``closed`` or ``other``."""
        self._failed_handshakes.labels(reason).inc()

    def proxy_header_refused(self) -> None:
        """A trusted proxy sent a malformed header of the PROXY protocol."""
        self._refused_headers.inc()

    def idle_connection_displaced(self) -> None:
        """An idle connection was ended for a new one, because there were as many as there may be."""
        self._displaced.inc()

    def spans(self, receiver: str, outcome: str, count: int) -> None:
        """``count`` spans for ``zipkin`` or ``otlp`` were ``sent``, ``failed`` or ``dropped``. Safe from any thread."""
        self._spans.labels(receiver, outcome).inc(count)


class NoMetrics(Metrics):
    """Has all methods of ``Metrics`` and keeps nothing."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.in_progress = 0

    def request(self, route: str, method: str, status: int, seconds: float) -> None: ...
    def route_numbers(self) -> Mapping[str, RouteNumbers]:
        return {}

    def upstream(self, route: str, seconds: float) -> None: ...
    def upstream_error(self, route: str, code: str) -> None: ...
    def retried(self, route: str, reason: str) -> None: ...
    def retry_refused(self, route: str) -> None: ...
    def breaker_state(self, name: str, state: str) -> None: ...
    def breaker_call(self, name: str, result: str) -> None: ...
    def breaker_forgotten(self, name: str) -> None: ...
    def fell_back(self, route: str) -> None: ...
    def ejected(self, service: str) -> None: ...
    def health_checked(self, service: str, passed: bool) -> None: ...
    def health_changed(self, service: str, healthy: bool) -> None: ...
    def looked_up(self, ok: bool) -> None: ...
    def count_instances(self, read: Callable[[], Iterable[tuple[tuple[str, str], int]]]) -> None: ...
    def rate_limited(self, route: str, outcome: str) -> None: ...
    def rejected(self, code: str) -> None: ...
    def passed_unchecked(self) -> None: ...
    def would_refuse(self, room: str, code: str) -> None: ...
    def bypassed(self, room: str, name: str) -> None: ...
    def queue_commands_dropped(self, count: int) -> None: ...
    def token(self, outcome: str) -> None: ...
    def visitor_cookie(self, outcome: str) -> None: ...
    def place_moved(self, room: str, to: str) -> None: ...
    def challenge(self, room: str, outcome: str) -> None: ...
    def operator_token_rejected(self) -> None: ...
    def fast_path_request(self, route: str) -> None: ...
    def jwks_fetched(self, ok: bool) -> None: ...
    def routes_reloaded(self, ok: bool) -> None: ...
    def eureka_call(self, operation: str, outcome: str) -> None: ...
    def eureka_instances(self, count: int) -> None: ...
    def config_fetched(self, outcome: str) -> None: ...
    def stream_opened(self) -> None: ...
    def stream_closed(self) -> None: ...
    def frames(self, count: int) -> None: ...
    def slow_client_cut_off(self) -> None: ...
    def tunnel_opened(self) -> None: ...
    def tunnel_closed(self, route: str, by: str) -> None: ...
    def loop_lag(self, seconds: float) -> None: ...
    def label_rooms(self, label_of: Callable[[str], str], made: Callable[[], int]) -> None: ...
    def room_stopped(self, room: str) -> None: ...
    def on_call(self, script: str, seconds: float, size: int, failed: bool) -> None: ...
    def on_summary(self, room: str, summary: RoomNumbers) -> None: ...
    def swept(self, room: str, outcome: str) -> None: ...
    def redis_state(self, state: RedisStatus) -> None: ...
    def estimated(self, room: str, first_estimate: float, real: float) -> None: ...
    def spans(self, receiver: str, outcome: str, count: int) -> None: ...
    def handshake_failed(self, reason: str) -> None: ...
    def proxy_header_refused(self) -> None: ...
    def idle_connection_displaced(self) -> None: ...
