"""No header's value, however odd, makes the gateway's own calls fail with what nobody foresaw."""

from __future__ import annotations

import pytest

from tests.hostile.rig import ROUTES, Gateway, Start

CORS = """
cors:
  cors-configurations:
    '[/**]': {allowedOriginPatterns: ["https://*.test:[*]"], allowedMethods: ["*"], allowedHeaders: ["*"]}
"""

VALUES = [
    b"\xff\xfe",
    "Bearer é".encode(),
    b"Bearer \xff",
    b"bearer",
    b";;;,,,q=;q=x",
    b"application/openmetrics-text;version=x;escaping=\xff",
    b"application/openmetrics-text; version=1.0.0; escaping=nonsense",
    b"text/plain;version=1.0.0;escaping=;=",
    b'W/"\xff", *, "',
    b"gzip;q=0.0.0, gzip;q=\xff",
    b"https://\xff.test:99999999",
    b"[::1]:x",
    b"1" * 4000,
]
NAMES = [
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Authorization",
    "Cookie",
    "If-None-Match",
    "If-Modified-Since",
    "Last-Event-ID",
    "Origin",
    "Access-Control-Request-Method",
    "Access-Control-Request-Headers",
    "Sec-Fetch-Site",
    "Sec-WebSocket-Key",
    "X-Hub-Signature-256",
    "X-Forwarded-For",
    "traceparent",
    "tracestate",
    "b3",
    "X-B3-TraceId",
    "Content-Type",
    "Expect",
    "Range",
]
CALLS = [
    "GET /metrics",
    "GET /actuator/prometheus",
    "GET /actuator/health",
    "POST /actuator/refresh",
    "POST /actuator/refresh/webhook",
    "GET /actuator/rooms",
    "GET /v3/api-docs",
    "GET /v3/api-docs/swagger-config",
    "GET /swagger-ui/index.html",
    "GET /api/v1/queue/status",
    "GET /api/v1/queue/stream",
    "POST /api/v1/queue/leave",
    "OPTIONS /api/v1/queue/lineup",
    "GET /open/a",
]


@pytest.fixture(scope="module")
def crossed(start: Start) -> Gateway:
    return start(
        "c",
        routes=ROUTES + CORS,
        management_token="a-token-of-the-test",
        config_server_webhook_secret="a-secret-of-the-test",
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("call", CALLS)
def test_no_odd_value_is_an_internal_error(crossed: Gateway, call: str, name: str) -> None:
    method, _, target = call.partition(" ")
    for value in VALUES:
        answer = crossed.ask(target, name.encode() + b": " + value + b"\r\n", method=method)
        assert answer.status != 500, value
