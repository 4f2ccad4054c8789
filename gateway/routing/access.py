"""The calls that are open without a token unless a route file says otherwise."""

from __future__ import annotations

from typing import Final

from gateway.routing.calls import CallPattern, parse_call


def _calls(*sources: str) -> tuple[CallPattern, ...]:
    return tuple(parse_call(source) for source in sources)


OWN_PUBLIC: Final = _calls("/swagger-ui/**", "/swagger-ui.html", "/v3/api-docs/**")
"""The gateway's own pages; ``defaults: false`` leaves them."""

DEFAULT_PUBLIC: Final = OWN_PUBLIC + _calls(
    "/health/**",
    "GET /{service}/v3/api-docs/**",
    "GET /.well-known/**",
    "/api/v1/auth/login",
    "/api/v1/auth/register",
    "/api/v1/auth/refresh",
    "/api/v1/auth/check-email",
    "GET /api/v1/auth/oauth/*",
    "GET /api/v1/auth/oauth/*/callback",
    "GET /api/v1/products",
    "GET /api/v1/products/*",
    "GET /api/v1/arthalls/**",
    "POST /api/v1/tickets/*/use",
)
