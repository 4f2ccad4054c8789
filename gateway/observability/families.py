"""The metrics of forwarding and of visitors: what is counted, and under which names."""

from __future__ import annotations

from gateway.observability.instruments import LATENCY
from gateway.observability.room_metrics import Maker


class ForwardingFamilies:
    """The metrics of calls to services: time, errors, repeats, breakers, limits of the rate, ejections."""

    def __init__(self, make: Maker) -> None:
        self.upstream = make.latency(
            "upstream_seconds", "Time until a service sent its response's head.", LATENCY, "route"
        )
        self.upstream_errors = make.counter(
            "upstream_errors", "Calls a service did not answer.", "route", "code"
        )
        self.retries = make.counter(
            "upstream_retries",
            "Calls repeated by the filter Retry, by the status that the service sent or the code of the error.",
            "route",
            "reason",
        )
        self.retries_refused = make.counter(
            "upstream_retries_refused", "Calls not repeated because the route's budget was spent.", "route"
        )
        self.breaker_states = make.gauge(
            "circuit_breaker_state", "1 for the state that a circuit breaker is in.", "name", "state"
        )
        self.breaker_calls = make.counter(
            "circuit_breaker_calls",
            "Calls through circuit breakers: successful, failed, ignored, not_permitted.",
            "name",
            "kind",
        )
        self.fallbacks = make.counter("fallbacks", "Calls that a fallback answered.", "route")
        self.rate_limits = make.counter(
            "rate_limit_requests",
            "Requests of routes that limit the rate: allowed, limited, no_key, or unchecked because Redis was away.",
            "route",
            "outcome",
        )
        self.ejections = make.counter(
            "instances_ejected",
            "Times an instance of a service was left out because it had failed.",
            "service",
        )
        self.health_checks = make.counter(
            "health_checks", "Health checks of instances: passed or failed.", "service", "outcome"
        )
        self.health_changes = make.counter(
            "instance_health_changes",
            "Times the health checks of an instance changed their result, by the new one: healthy or unhealthy.",
            "service",
            "to",
        )
        self.lookups = make.counter(
            "name_lookups", "Lookups of the names of services: ok or failed.", "outcome"
        )
        self.instances = make.census(
            "service_instances",
            "Instances of services, each address of a name being one: healthy, unhealthy, unknown (not checked yet) or "
            "ejected.",
            "service",
            "state",
        )


class VisitorFamilies:
    """The metrics of people without a login."""

    def __init__(self, make: Maker) -> None:
        self.cookies = make.tally(
            "visitor_cookies", "Cookies of visitors looked for or set.", "outcome"
        ).counts
        self.places_moved = make.counter(
            "places_moved", "Places and slots that became another's: user or device.", "room", "to"
        )
        self.challenges = make.counter(
            "challenges", "Questions about visitors to the service of a room's challenge.", "room", "outcome"
        )
