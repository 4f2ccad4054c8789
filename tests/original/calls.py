"""The calls that are compared, in the order in which they are made: later ones build on what earlier ones did.

A token's kind is what ``Site.token`` understands. Alice and Bob are let in, Carol waits, Dave never lines up.
"""

from __future__ import annotations

from dataclasses import dataclass, field

PAGE = {"Origin": "https://tickets.example.com"}
ASKS_POST = {
    **PAGE,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type",
}
ASKS_GET = {**PAGE, "Access-Control-Request-Method": "GET"}
JSON = {"Content-Type": "application/json"}
SPOOFED = {"X-User-Id": "mallory", "X-User-Type": "ADMIN"}


@dataclass(frozen=True)
class Call:
    """One request. ``depth`` is how far the shape of a JSON answer is kept."""

    group: str
    name: str
    method: str
    path: str
    token: str = "none"
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    depth: int = 4


def _group(name: str, *calls: Call) -> list[Call]:
    found = [call for call in calls if call.group == name]
    assert len(found) == len(calls)
    return found


def _call(group: str, name: str, line: str, token: str = "none", **more: object) -> Call:
    method, path = line.split(" ", 1)
    return Call(group, name, method, path, token, **more)  # type: ignore[arg-type]


def _routes(name: str, line: str, token: str = "none", **more: object) -> Call:
    return _call("routes", name, line, token, **more)


ROUTES = _group(
    "routes",
    _routes("products", "GET /api/v1/products"),
    _routes("products-query", "GET /api/v1/products?page=0&size=20&q=%EA%B3%B5%EC%97%B0&q=a+b"),
    _routes("product", "GET /api/v1/products/7"),
    _routes("product-head", "HEAD /api/v1/products/7"),
    _routes("product-slash", "GET /api/v1/products/7/"),
    _routes("products-slash", "GET /api/v1/products/"),
    _routes("product-deeper", "GET /api/v1/products/7/seats"),
    _routes("product-deeper-user", "GET /api/v1/products/7/seats", "user:dave"),
    _routes("products-post", "POST /api/v1/products", headers=JSON, body='{"name":"a"}'),
    _routes("products-post-user", "POST /api/v1/products", "user:dave", headers=JSON, body='{"name":"a"}'),
    _routes("products-put-user", "PUT /api/v1/products/7", "user:dave", headers=JSON, body='{"name":"b"}'),
    _routes("products-patch-user", "PATCH /api/v1/products/7", "user:dave", headers=JSON, body="{}"),
    _routes("products-delete-user", "DELETE /api/v1/products/7", "user:dave"),
    _routes("arthalls", "GET /api/v1/arthalls"),
    _routes("arthalls-deeper", "GET /api/v1/arthalls/3/stages/1"),
    _routes("arthalls-post", "POST /api/v1/arthalls", headers=JSON, body="{}"),
    _routes("ticket-use", "POST /api/v1/tickets/5/use"),
    _routes("ticket", "GET /api/v1/tickets/5"),
    _routes("ticket-user", "GET /api/v1/tickets/5", "user:dave"),
    _routes("login", "POST /api/v1/auth/login", headers=JSON, body='{"email":"a@example.com"}'),
    _routes("register", "POST /api/v1/auth/register", headers=JSON, body="{}"),
    _routes("refresh", "POST /api/v1/auth/refresh", headers=JSON, body="{}"),
    _routes("check-email", "GET /api/v1/auth/check-email?email=a%40example.com"),
    _routes("me", "GET /api/v1/auth/me"),
    _routes("me-user", "GET /api/v1/auth/me", "user:dave"),
    _routes("oauth", "GET /api/v1/auth/oauth/kakao"),
    _routes("oauth-callback", "GET /api/v1/auth/oauth/kakao/callback?code=1&state=2"),
    _routes("oauth-link", "GET /api/v1/auth/oauth/kakao/link"),
    _routes("oauth-post", "POST /api/v1/auth/oauth/kakao"),
    _routes("keys", "GET /.well-known/jwks.json"),
    _routes("keys-user", "GET /.well-known/jwks.json", "user:dave"),
    _routes("docs-product", "GET /product-service/v3/api-docs"),
    _routes("docs-user", "GET /user-service/v3/api-docs"),
    _routes("docs-payment", "GET /payment-service/v3/api-docs"),
    _routes("no-instance", "GET /api/v1/user/1", "user:dave"),
    _routes("instance-refuses", "GET /api/v1/payments/1", "user:dave"),
    _routes("service-hangs-up", "GET /api/v1/arthalls/gone"),
    _routes("locator", "GET /ticket-service/api/v1/tickets/5"),
    _routes("locator-user", "GET /ticket-service/api/v1/tickets/5", "user:dave"),
    _routes("locator-capitals", "GET /TICKET-SERVICE/api/v1/tickets/5", "user:dave"),
    _routes("unknown", "GET /nothing/here"),
    _routes("unknown-user", "GET /nothing/here", "user:dave"),
    _routes("unknown-post-user", "POST /nothing/here", "user:dave"),
    _routes("root", "GET /"),
    _routes("root-user", "GET /", "user:dave"),
    _routes("health-path", "GET /health/live"),
    _routes("capitals", "GET /API/V1/PRODUCTS"),
    _routes("encoded-letter", "GET /api/v1/products/%37"),
    _routes("encoded-slash", "GET /api/v1/products/a%2Fb"),
    _routes("matrix", "GET /api/v1/products/7;v=1"),
    _routes("double-slash", "GET /api/v1//products"),
    _routes("dots", "GET /api/v1/arthalls/../products/7"),
    _routes("options", "OPTIONS /api/v1/products"),
    _routes("options-user", "OPTIONS /api/v1/products", "user:dave"),
    _routes("service-404", "GET /api/v1/arthalls/missing"),
    _routes("service-500", "GET /api/v1/arthalls/broken"),
    _routes("service-302", "GET /api/v1/arthalls/moved"),
    _routes("service-204", "GET /api/v1/arthalls/nothing"),
    _routes("service-cookie", "GET /api/v1/arthalls/cookie"),
    _routes("service-cached", "GET /api/v1/arthalls/cached"),
    _routes("service-framed", "GET /api/v1/arthalls/framed"),
)

FORWARDED = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "tickets.example.com",
    "X-Forwarded-Port": "443",
    "X-Forwarded-Prefix": "/shop",
}


def _headers(name: str, token: str = "none", **more: object) -> Call:
    return _call("headers", name, "GET /api/v1/products/7", token, **more)


HEADERS = _group(
    "headers",
    _headers("plain"),
    _headers("forwarded", headers=FORWARDED),
    _headers("forwarded-rfc", headers={"Forwarded": "for=203.0.113.9;proto=https;host=tickets.example.com"}),
    _headers("real-ip", headers={"X-Real-IP": "203.0.113.9"}),
    _headers("spoofed", headers=SPOOFED),
    _headers("spoofed-user", "user:dave", headers=SPOOFED),
    _headers("user-without-type", "no-type:dave"),
    _headers("trace", headers={"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}),
    _headers("trace-b3", headers={"b3": "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1"}),
    _headers(
        "hop-by-hop",
        headers={
            "Connection": "keep-alive, X-Own",
            "X-Own": "1",
            "TE": "trailers",
            "Keep-Alive": "timeout=5",
        },
    ),
    _headers("cookie", headers={"Cookie": "shop=1; other=2"}),
    _headers(
        "negotiation",
        headers={
            "Accept": "text/html",
            "Accept-Language": "en",
            "Accept-Encoding": "gzip",
            "User-Agent": "shop/1",
        },
    ),
    _headers("via", headers={"Via": "1.1 shop"}),
)


def _token(name: str, line: str, token: str, **more: object) -> Call:
    return _call("tokens", name, line, token, **more)


TOKENS = _group(
    "tokens",
    _token("private-none", "GET /api/v1/tickets/5", "none"),
    _token("private-expired", "GET /api/v1/tickets/5", "expired:dave"),
    _token("private-early", "GET /api/v1/tickets/5", "early:dave"),
    _token("private-forged", "GET /api/v1/tickets/5", "forged:dave"),
    _token("private-unknown-key", "GET /api/v1/tickets/5", "key:dave"),
    _token("private-other-issuer", "GET /api/v1/tickets/5", "issuer:dave"),
    _token("private-no-issuer", "GET /api/v1/tickets/5", "no-issuer:dave"),
    _token("private-no-subject", "GET /api/v1/tickets/5", "no-subject"),
    _token("private-garbage", "GET /api/v1/tickets/5", "text:x.y.z"),
    _token("private-basic", "GET /api/v1/tickets/5", "basic"),
    _token("private-lower-case", "GET /api/v1/tickets/5", "lower:dave"),
    _token("private-query", "GET /api/v1/tickets/5?access_token=x", "none"),
    _token("public-good", "GET /api/v1/products/7", "user:dave"),
    _token("public-expired", "GET /api/v1/products/7", "expired:dave"),
    _token("public-forged", "GET /api/v1/products/7", "forged:dave"),
    _token("public-garbage", "GET /api/v1/products/7", "text:x.y.z"),
    _token("public-basic", "GET /api/v1/products/7", "basic"),
    _token("refresh-expired", "POST /api/v1/auth/refresh", "expired:dave", headers=JSON, body="{}"),
    _token("actuator-expired", "GET /actuator/health", "expired:dave", depth=1),
    _token("unknown-expired", "GET /nothing/here", "expired:dave"),
)


def _queue(name: str, line: str, token: str = "none", **more: object) -> Call:
    return _call("queue", name, line, token, **more)


QUEUE = _group(
    "queue",
    _queue("status-none", "GET /api/v1/queue/status"),
    _queue("lineup-none", "POST /api/v1/queue/lineup"),
    _queue("stream-none", "GET /api/v1/queue/stream"),
    _queue("status-expired", "GET /api/v1/queue/status", "expired:alice"),
    _queue("status-not-in-queue", "GET /api/v1/queue/status", "user:alice"),
    _queue("stream-not-in-queue", "GET /api/v1/queue/stream", "user:alice"),
    _queue("delete-slot-of-none", "DELETE /api/v1/queue/allowed-in-token", "user:alice"),
    _queue("delete-place-of-none", "DELETE /api/v1/queue/waiting-token", "user:alice"),
    _queue("gate-none", "POST /api/v1/reservations", headers=JSON, body="{}"),
    _queue("gate-not-in-queue", "POST /api/v1/reservations", "user:dave", headers=JSON, body="{}"),
    _queue("gate-spoofed", "POST /api/v1/reservations", "user:dave", headers={**JSON, **SPOOFED}, body="{}"),
    _queue("lineup-allowed", "POST /api/v1/queue/lineup", "user:alice"),
    _queue("lineup-already", "POST /api/v1/queue/lineup", "user:alice"),
    _queue("lineup-bob", "POST /api/v1/queue/lineup", "user:bob"),
    _queue("lineup-waiting", "POST /api/v1/queue/lineup", "user:carol"),
    _queue("lineup-again", "POST /api/v1/queue/lineup", "user:carol"),
    _queue("lineup-body", "POST /api/v1/queue/lineup", "user:carol", headers=JSON, body='{"x":1}'),
    _queue("lineup-english", "POST /api/v1/queue/lineup", "user:carol", headers={"Accept-Language": "en"}),
    _queue("status-allowed", "GET /api/v1/queue/status", "user:alice"),
    _queue("status-waiting", "GET /api/v1/queue/status", "user:carol"),
    _queue("status-head", "HEAD /api/v1/queue/status", "user:carol"),
    _queue("status-query", "GET /api/v1/queue/status?x=1", "user:carol"),
    _queue("status-slash", "GET /api/v1/queue/status/", "user:carol"),
    _queue("status-html", "GET /api/v1/queue/status", "user:carol", headers={"Accept": "text/html"}),
    _queue("status-origin", "GET /api/v1/queue/status", "user:carol", headers=PAGE),
    _queue("stream-allowed", "GET /api/v1/queue/stream", "user:alice"),
    _queue("stream-json", "GET /api/v1/queue/stream", "user:carol", headers={"Accept": "application/json"}),
    _queue("gate-allowed", "POST /api/v1/reservations", "user:alice", headers=JSON, body='{"seat":1}'),
    _queue("gate-waiting", "POST /api/v1/reservations", "user:carol", headers=JSON, body="{}"),
    _queue("gate-waiting-origin", "POST /api/v1/reservations", "user:carol", headers={**JSON, **PAGE}),
    _queue(
        "gate-seats-allowed", "POST /api/v1/reservation-seats/3/hold", "user:bob", headers=JSON, body="{}"
    ),
    _queue(
        "gate-seats-waiting", "POST /api/v1/reservation-seats/3/hold", "user:carol", headers=JSON, body="{}"
    ),
    _queue("gate-seats-bare", "POST /api/v1/reservation-seats", "user:dave", headers=JSON, body="{}"),
    _queue("ungated-get", "GET /api/v1/reservations", "user:dave"),
    _queue("ungated-deeper", "POST /api/v1/reservations/5/cancel", "user:dave", headers=JSON, body="{}"),
    _queue("ungated-put", "PUT /api/v1/reservation-seats/3", "user:dave", headers=JSON, body="{}"),
    _queue("gate-slash", "POST /api/v1/reservations/", "user:dave", headers=JSON, body="{}"),
    _queue("gate-capitals", "POST /api/v1/Reservations", "user:dave", headers=JSON, body="{}"),
    _queue("gate-encoded", "POST /api/v1/%72eservations", "user:dave", headers=JSON, body="{}"),
    _queue(
        "gate-locator",
        "POST /reservation-service/api/v1/reservations",
        "user:dave",
        headers=JSON,
        body="{}",
    ),
    _queue("method-get-lineup", "GET /api/v1/queue/lineup", "user:alice"),
    _queue("method-post-status", "POST /api/v1/queue/status", "user:alice"),
    _queue("method-put-status", "PUT /api/v1/queue/status", "user:alice"),
    _queue("method-delete-stream", "DELETE /api/v1/queue/stream", "user:alice"),
    _queue("method-options-status", "OPTIONS /api/v1/queue/status", "user:alice"),
    _queue("method-none", "GET /api/v1/queue/lineup"),
    _queue("unknown-call", "GET /api/v1/queue/nothing", "user:alice"),
    _queue("delete-slot", "DELETE /api/v1/queue/allowed-in-token", "user:alice"),
    _queue("status-promoted", "GET /api/v1/queue/status", "user:carol"),
    _queue("lineup-alice-waits", "POST /api/v1/queue/lineup", "user:alice"),
    _queue("stream-waiting", "GET /api/v1/queue/stream", "user:alice"),
    _queue("lineup-dave-waits", "POST /api/v1/queue/lineup", "user:dave"),
    _queue("delete-place", "DELETE /api/v1/queue/waiting-token", "user:dave"),
    _queue("status-left", "GET /api/v1/queue/status", "user:dave"),
)


JSON = {"Accept": "application/json"}
PAGES_LIBRARY = {"Accept": "application/json, text/plain, */*"}
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def _actuator(name: str, line: str, token: str = "none", **more: object) -> Call:
    return _call("actuator", name, line, token, **more)


ACTUATOR = _group(
    "actuator",
    _actuator("links", "GET /actuator"),
    _actuator("health", "GET /actuator/health"),
    _actuator("health-redis", "GET /actuator/health/redis"),
    _actuator("health-unknown", "GET /actuator/health/nothing"),
    _actuator("liveness", "GET /actuator/health/liveness"),
    _actuator("readiness", "GET /actuator/health/readiness"),
    _actuator("info", "GET /actuator/info"),
    _actuator("metrics", "GET /actuator/metrics", depth=1),
    _actuator("metric-requests", "GET /actuator/metrics/http.server.requests", depth=3),
    _actuator("metric-unknown", "GET /actuator/metrics/no.such"),
    _actuator("prometheus", "GET /actuator/prometheus"),
    _actuator(
        "prometheus-open",
        "GET /actuator/prometheus",
        headers={"Accept": "application/openmetrics-text;version=1.0.0"},
    ),
    _actuator("gateway", "GET /actuator/gateway", depth=2),
    _actuator("routes", "GET /actuator/gateway/routes", depth=2),
    _actuator("route", "GET /actuator/gateway/routes/product-service"),
    _actuator("route-unknown", "GET /actuator/gateway/routes/nothing"),
    _actuator("globalfilters", "GET /actuator/gateway/globalfilters", depth=1),
    _actuator("routefilters", "GET /actuator/gateway/routefilters", depth=1),
    _actuator("gateway-refresh", "POST /actuator/gateway/refresh"),
    _actuator("refresh-not-exposed", "POST /actuator/refresh"),
    _actuator("env-not-exposed", "GET /actuator/env"),
    _actuator("shutdown-not-exposed", "POST /actuator/shutdown"),
    _actuator("health-post", "POST /actuator/health"),
    _actuator("health-origin", "GET /actuator/health", headers=PAGE, depth=1),
    _actuator("swagger", "GET /swagger-ui.html"),
    _actuator("documents", "GET /v3/api-docs", depth=1),
    _actuator("documents-config", "GET /v3/api-docs/swagger-config"),
    # As load balancers and libraries ask.
    _actuator("health-slash", "GET /actuator/health/"),
    _actuator("liveness-slash", "GET /actuator/health/liveness/"),
    _actuator("readiness-slash", "GET /actuator/health/readiness/"),
    _actuator("info-slash", "GET /actuator/info/"),
    _actuator("health-json", "GET /actuator/health", headers=JSON),
    _actuator("info-json", "GET /actuator/info", headers=JSON),
    _actuator("metrics-json", "GET /actuator/metrics", headers=JSON, depth=1),
    _actuator("info-page", "GET /actuator/info", headers=PAGES_LIBRARY),
    _actuator("info-browser", "GET /actuator/info", headers=BROWSER),
    _actuator("metric-tag", "GET /actuator/metrics/http.server.requests?tag=status:200", depth=3),
    _actuator("metric-tag-none", "GET /actuator/metrics/http.server.requests?tag=status:999"),
)


def _cors(name: str, line: str, token: str = "none", **more: object) -> Call:
    return _call("cors", name, line, token, **more)


CORS = _group(
    "cors",
    _cors("simple-public", "GET /api/v1/products/7", headers=PAGE),
    _cors("simple-private-none", "GET /api/v1/tickets/5", headers=PAGE),
    _cors("simple-private-user", "GET /api/v1/tickets/5", "user:dave", headers=PAGE),
    _cors("simple-service-has-own", "GET /api/v1/arthalls/cors", headers=PAGE),
    _cors("no-origin-service-has-own", "GET /api/v1/arthalls/cors"),
    _cors("simple-unknown-user", "GET /nothing/here", "user:dave", headers=PAGE),
    _cors("null-origin", "GET /api/v1/products/7", headers={"Origin": "null"}),
    _cors("preflight-public", "OPTIONS /api/v1/products/7", headers=ASKS_GET),
    _cors("preflight-login", "OPTIONS /api/v1/auth/login", headers=ASKS_POST),
    _cors("preflight-private", "OPTIONS /api/v1/tickets/5", headers=ASKS_GET),
    _cors("preflight-gated", "OPTIONS /api/v1/reservations", headers=ASKS_POST),
    _cors("preflight-queue", "OPTIONS /api/v1/queue/lineup", headers=ASKS_POST),
    _cors("preflight-unknown", "OPTIONS /nothing/here", headers=ASKS_GET),
    _cors("preflight-actuator", "OPTIONS /actuator/health", headers=ASKS_GET),
    _cors("preflight-private-user", "OPTIONS /api/v1/tickets/5", "user:dave", headers=ASKS_GET),
    _cors(
        "preflight-method",
        "OPTIONS /api/v1/arthalls/3",
        headers={**PAGE, "Access-Control-Request-Method": "PUT"},
    ),
)

SLOW = _call("routes", "service-takes-32-s", "GET /api/v1/arthalls/slow")
"""Made beside all others, since it takes long."""

CALLS = [*ROUTES, *HEADERS, *TOKENS, *CORS, *QUEUE, *ACTUATOR]
