"""The routes of the gateways that are compared."""

from __future__ import annotations

from typing import Final

_SERVED = """
  - {id: open, uri: "lb://service", predicates: ["Path=/open/**"]}
  - {id: reservations, uri: "lb://service", predicates: ["Path=/api/v1/reservations/**"]}
  - {id: seats, uri: "lb://service", predicates: ["Path=/api/v1/reservation-seats/**"]}
  - {id: loud, uri: "lb://service", predicates: ["Path=/API/**"]}
  - {id: alias, uri: "lb://service", predicates: ["Path=/shop/**"],
     filters: ["RewritePath=/shop/(?<rest>.*), /api/v1/$\\\\{rest}"]}
  - {id: prefix, uri: "lb://service", predicates: ["Path=/x/**"], filters: [StripPrefix=1]}
  - {id: set, uri: "lb://service", predicates: ["Path=/buy/{what}"], filters: ["SetPath=/api/v1/{what}"]}
  - {id: renewing, uri: "lb://service", predicates: ["Path=/tickets/**"]}
  - {id: private, uri: "lb://service", predicates: ["Path=/private/**"]}
"""

_FEATURES = """
  - id: edited
    uri: "lb://service"
    predicates: ["Path=/edited/{segment}/**"]
    filters:
      - StripPrefix=1
      - "PrefixPath=/open"
      - "AddRequestParameter=tenant, {segment}"
      - RemoveRequestParameter=debug
      - "AddRequestHeader=X-Red, blue-{segment}"
      - "SetRequestHeader=X-Set, new"
      - "AddRequestHeadersIfNotPresent=X-A:1,X-B:2"
      - RemoveRequestHeader=X-Gone
      - "MapRequestHeader=Blue, X-Mapped"
      - "AddResponseHeader=X-Out, 1"
      - "SetResponseHeader=X-Evil, none"
      - "RemoveResponseHeader=X-Gone"
  - {id: preserved, uri: "lb://service", predicates: ["Path=/preserved/**"],
     filters: [PreserveHostHeader, StripPrefix=1]}
  - {id: hosted, uri: "lb://service", predicates: ["Path=/hosted/{tenant}/**"],
     filters: ["SetRequestHostHeader={tenant}.example.org"]}
  - {id: notfound, uri: "lb://service", predicates: ["Path=/notfound/**"], filters: [SetStatus=NOT_FOUND]}
  - {id: nocontent, uri: "lb://service", predicates: ["Path=/nocontent/**"], filters: [SetStatus=204]}
  - {id: redirect, uri: "lb://service", predicates: ["Path=/redirect/**"],
     filters: ["RedirectTo=302, https://acme.example/new, true"]}
  - {id: location, uri: "lb://service", predicates: ["Path=/location/**"], filters: [RewriteLocationResponseHeader]}
  - {id: secure, uri: "lb://service", predicates: ["Path=/secure/**"], filters: [SecureHeaders]}
  - {id: small, uri: "lb://service", predicates: ["Path=/small/**"], filters: [RequestSize=1KB]}
  - {id: short, uri: "lb://service", predicates: ["Path=/short/**"], filters: ["RequestHeaderSize=20B"]}
  - {id: told, uri: "lb://service", predicates: ["Path=/told/**"],
     filters: [StripPrefix=1, "AddRequestHeader=X-Forwarded-Prefix, /shop",
               "SetRequestHeader=X-Forwarded-Proto, https"]}
  - {id: late, uri: "lb://service", predicates: ["Path=/late/**"], metadata: {response-timeout: 60}}
  - {id: retried, uri: "lb://service", predicates: ["Path=/retried/**"], filters: [{name: Retry,
     args: {retries: 2, methods: [GET, HEAD, POST], statuses: TOO_MANY_REQUESTS}}]}
  - {id: guarded, uri: "lb://service", predicates: ["Path=/guarded/**"], filters: [{name: CircuitBreaker,
     args: {statusCodes: 503, slidingWindowSize: 4, timeoutDuration: 5s}}]}
  - {id: fixed, uri: "lb://service", predicates: ["Path=/fixed/**"], filters: [{name: CircuitBreaker,
     args: {statusCodes: 503, slidingWindowSize: 4, timeoutDuration: 5s, fallbackBody: instead}}]}
  - {id: limited, uri: "lb://service", predicates: ["Path=/limited/**"], filters: [{name: RequestRateLimiter,
     args: {replenishRate: 1, burstCapacity: 2, requestedTokens: 2, key: "header:X-Key"}}]}
  - {id: nobody, uri: "lb://nobody", predicates: ["Path=/nobody/**"]}
  - {id: refusing, uri: "http://127.0.0.1:1", predicates: ["Path=/refusing/**"]}
  - {id: direct, uri: "{service}", predicates: ["Path=/direct/**"]}
"""

_RULES = """
services:
  service: ["{service}"]
gates:
  - calls: [POST /api/v1/reservations, POST /api/v1/reservation-seats/**, GET /tickets/gated]
    renews: [GET /tickets/**]
  - room: vip
    calls: [POST /tickets/vip]
rooms:
  full: {capacity: 0}
access:
  public: ["/open/**", "/x/**", "/shop/open/**", "/edited/**", "/preserved/**", "/hosted/**", "/notfound/**",
           "/nocontent/**", "/redirect/**", "/location/**", "/secure/**", "/small/**", "/short/**", "/told/**",
           "/late/**", "/retried/**", "/guarded/**", "/fixed/**", "/limited/**",
           "/nobody/**", "/refusing/**", "/direct/**"]
"""

ROUTES = f"routes:{_SERVED}{_FEATURES}{_RULES}"

ROUTES_WITH_RULES = f"""{ROUTES}
cors:
  cors-configurations:
    '[/open/**]':
      allowedOrigins: ["*"]
    '[/api/**]':
      allowedOrigins: [https://tickets.example.com]
      allowedMethods: [GET, POST, DELETE]
      allowedHeaders: [Authorization, Content-Type]
      exposedHeaders: [Retry-After]
      allowCredentials: true
      maxAge: 600
"""

USUAL: Final = {"identity_hmac_secret": "a-secret-of-the-tests", "proxy_response_timeout_seconds": "5"}
"""Settings that go with ``ROUTES``."""

RULED: Final = {
    "gateway_profile": "spring",
    "server_forward_headers_strategy": "framework",
    "trusted_proxies": "127.0.0.0/8",
    "max_request_body_bytes": "66000",
    "proxy_response_timeout_seconds": "5",
    "tracing_sampling_probability": "1",
}
"""Settings that go with ``ROUTES_WITH_RULES``."""
