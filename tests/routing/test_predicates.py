"""Which route a request takes, against what Spring Cloud Gateway was seen to do."""

from __future__ import annotations

import pytest

from gateway.errors import BadRequest
from gateway.routing.factories import PREDICATES
from tests.routing.vectors import Case, case_id, cases, facts_of, faults_of, load_json

# The file is refused where Spring loads something that can never match: the rule of the fault.
FAULTS = {
    "Method-04-01": "argument",  # a method in lower case
    "Method-06-03": "argument",  # a comma inside one value of the long form
    "XForwardedRemoteAddr-03-01": "argument",  # TRUSTED_PROXIES says whom to trust
    "XForwardedRemoteAddr-03-02": "argument",
    "XForwardedRemoteAddr-03-04": "argument",
    "XForwardedRemoteAddr-03-05": "argument",
    "and-06-01": "shape",  # a route without predicates
}
# Another route (or none), with the reason.
MATCHED = {
    "Method-05-01": ("a", "PURGE is a method"),
    "Host-02-08": ("a", "hosts regard no case"),
    "Host-noport-01-03": ("a", "hosts regard no case"),
    "Host-10-03": (None, "an empty Host is no host; the server refuses it before"),
    "Host-19-05": (None, "two Hosts: refused before any route is asked"),
    "RemoteAddr-trusted-01-02": (None, "the rightmost untrusted address counts"),
    "RemoteAddr-trusted-01-04": (None, "which header names the client is the proxy's decision"),
    "XForwardedRemoteAddr-01-07": ("a", "two header lines are one list"),
}
# Sent as it came, byte by byte.
TARGETS = {"Query-01-12": "/get?&green"}
REFUSED = {"product-01-49": "a fragment has no place in a request target"}


@pytest.mark.parametrize("case", cases("predicates"), ids=case_id)
def test_a_request_takes_the_route_it_takes_there(case: Case) -> None:
    routes = [{**route, "uri": "http://127.0.0.1:9"} for route in case["routes"]]
    name = case["id"]
    globally = {"predicate": case["settings"]["predicate"]} if "predicate" in case.get("settings", {}) else {}
    table, issues = faults_of(lambda: load_json({"routes": routes, **globally}))
    if table is None:
        assert case.get("routesRefused") or [fault.rule for fault in issues] == [FAULTS[name]]
        return
    assert not case.get("routesRefused")
    assert name not in FAULTS
    trusted = "trusted" in name or name.startswith("XForwarded")
    try:
        facts = facts_of(case["request"], trusted_peer=trusted)
    except BadRequest:
        assert case.get("unsafe") or case["matched"] is None or name in REFUSED
        return
    if name == "Host-19-05":
        return
    match = table.resolve(facts)
    assert (match.route.id if match else None) == (MATCHED[name][0] if name in MATCHED else case["matched"])
    if match is not None and name not in MATCHED:
        assert match.upstream_target == TARGETS.get(name, case["upstreamTarget"])


def test_every_predicate_of_the_vectors_is_supported() -> None:
    used = {
        predicate.partition("=")[0] if isinstance(predicate, str) else predicate["name"]
        for case in cases("predicates")
        for route in case["routes"]
        for predicate in route["predicates"]
    }
    assert used == set(PREDICATES)


@pytest.mark.parametrize("method", ["PROPFIND", "VERSION-CONTROL", "PURGE", "QUERY", "TRACE"])
def test_rules_may_name_every_registered_method(method: str) -> None:
    table = load_json(
        {"routes": [{"id": "a", "uri": "http://127.0.0.1:9", "predicates": ["Path=/a", f"Method={method}"]}]}
    )
    match = table.resolve(facts_of({"method": method, "target": "/a", "headers": [["Host", "h"]]}))
    assert match is not None
    assert table.resolve(facts_of({"method": "GET", "target": "/a", "headers": [["Host", "h"]]})) is None


@pytest.mark.parametrize("method", ["PROPFINT", "GTE", "propfind", "CONNECT", "TRACK"])
def test_what_is_more_likely_a_slip_is_a_fault(method: str) -> None:
    routes = [{"id": "a", "uri": "http://127.0.0.1:9", "predicates": ["Path=/a", f"Method={method}"]}]
    table, issues = faults_of(lambda: load_json({"routes": routes}))
    assert table is None
    assert [fault.rule for fault in issues] == ["argument"]


def _matches(predicate: object, *headers: tuple[str, str], target: str = "/get", **settings: object) -> bool:
    table = load_json(
        {"routes": [{"id": "a", "uri": "http://127.0.0.1:9", "predicates": [predicate]}], **settings}
    )
    sent = headers if any(name == "Host" for name, _ in headers) else (("Host", "gw.test"), *headers)
    return table.resolve(facts_of({"target": target, "headers": sent})) is not None


@pytest.mark.parametrize(
    ("values", "anything", "present"),
    [
        ([], False, False),
        ([""], False, False),
        (["", ""], False, False),
        ([","], False, False),
        ([" , ,"], False, False),
        (['""'], False, False),
        (["a"], True, True),
        (["", "a"], True, True),
        ([",a"], True, True),
    ],
)
def test_an_empty_member_of_a_header_is_none(values: list[str], anything: bool, present: bool) -> None:
    headers = [("X-A", value) for value in values]
    assert _matches("Header=X-A, .*", *headers) is anything
    assert _matches("Header=X-A", *headers) is present
    # A pattern that wants nothing at all can't be satisfied.
    assert not _matches({"name": "Header", "args": {"header": "X-A", "regexp": "()"}}, *headers)


@pytest.mark.parametrize("value", ['"' + "\\a" * 2001 + '"', '"' + "\\," * 1001 + '"', '"",' * 2001])
def test_a_quoted_header_that_takes_long_to_read_is_refused(value: str) -> None:
    with pytest.raises(BadRequest):
        _matches("Header=X-A, .*", ("X-A", value))


@pytest.mark.parametrize(
    ("value", "regexp", "matches"),
    [
        ("a, b", "a", True),
        ("a, b", "b", True),
        ("a, b", "a, b", False),
        ('"a, b", c', "a, b", True),
        ('"a, b", c', "c", True),
        ('"a\\"b"', 'a"b', True),
        ('"a', '"a', True),
        ('x"a,b"y', 'x"a', True),
        ('"' + "\\a" * 2000 + '"', "a+", True),
    ],
)
def test_a_header_is_compared_member_by_member(value: str, regexp: str, matches: bool) -> None:
    predicate = {"name": "Header", "args": {"header": "X-A", "regexp": regexp}}
    assert _matches(predicate, ("X-A", value)) is matches


@pytest.mark.parametrize(
    ("predicate", "headers", "target", "matches"),
    [
        ("Query=red, .*", (), "/get?red=", True),
        ("Query=red, .*", (), "/get?red", False),
        ("Query=red, .+", (), "/get?red=", False),
        ("Query=red, .*", (), "/get?&&", False),
        ("Query=red", (), "/get?red", True),
        ("Query=red", (), "/get?=", False),
        ("Cookie=a, .*", (("Cookie", "a="),), "/get", True),
        ("Cookie=a, .*", (("Cookie", "a"),), "/get", False),
        ("Cookie=a, .+", (("Cookie", "a="),), "/get", False),
        ("Cookie=a, .*", (("Cookie", ""),), "/get", False),
        ("Cookie=a, .*", (("Cookie", ";;"),), "/get", False),
        ("Host={a}.test", (("Host", ".test"),), "/get", False),
        ("Host=*.test", (("Host", ".test"),), "/get", False),
        ("Host=a.test:*", (("Host", "a.test:"),), "/get", True),
        # Nothing is cut off a long one, so that the beginning of it would match.
        ("Host=**.test", (("Host", "a" * 293 + ".testing"),), "/get", False),
        ("Host=**.test", (("Host", "a" * 248 + ".test"),), "/get", True),
    ],
)
def test_empty_values_elsewhere(
    predicate: str, headers: tuple[tuple[str, str], ...], target: str, matches: bool
) -> None:
    assert _matches(predicate, *headers, target=target) is matches


@pytest.mark.parametrize("pattern", ["}", "{", "a}.test", "{a.test", "{a}}.test"])
def test_a_host_with_half_a_pair_of_braces_is_a_fault(pattern: str) -> None:
    route = {"id": "a", "uri": "http://127.0.0.1:9", "predicates": [f"Host={pattern}"]}
    table, issues = faults_of(lambda: load_json({"routes": [route]}))
    assert table is None
    assert [fault.rule for fault in issues] == ["pattern"]


@pytest.mark.parametrize(
    ("pattern", "host", "with_port", "without"),
    [
        ("www.example.org", "www.example.org", True, True),
        ("www.example.org", "www.example.org:8080", False, True),
        ("www.example.org", "www.example.org:", False, True),
        ("**.example.org:8080", "www.example.org:8080", True, False),
        ("[::1]", "[::1]:8080", False, True),
        ("[::1]", "[::1]", True, True),
        ("{sub}.example.org", "a.example.org:1", False, True),
    ],
)
@pytest.mark.parametrize("shape", ["own", "spring", "older", "dotted"])
def test_the_port_of_a_host_counts_unless_the_file_says_otherwise(
    pattern: str, host: str, with_port: bool, without: bool, shape: str
) -> None:
    def matches(counts: str) -> bool:
        routes = [{"id": "a", "uri": "http://127.0.0.1:9", "predicates": [f"Host={pattern}"]}]
        own = {"predicate": {"host": {"include-port": counts}}, "routes": routes}
        content: dict[str, object] = {
            "own": own,
            "spring": {"spring": {"cloud": {"gateway": {"server": {"webflux": own}}}}},
            "older": {"spring": {"cloud": {"gateway": own}}},
            "dotted": {
                "spring": {
                    "cloud.gateway.routes": routes,
                    "cloud.gateway.server.webflux.predicate.host.includePort": counts,
                }
            },
        }[shape]
        table = load_json(content)
        assert not table.warnings
        return table.resolve(facts_of({"target": "/", "headers": [("Host", host)]})) is not None

    assert (matches("true"), matches("false")) == (with_port, without)
