"""Spring's CORS configuration, parsed."""

from __future__ import annotations

import pytest

from gateway.routing.cors import CorsRule, doubtful_values, parse_cors
from gateway.routing.spec.issues import RouteFileError, RuleViolation
from gateway.routing.spec.loader import parse


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
        {"allowedOrigins": "*", "allowPrivateNetwork": True},
        {"allowPrivateNetwork": "maybe"},
        {"allowedOrigins": "a.test"},
        {"allowedOrigins": "https://a.test/"},
        {"allowCredentials": "maybe"},
        {"maxAge": "soon"},
        {"exposedHeaders": ["X-A\r\nSet-Cookie: a=b"]},
        {"exposedHeaders": "X-É"},
        {"allowedMethods": ["GET POST"]},
        {"allowedHeaders": ["X-A:"]},
    ],
)
def test_what_no_browser_would_take_is_a_fault(values: dict[str, object]) -> None:
    with pytest.raises(RuleViolation) as refusal:
        parse_cors(values)
    assert refusal.value.rule == "cors"


def test_ports_of_a_pattern_stay_together() -> None:
    rule = parse_cors({"allowedOriginPatterns": "http://a.test:[80,8080], https://*.b.test"})
    assert rule.allowed_origin_patterns == ("http://a.test:[80,8080]", "https://*.b.test")


FILE = """
routes:
  - {id: own, uri: 'lb://a', predicates: [Path=/api/own], metadata: {cors: {allowedMethods: PUT}}}
  - {id: none, uri: 'lb://a', predicates: [Path=/api/none], metadata: {cors: {}}}
cors:
  add-to-simple-url-handler-mapping: %s
  cors-configurations:
    '[/api/**]': {allowedMethods: POST}
    /api/special/**: {allowedMethods: DELETE}
"""


def test_a_routes_own_rule_counts_and_else_the_first_pattern_that_matches() -> None:
    table = parse((FILE % "true").encode(), "cors.yaml", {})
    assert table.cors_unrouted
    own, none = table.routes
    methods = {
        path: rule and rule.allowed_methods
        for path, rule in {
            "own": table.cors_for("/api/own", own),
            "none": table.cors_for("/api/none", none),
            "special": table.cors_for("/api/special/x"),
            "else": table.cors_for("/else"),
        }.items()
    }
    assert methods == {"own": ("PUT",), "none": ("POST",), "special": ("POST",), "else": None}
    assert not parse((FILE % "false").encode(), "cors.yaml", {}).cors_unrouted


def test_exposing_everything_to_requests_with_credentials_is_a_warning() -> None:
    rule = "{exposedHeaders: '*', allowCredentials: %s}"
    file = (
        "routes:\n"
        "  - {id: own, uri: 'lb://a', predicates: [Path=/own], metadata: {cors: %(rule)s}}\n"
        "cors:\n"
        "  cors-configurations:\n"
        "    /all/**: %(rule)s\n"
    )
    table = parse((file % {"rule": rule % "true"}).encode(), "cors.yaml", {})
    told = [(warning.line, warning.route_id, warning.rule) for warning in table.warnings]
    assert told == [(2, "own", "cors"), (5, None, "cors")]
    assert all("name the headers" in warning.message for warning in table.warnings)
    assert not parse((file % {"rule": rule % "false"}).encode(), "cors.yaml", {}).warnings


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"allowedOrigins": "https://*.example.com"}, "write it under allowedOriginPatterns"),
        ({"allowedOrigins": "http://localhost:[*]"}, "write it under allowedOriginPatterns"),
        ({"allowedOrigins": "https://shop.example:443"}, "browsers leave out the port 443 of https"),
        ({"allowedOrigins": "HTTP://shop.example:80"}, "browsers leave out the port 80 of http"),
        ({"allowedOrigins": "https://shop.example:99999"}, "99999 is no port"),
        ({"allowedOrigins": "https://shop.example:0443"}, "0443 is no port"),
        ({"allowedOrigins": "https://caf\u00e9.example"}, "xn--"),
        ({"allowedOrigins": "https://user@shop.example"}, "no browser sends such an origin"),
        ({"allowedOrigins": "https://shop.example?x"}, "no browser sends such an origin"),
        ({"allowedOrigins": "https://shop..example"}, "no browser sends such an origin"),
        ({"allowedOriginPatterns": "https://shop.example/"}, "no slash at its end"),
        ({"allowedOriginPatterns": "https://*.example/shop/*"}, "no path"),
        ({"allowedOriginPatterns": "shop.example"}, "write the scheme too"),
        ({"allowedOriginPatterns": "*.shop.example"}, "write the scheme too"),
        ({"allowedOriginPatterns": "*:[8080]"}, "write the scheme too"),
        ({"allowedOriginPatterns": "https://*.example.com:*"}, "write :[*]"),
        ({"allowedOriginPatterns": "https://*.example.com:443"}, "leave out the port 443"),
        ({"allowedOriginPatterns": "https://*.example.com:[8443,443]"}, "(port 443)"),
        ({"allowedOriginPatterns": "https://*.Example.com"}, "small letters"),
        ({"allowedOriginPatterns": "https://.*\\.example\\.com"}, "no browser sends such an origin"),
        ({"allowedOriginPatterns": "https://.*.example.com"}, "no browser sends such an origin"),
        ({"allowedOriginPatterns": "https://caf\u00e9.*"}, "xn--"),
        ({"allowedMethods": ["get", "POST"]}, "write GET"),
        ({"allowedMethods": "POTS"}, "the nearest is 'POST'"),
    ],
)
def test_what_no_request_of_a_browser_can_match_is_a_warning(values: dict[str, object], said: str) -> None:
    told = doubtful_values(parse_cors(values))
    assert len(told) == 1
    assert said in told[0]
    assert told[0].startswith(f"{next(iter(values))}: ")


@pytest.mark.parametrize(
    "values",
    [
        {"allowedOrigins": "*", "allowedMethods": "*", "allowedOriginPatterns": "*"},
        {"allowedOrigins": ["null", "https://Shop.example", "http://127.0.0.1:8080", "http://[::1]:3000"]},
        {"allowedOrigins": ["capacitor://localhost", "chrome-extension://abcdef", "https://shop.example:80"]},
        {
            "allowedOriginPatterns": [
                "https://*.example.com",
                "https://*",
                "*://shop.example",
                "http*://a.example",
            ]
        },
        {
            "allowedOriginPatterns": [
                "https://*.example.com:[*]",
                "http://localhost:*",
                "http://a*.b:[8080,8443]",
            ]
        },
        {
            "allowedOriginPatterns": [
                "https://shop-*.example.com:84*",
                "http://[::1]:[*]",
                "https://xn--caf-dma.*",
            ]
        },
        {"allowedMethods": ["GET", "PROPFIND", "OPTIONS"]},
    ],
)
def test_what_browsers_send_is_no_warning(values: dict[str, object]) -> None:
    assert doubtful_values(parse_cors(values)) == ()


def test_a_flag_that_is_none_is_a_fault() -> None:
    with pytest.raises(RouteFileError) as refusal:
        parse((FILE % "perhaps").encode(), "cors.yaml", {})
    assert [(fault.line, fault.rule) for fault in refusal.value.issues] == [(6, "cors")]
