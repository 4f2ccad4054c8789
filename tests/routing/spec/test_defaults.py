"""Properties for all filters of a kind, and what a route says instead, against Spring's rules."""

from __future__ import annotations

from typing import Any

import pytest
from multidict import CIMultiDict

from gateway.discovery.config_server.properties import properties_of
from gateway.discovery.config_server.response import ConfigResponse, PropertySource, Value
from gateway.routing.spec.issues import RouteFileError
from gateway.routing.spec.loader import parse
from gateway.routing.table import RouteTable
from tests.routing.vectors import facts_of, load_json

EIGHT = {
    "X-Xss-Protection": "1 ; mode=block",
    "Strict-Transport-Security": "max-age=631138519",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "default-src 'self' https:; font-src 'self' https: data:; img-src 'self' https: data:; "
        "object-src 'none'; script-src https:; style-src 'self' https: 'unsafe-inline'"
    ),
    "X-Download-Options": "noopen",
    "X-Permitted-Cross-Domain-Policies": "none",
}
NO_FRAME = {name: value for name, value in EIGHT.items() if name != "X-Frame-Options"}
POLICY = "Permissions-Policy"


def load(args: object, properties: object) -> RouteTable:
    secure = "SecureHeaders" if args is None else {"name": "SecureHeaders", "args": args}
    route = {"id": "r", "uri": "http://127.0.0.1:9", "predicates": ["Path=/**"], "filters": [secure]}
    return load_json({"routes": [route], "filter": {"secure-headers": properties}})


def added(table: RouteTable, **there: str) -> dict[str, str]:
    match = table.resolve(facts_of({"target": "/"}))
    assert match is not None
    headers = CIMultiDict(there)
    for edit in match.changes.response_headers:
        edit.apply(headers)
    return dict(headers)


@pytest.mark.parametrize(
    ("args", "properties", "expected"),
    [
        (None, None, EIGHT),
        ({"disable": "x-frame-options"}, None, NO_FRAME),
        ({"disable": ["X-Frame-Options"]}, None, NO_FRAME),
        ({"disable": "x-frame-options, strict-transport-security"}, None, NO_FRAME),
        ({"enable": "permissions-policy", "permissions-policy": "a=()"}, None, EIGHT | {POLICY: "a=()"}),
        ({"enable": "permissions-policy", "permissionsPolicy": "a=()"}, None, EIGHT | {POLICY: "a=()"}),
        ({"permissionsPolicy": "a=()"}, None, EIGHT),
        ({"enable": "x-frame-options", "disable": "x-frame-options"}, None, NO_FRAME),
        ({"frameOptionsHeaderValue": "SAMEORIGIN"}, None, EIGHT | {"X-Frame-Options": "SAMEORIGIN"}),
        (None, {"disable": "x-frame-options"}, NO_FRAME),
        (None, {"disable": ["X-FRAME-OPTIONS"]}, NO_FRAME),
        (None, {"frame-options": "SAMEORIGIN"}, EIGHT | {"X-Frame-Options": "SAMEORIGIN"}),
        (None, {"frameOptions": "SAMEORIGIN"}, EIGHT | {"X-Frame-Options": "SAMEORIGIN"}),
        (None, {"xss-protection-header": "0", "enabled": True}, EIGHT | {"X-Xss-Protection": "0"}),
        (None, {"enable": "permissions-policy", "permissions-policy": "a=()"}, EIGHT | {POLICY: "a=()"}),
        (None, {"permissions-policy": "a=()"}, EIGHT),
        # What a route switches counts instead of what is switched for all, and beside the values for all.
        ({"disable": "x-frame-options"}, {"disable": "referrer-policy"}, NO_FRAME),
        ({"enable": "permissions-policy"}, {"permissions-policy": "a=()"}, EIGHT | {POLICY: "a=()"}),
        ({"permissionsPolicy": "b=()"}, {"enable": "permissions-policy"}, EIGHT),
        (
            {"frameOptionsHeaderValue": "SAMEORIGIN"},
            {"frame-options": "X", "enable": "permissions-policy", "permissions-policy": "a=()"},
            EIGHT | {"X-Frame-Options": "SAMEORIGIN", POLICY: "a=()"},
        ),
    ],
)
def test_secure_headers_are_those_that_spring_adds(
    args: object, properties: object, expected: dict[str, str]
) -> None:
    table = load(args, properties)
    assert not table.warnings
    if "strict-transport-security" in str(args):
        expected = {name: expected[name] for name in expected if name != "Strict-Transport-Security"}
    assert added(table) == expected
    assert added(table, **{"x-frame-options": "theirs"})["x-frame-options"] == "theirs"


def test_the_permissions_policy_that_is_enabled_without_a_value_allows_nothing() -> None:
    policy = added(load({"enable": "permissions-policy"}, None))[POLICY]
    assert policy.startswith("accelerometer=(), ambient-light-sensor=(), ")
    assert policy.endswith("web-share=(), xr-spatial-tracking=()")
    assert policy.count("=()") == 27


@pytest.mark.parametrize(
    ("args", "properties"),
    [
        ({"frameOptions": "SAMEORIGIN"}, None),
        ({"frameOptionsHeaderValue": "a\r\nSet-Cookie: b"}, None),
        (None, {"frame-optoins": "SAMEORIGIN"}),
        (None, {"frame-options": "a\r\nSet-Cookie: b"}),
        (None, {"frame-options": {"value": "SAMEORIGIN"}, "disable": {"x": "y"}}),
        (None, {"frame-options": "${NOWHERE}"}),
        (None, {"disable": ["${NOWHERE}"]}),
        (None, ["frame-options"]),
    ],
)
def test_what_means_nothing_or_breaks_a_line_is_a_fault(args: object, properties: object) -> None:
    with pytest.raises(RouteFileError):
        load(args, properties)
    with pytest.raises(RouteFileError):
        load_json({"routes": [], "filter": []})


@pytest.mark.parametrize("key", ["enable", "disable"])
def test_a_header_that_secure_headers_never_adds_is_a_warning(key: str) -> None:
    for table in (load({key: "x-frame-option"}, None), load(None, {key: "x-frame-option"})):
        (warning,) = table.warnings
        assert "'x-frame-option'; the nearest is 'x-frame-options'" in warning.message
        assert set(added(table)) == set(EIGHT)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"filter": {"set-path": {"enabled": False}}}, "filter.set-path.enabled has no effect"),
        ({"filter": {"set-path": {"enabled": "true"}}}, None),
        (
            {"filter": {"remove-hop-by-hop": {"headers": ["X-A"]}}},
            "filter.remove-hop-by-hop.headers has no effect",
        ),
        ({"predicate": {"host": {"enabled": False}}}, "predicate.host.enabled has no effect"),
        ({"spring": {"cloud.gateway.trusted-proxies": ".*"}}, "set TRUSTED_PROXIES"),
        (
            {"spring": {"cloud.gateway.server.webflux.httpclient.connect-timeout": 1}},
            "PROXY_CONNECT_TIMEOUT_SECONDS",
        ),
        (
            {"spring": {"cloud.gateway.server.webflux.set-status.original-status-header-name": "X"}},
            "set-status",
        ),
        ({"spring": {"cloud.gateway.server.webflux.metrics.enabled": True}}, None),
    ],
)
def test_a_property_without_effect_is_a_warning(content: dict[str, Any], told: str | None) -> None:
    warnings = [warning.message for warning in load_json({"routes": [], **content}).warnings]
    assert len(warnings) == (told is not None)
    assert told is None or told in warnings[0]


def test_a_config_server_may_say_them_and_counts_before_the_file() -> None:
    names = "spring.cloud.gateway.server.webflux."
    source = {
        f"{names}filter.secure-headers.frame-options": Value("SAMEORIGIN"),
        f"{names}filter.secureHeaders.disable[0]": Value("referrer-policy"),
        f"{names}predicate.host.include-port": Value(False),
        f"{names}filter.secure-headers.misspelt": Value("x"),
    }
    properties = properties_of(ConfigResponse((PropertySource("s", source),)), {})
    assert properties.ignored == (f"{names}filter.secure-headers.misspelt",)
    file = b"""
routes:
  - {id: r, uri: "http://127.0.0.1:9", predicates: [Host=a.test], filters: [SecureHeaders]}
filter: {secure-headers: {frame-options: OURS, download-options: OURS}}
"""
    match = parse(file, "f", {}, properties).resolve(
        facts_of({"target": "/", "headers": [("Host", "a.test:1")]})
    )
    assert match is not None
    headers: CIMultiDict[str] = CIMultiDict()
    for edit in match.changes.response_headers:
        edit.apply(headers)
    expected = EIGHT | {"X-Frame-Options": "SAMEORIGIN", "X-Download-Options": "OURS"}
    assert dict(headers) == {name: value for name, value in expected.items() if name != "Referrer-Policy"}
