"""Spring's CORS configuration, parsed."""

from __future__ import annotations

import pytest

from gateway.routing.cors import CorsRule, parse_cors
from gateway.routing.faults import RuleBroken


def test_lists_texts_and_spellings_mean_the_same() -> None:
    expected = CorsRule(
        allowed_origins=("https://a.test", "https://b.test:8443"),
        allowed_methods=("GET", "POST"),
        allowed_headers=("*",),
        exposed_headers=("X-E",),
        allow_credentials=True,
        max_age=600,
    )
    long = {
        "allowedOrigins": ["https://a.test", "https://b.test:8443"],
        "allowedMethods": ["GET", "POST"],
        "allowedHeaders": "*",
        "exposedHeaders": ["X-E"],
        "allowCredentials": True,
        "maxAge": 600,
    }
    short = {
        "allowed-origins": "https://a.test, https://b.test:8443",
        "allowed_methods": "GET,POST",
        "allowed-headers": ["*"],
        "exposed-headers": "X-E",
        "allow-credentials": "true",
        "max-age": "10m",
    }
    assert parse_cors(long) == parse_cors(short) == expected
    assert parse_cors({}) == CorsRule(allowed_methods=("GET", "HEAD"))


@pytest.mark.parametrize(
    "values",
    [
        {"allowedOrigin": "https://a.test"},
        {"allowedOrigins": "*", "allowCredentials": True},
        {"allowedOrigins": "a.test"},
        {"allowedOrigins": "https://a.test/"},
        {"allowCredentials": "maybe"},
        {"maxAge": "soon"},
    ],
)
def test_what_no_browser_would_take_is_a_fault(values: dict[str, object]) -> None:
    with pytest.raises(RuleBroken) as refusal:
        parse_cors(values)
    assert refusal.value.rule == "cors"
