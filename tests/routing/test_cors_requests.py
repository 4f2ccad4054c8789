"""One request of a page of another origin against one rule. The recorded cases are in tests/middleware/test_cors.py."""

from __future__ import annotations

import pytest

from gateway.routing.cors import (
    MAX_REQUESTED_HEADERS,
    CorsRequest,
    allows_credentials,
    evaluate_cors,
    is_same_origin,
    parse_cors,
)

RULE = parse_cors(
    {
        "allowedOrigins": ["https://shop.test", "null"],
        "allowedOriginPatterns": ["https://*.shop.test", "http://localhost:[3000,3001]", "http://[*]:[*]"],
        "allowedMethods": ["GET", "DELETE"],
        "allowedHeaders": ["Authorization", "Content-Type"],
        "exposedHeaders": ["Retry-After", "X-Trace"],
        "allowCredentials": True,
        "maxAge": "10m",
    }
)
ANYBODY = parse_cors({"allowedOrigins": "*", "allowedMethods": "*", "allowedHeaders": "*"})
ANY_PATTERN = parse_cors({"allowedOriginPatterns": "*", "allowCredentials": True})


def names(headers: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return {name.removeprefix("Access-Control-"): value for name, value in headers if name != "Vary"}


@pytest.mark.parametrize("origins", [{"allowedOrigins": "https://shop.test"}, {"allowedOriginPatterns": "*"}])
@pytest.mark.parametrize("key", ["allowPrivateNetwork", "allow-private-network", "allow_private_network"])
def test_a_private_network_is_opened_to_preflights_that_ask_for_it(origins: dict[str, str], key: str) -> None:
    asking = preflight()._replace(from_public_network=True)
    for allowed in (True, False):
        rule = parse_cors({**origins, key: allowed})
        assert names(evaluate_cors(rule, asking).headers).get("Allow-Private-Network") == (
            "true" if allowed else None
        )
        assert "Allow-Private-Network" not in names(evaluate_cors(rule, preflight()).headers)
        plain = CorsRequest("GET", ("https://shop.test",), from_public_network=True)
        assert "Allow-Private-Network" not in names(evaluate_cors(rule, plain).headers)
        refused = evaluate_cors(rule, preflight("DELETE")._replace(from_public_network=True))
        assert not refused.allowed
        assert "Allow-Private-Network" not in names(refused.headers)


def preflight(method: str = "GET", headers: str = "", *origins: str) -> CorsRequest:
    return CorsRequest("OPTIONS", origins or ("https://shop.test",), False, method, headers)


def test_a_preflight_may_ask_for_so_many_headers_and_no_more() -> None:
    for count, allowed in ((MAX_REQUESTED_HEADERS, True), (MAX_REQUESTED_HEADERS + 1, False)):
        assert evaluate_cors(ANYBODY, preflight(headers=",".join(["a"] * count))).allowed is allowed


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://shop.test", True),
        ("HTTPS://Shop.Test", True),
        ("https://shop.test/", False),
        ("https://shop.test:443", False),
        ("https://shop.test.evil.test", False),
        ("https://shop.test@evil.test", False),
        ("https://sh\u212ap.test", False),
        ("", False),
        ("null", True),
        ("https://a.shop.test", True),
        ("https://a.b.shop.test", True),
        ("https://evil.test/.shop.test", False),
        ("https://evil.test?.shop.test", False),
        ("https://evil.test#.shop.test", False),
        ("https://evil.test\\.shop.test", False),
        ("https://evil.test .shop.test", False),
        ("https://evil.test:80.shop.test", False),
        ("https://user@a.shop.test", False),
        ("http://localhost:3000", True),
        ("http://localhost:3001", True),
        ("http://localhost:3002", False),
        ("http://localhost", False),
        (f"https://{'a' * 300}.shop.test", False),
    ],
)
def test_an_origin_is_allowed_as_named_or_by_a_pattern_and_never_by_a_trick(
    origin: str, allowed: bool
) -> None:
    verdict = evaluate_cors(RULE, CorsRequest("GET", (origin,)))
    assert verdict.allowed is allowed
    if allowed:
        assert names(verdict.headers) == {
            "Allow-Origin": origin,
            "Expose-Headers": "Retry-After, X-Trace",
            "Allow-Credentials": "true",
        }
    else:
        assert names(verdict.headers) == {}
    assert allows_credentials(RULE, origin) is allowed


def test_two_origins_are_none() -> None:
    assert not evaluate_cors(RULE, CorsRequest("GET", ("https://shop.test", "https://shop.test"))).allowed
    assert not evaluate_cors(
        ANY_PATTERN, CorsRequest("GET", ("https://shop.test", "https://shop.test"))
    ).allowed


def test_a_pattern_never_means_null() -> None:
    assert evaluate_cors(ANY_PATTERN, CorsRequest("GET", ("https://any.test:8443",))).allowed
    assert not evaluate_cors(ANY_PATTERN, CorsRequest("GET", ("null",))).allowed
    assert names(evaluate_cors(ANYBODY, CorsRequest("GET", ("null",))).headers) == {"Allow-Origin": "*"}


def test_no_page_acts_with_cookies_without_a_cors_rule_for_credentials() -> None:
    assert not allows_credentials(None, "https://shop.test")
    assert not allows_credentials(ANYBODY, "https://shop.test")
    assert allows_credentials(ANY_PATTERN, "https://shop.test")


@pytest.mark.parametrize(
    ("method", "headers", "said"),
    [
        ("GET", "", {"Allow-Methods": "GET,DELETE"}),
        ("DELETE", "authorization", {"Allow-Methods": "GET,DELETE", "Allow-Headers": "authorization"}),
        (
            "GET",
            "content-type, x-other,,authorization",
            {"Allow-Methods": "GET,DELETE", "Allow-Headers": "content-type, authorization"},
        ),
        ("GET", "x-other", None),
        ("get", "", None),
        ("PUT", "", None),
        ("", "", None),
    ],
)
def test_a_preflight_hears_what_is_allowed_or_nothing(
    method: str, headers: str, said: dict[str, str] | None
) -> None:
    verdict = evaluate_cors(RULE, preflight(method, headers))
    assert verdict.allowed is (said is not None)
    if said is not None:
        always = {
            "Allow-Origin": "https://shop.test",
            "Expose-Headers": "Retry-After, X-Trace",
            "Allow-Credentials": "true",
            "Max-Age": "600",
        }
        assert names(verdict.headers) == always | said


def test_where_all_is_allowed_only_what_was_asked_for_is_said_back_and_only_if_it_is_a_name() -> None:
    said = names(evaluate_cors(ANYBODY, preflight("PUT", "x-a, x\x7f, <b>, y\udcff, x-b")).headers)
    assert said == {"Allow-Origin": "*", "Allow-Methods": "PUT", "Allow-Headers": "x-a, x-b"}
    assert not evaluate_cors(ANYBODY, preflight("PUT\udcff")).allowed
    assert not evaluate_cors(ANYBODY, preflight("PUT", "<b>")).allowed


def test_a_request_without_origin_or_of_our_own_goes_on_and_its_answer_varies() -> None:
    for asked in (CorsRequest("PUT", ()), CorsRequest("PUT", ("https://evil.test",), own=True)):
        verdict = evaluate_cors(RULE, asked)
        assert verdict.allowed
        assert [name for name, _ in verdict.headers] == ["Vary"] * 3


@pytest.mark.parametrize(
    ("origin", "scheme", "host", "port", "own"),
    [
        ("http://gw.test", "http", "gw.test", "80", True),
        ("http://GW.test:80", "http", "gw.TEST:80", "80", True),
        ("https://gw.test", "https", "gw.test", "443", True),
        ("https://gw.test", "http", "gw.test", "80", False),
        ("http://gw.test:8080", "http", "gw.test:8080", "8080", True),
        ("http://gw.test:8080", "http", "gw.test:8081", "8081", False),
        ("http://[::1]:8080", "http", "[::1]:8080", "8080", True),
        ("http://[::1]", "http", "[::1]", "80", True),
        ("http://gw.test.evil", "http", "gw.test", "80", False),
        ("null", "http", "gw.test", "80", False),
        ("", "http", "", "80", False),
    ],
)
def test_the_own_origin_is_no_other_one(origin: str, scheme: str, host: str, port: str, own: bool) -> None:
    assert is_same_origin(origin, scheme, host, port) is own


def test_an_origin_of_any_length_is_judged_in_linear_time() -> None:
    rule = parse_cors({"allowedOriginPatterns": "*".join(["https://", *[".a"] * 12])})
    assert not evaluate_cors(rule, CorsRequest("GET", ("https://" + ".a" * 100 + ".b",))).allowed
    assert not evaluate_cors(rule, CorsRequest("GET", ("https://" + ".a" * 4000 + ".b",))).allowed
