"""Properties of a Config Server that are not read, and what would be otherwise if they were. Pure.

A shared repository is full of properties that concern others. What is named here concerns a gateway: an operator who
moves from another one should know of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.routing.config.names import Segment
from gateway.spring.names import uniform

_HERE: Final = "nothing here reads it"
_EUREKA: Final = "what belongs to Eureka is set by variables alone: see docs/eureka.md"
_REDIS: Final = "where the waiting room is says REDIS_URL alone"
_SERVER: Final = "the gateway's own server is set by variables alone: see docs/settings.md"
_ACTUATOR: Final = "/actuator has the paths and endpoints of docs/api.md"
_FILTERS: Final = "filters, predicates and headers of a kind can't be switched off or set so"
_POOL: Final = "connections to services are limited neither in number nor in age"
_TLS: Final = "TLS to services is as the machine's certificates say"
_SPANS: Final = "spans go to ZIPKIN_ENDPOINT, and services get W3C traceparent"
_USERS: Final = "there are no users but those of tokens, and open calls are those of routes.yaml"

# Without case and hyphens. ``~`` stands for the gateway's prefix of either generation. The longest beginning counts.
_MEANINGS: Final[Mapping[str, str]] = {
    "~": _HERE,
    "~.enabled": "the gateway can't be switched off",
    "~.forwarded": "Forwarded names no address of the gateway",
    "~.globalfilter": "there are no global filters to be switched",
    "~.filter": _FILTERS,
    "~.predicate": _FILTERS,
    "~.httpclient": "it is nothing that the way to services has here",
    "~.httpclient.pool": _POOL,
    "~.httpclient.ssl": _TLS,
    "~.httpclient.proxy": "services are called without a proxy",
    "~.httpclient.compression": "answers of services pass as they are",
    "~.httpclient.websocket": "frames of WebSockets pass whatever their length",
    "~.loadbalancer": "a service without instances is 503",
    "~.redisratelimiter": "the waiting room is what limits here",
    "~.setstatus": "the status of the service is not told in a header",
    "~.version": "the predicate Version is not supported",
    "~.xforwarded": "services get one value of X-Forwarded-Host, -Port and -Proto, the client's",
    "spring.security": _USERS,
    "spring.security.oauth2.resourceserver": "tokens are checked with jwk-set-uri and what belongs to it",
    "spring.data.redis": _REDIS,
    "spring.redis": _REDIS,
    "spring.webflux.basepath": "the gateway has no path before its own",
    "spring.lifecycle": _SERVER,
    "spring.cloud.loadbalancer": "instances take turns, and one that refuses connections is left out for a while",
    "spring.cloud.discovery": _EUREKA,
    "spring.cloud.config": "the Config Server is set by variables alone",
    "spring.web.locale": "the language of messages is DEFAULT_LOCALE",
    "eureka": _EUREKA,
    "server": _SERVER,
    "management.server": _ACTUATOR,
    "management.endpoints.web.basepath": _ACTUATOR,
    "management.endpoints.web.pathmapping": _ACTUATOR,
    "management.endpoints.web.exposure.exclude": _ACTUATOR,
    "management.endpoints.web.cors": "pages of other origins get nothing of /actuator",
    "management.tracing.propagation": _SPANS,
    "management.tracing.baggage": _SPANS,
    "management.tracing.export": _SPANS,
    "management.otlp": _SPANS,
    "management.opentelemetry": _SPANS,
    "management.wavefront": _SPANS,
    "springdoc.apidocs": "the gateway's own description is at /v3/api-docs",
    "springdoc.swaggerui": "Swagger UI is at /swagger-ui.html",
    "queue": "the rooms are set by variables and in routes.yaml: see docs/queue.md",
}
_HARMLESS: Final = frozenset(
    {"~.failonroutedefinitionerror", "~.handlermapping", "~.httpserver.wiretap", "~.metrics", "~.mvc"}
    | {"~.observability", "~.restrictivepropertyaccessor", "~.routefiltercacheenabled", "~.server.webmvc"}
    | {"~.routerefreshlistener", "~.streamingmediatypes", "~.function", "~.actuator"}
    | {"~.forwarded.order", "~.xforwarded.order", "~.filter.removehopbyhop.order", "~.httpclient.wiretap"}
    | {"~.httpclient.pool.name", "~.httpclient.pool.metrics", "~.httpclient.pool.evictioninterval"}
    | {"~.httpclient.pool.leasingstrategy", "~.httpclient.ssl.handshaketimeout"}
    | {"~.httpclient.ssl.closenotifyflushtimeout", "~.httpclient.ssl.closenotifyreadtimeout"}
    | {"spring.data.redis.clientname", "spring.data.redis.lettuce", "spring.data.redis.jedis"}
    | {"spring.data.redis.repositories", "spring.security.filter", "spring.cloud.loadbalancer.cache"}
    | {"spring.cloud.loadbalancer.ribbon", "spring.cloud.loadbalancer.enabled", "spring.cloud.config.server"}
    | {"eureka.client.healthcheck", "eureka.server", "eureka.dashboard"}
    | {
        "server.error",
        "server.jetty",
        "server.servlet",
        "server.tomcat",
        "server.undertow",
        "server.reactive",
    }
    | {
        "management.tracing.sampling",
        "springdoc.swaggerui.operationssorter",
        "springdoc.swaggerui.tagssorter",
    }
)
_DEFAULTS: Final[Mapping[str, str]] = {
    "springdoc.apidocs.path": "/v3/api-docs",
    "springdoc.swaggerui.path": "/swagger-ui.html",
    "spring.cloud.discovery.enabled": "true",
    "~.httpclient.compression": "false",
    "~.httpclient.ssl.useinsecuretrustmanager": "false",
    "~.loadbalancer.use404": "false",
}
"""Values that change nothing."""
_GATEWAY: Final = ("spring", "cloud", "gateway")


def meaning_of(segments: Sequence[Segment], value: str) -> str:
    """What it means that a property of this name and value is not read; empty if it is harmless or concerns others."""
    steps = [str(segment.plain) for segment in segments]
    if tuple(steps[:3]) == _GATEWAY:
        newer = steps[3:5] == ["server", "webflux"]
        steps = ["~", *steps[5 if newer else 3 :]]
    name = ".".join(steps)
    if _DEFAULTS.get(name) == uniform(value) or _DEFAULTS.get(name) == value.strip():
        return ""
    # All that can be switched is on, but for what stands above.
    if steps and steps[-1] == "enabled" and value.strip().lower() == "true" and name not in _DEFAULTS:
        return ""
    for length in range(len(steps), 0, -1):
        beginning = ".".join(steps[:length])
        if beginning in _HARMLESS:
            return ""
        if beginning in _MEANINGS:
            return _MEANINGS[beginning]
    return ""
