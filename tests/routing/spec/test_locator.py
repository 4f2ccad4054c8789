"""The discovery locator: a route for each service that is known, and no back door by it."""

from __future__ import annotations

from typing import Any

import pytest
from multidict import CIMultiDict

from gateway.routing.attributes import RequestAttributes
from gateway.routing.discovered_routes import MAX_SERVICES, RESERVED, with_discovered_routes
from gateway.routing.gates import GateRule
from gateway.routing.path import parse_target
from gateway.routing.spec.issues import RouteFileError, RuleViolation
from gateway.routing.spec.loader import default_file, parse
from gateway.routing.spec.locator import evaluate
from gateway.routing.table import RouteMatch, RouteTable
from tests.support.route_files import load

ON = "discovery: {locator: {enabled: true}}\n"
PREFIX = "ReactiveCompositeDiscoveryClient_"


def table(text: str = "routes: []\n" + ON, *names: str, own: str = "gateway-server") -> RouteTable:
    return with_discovered_routes(parse(text.encode(), "routes.yaml", {}), names, own=own)


def ids(found: RouteTable) -> list[str]:
    return [route.id.removeprefix(PREFIX) for route in found.routes]


def ask(found: RouteTable, target: str, method: str = "GET", **headers: str) -> RouteMatch | None:
    sent = CIMultiDict({"Host": "localhost", **headers})
    return found.resolve(
        RequestAttributes(method, parse_target(target, "localhost"), sent, "127.0.0.1", "localhost", "http")
    )


@pytest.mark.parametrize(
    ("target", "sent"),
    [
        ("/orders/1?x=a+b", "/1?x=a+b"),
        ("/orders/", "/"),
        ("/orders", "/"),
        ("/orders/a%20b/orders/c", "/a%20b/orders/c"),
    ],
)
def test_a_service_is_reached_below_its_name_which_is_taken_off(target: str, sent: str) -> None:
    match = ask(table("routes: []\n" + ON, "orders"), target)
    assert match is not None
    assert (match.route.upstream.service, match.upstream_target) == ("orders", sent)


@pytest.mark.parametrize("target", ["/ORDERS/1", "/Orders/1", "/ordersx/1", "/x/orders/1", "/other/1"])
def test_nothing_else_is(target: str) -> None:
    assert ask(table("routes: []\n" + ON, "ORDERS"), target) is None


def test_ids_are_in_lower_case_however_a_service_registered() -> None:
    assert ids(table("routes: []\n" + ON, "ORDERS", "Pay", "orders")) == ["orders", "pay"]


def test_services_of_the_file_and_those_discovered_both_count() -> None:
    text = "routes: []\nservices: {Static: 'http://127.0.0.1:1', orders: []}\n" + ON
    assert ids(table(text, "orders", "found")) == ["found", "orders", "static"]


@pytest.mark.parametrize(
    "section",
    [
        ON,
        "spring: {cloud: {gateway: {discovery: {locator: {enabled: true}}}}}",
        "spring: {cloud: {gateway: {server: {webflux: {discovery: {locator: {enabled: true}}}}}}}",
        "spring.cloud.gateway.discovery.locator.enabled: true\nspring.application.name: x",
        "discovery: {locator: {enabled: 'true', lowerCaseServiceId: false}}",
    ],
)
def test_it_is_turned_on_in_every_shape(section: str) -> None:
    assert ids(table(f"routes: []\n{section}", "orders")) == ["orders"]


@pytest.mark.parametrize(
    "section",
    [
        "",
        "discovery:",
        "discovery: {locator: }",
        "discovery: {locator: {enabled: false}}",
        "discovery: {locator: {lower-case-service-id: true}}",
        "discovery: {locator: {enabled: true, include-expression: 'false'}}",
    ],
)
def test_it_is_off_otherwise(section: str) -> None:
    assert ids(table(f"routes: []\n{section}", "orders")) == []


def test_its_routes_come_after_the_others_of_the_same_order() -> None:
    text = """
routes:
- {id: late, uri: 'lb://x', predicates: [Path=/**], order: 1}
- {id: mine, uri: 'lb://x', predicates: [Path=/orders/mine]}
"""
    found = table(text + ON, "orders")
    assert ids(found) == ["mine", "orders", "late"]
    assert ask(found, "/orders/mine").route.id == "mine"  # type: ignore[union-attr]


def test_default_filters_act_on_them_too() -> None:
    found = table("routes: []\ndefault-filters: ['AddRequestHeader=X-A, 1']\n" + ON, "orders")
    match = ask(found, "/orders/1")
    assert match is not None
    assert len(match.changes.request_headers) == 1


def test_an_id_that_is_taken_stays_with_the_route_that_has_it() -> None:
    text = f"routes: [{{id: {PREFIX}orders, uri: 'lb://x', predicates: [Path=/x]}}]\n"
    assert [route.upstream.service for route in table(text + ON, "orders").routes] == ["x"]


@pytest.mark.parametrize(
    "target", ["/orders/actuator", "/orders/actuator/env", "/orders/Actuator/", "/orders/%61ctuator/x"]
)
def test_none_leads_into_an_actuator(target: str) -> None:
    assert ask(table("routes: []\n" + ON, "orders"), target) is None


def test_gates_hold_behind_every_name() -> None:
    found = with_discovered_routes(load(default_file(), {}), ["anything"])
    assert found.locator is None, "the shipped file has no locator"
    shipped = default_file().read_text(encoding="utf-8") + ON
    found = table(shipped, "anything")
    for service in ("anything", "reservation-service"):
        for path in ("/api/v1/reservations", "/API/v1/Reservations/", "/api/v1/reservation-seats/1/2"):
            match = ask(found, f"/{service}{path}", "POST")
            assert match is not None
            gate = found.gate_for("POST", f"/{service}{path}", match.upstream_path)
            assert gate == GateRule("default", renews_only=False)


def test_what_is_open_at_a_service_is_not_open_below_its_name() -> None:
    found = table(default_file().read_text(encoding="utf-8") + ON)
    assert found.is_public("GET", "/api/v1/products")
    assert not found.is_public("GET", "/product-service/api/v1/products")
    assert not found.is_public("POST", "/auth-service/api/v1/auth/login")
    assert found.is_public("GET", "/product-service/v3/api-docs")


def test_names_that_would_be_open_or_shadow_own_calls_get_no_route() -> None:
    own = {"actuator", "metrics", "swagger-ui", "swagger-ui.html"}
    assert own | {"api", "health", "v3", ".well-known"} == RESERVED
    found = table("routes: []\n" + ON, *RESERVED, "orders")
    assert ids(found) == ["orders"]
    opened = {
        "/" + each.strip("/").partition("/")[0] for each in ("/health/x", "/v3/api-docs/x", "/swagger-ui/x")
    }
    assert all(ask(found, f"{path}/x") is None for path in opened)


def test_the_gateway_has_no_route_to_itself_and_excluded_services_have_none() -> None:
    text = "routes: []\ndiscovery: {locator: {enabled: true, exclude: [Config-Server]}}\n"
    assert ids(table(text, "GATEWAY-SERVER", "CONFIG-SERVER", "orders")) == ["orders"]


@pytest.mark.parametrize(
    "name", ["", "a/b", "a b", "{x}", "**", "..", "-a", "a" * 200, "ａ", "a%2fb", "lb://x"]
)
def test_a_name_that_is_no_segment_of_a_path_gets_no_route(name: str) -> None:
    assert ids(table("routes: []\n" + ON, name, "orders")) == ["orders"]


def test_a_registry_can_not_grow_the_table_without_end() -> None:
    assert (
        len(table("routes: []\n" + ON, *(f"s{at}" for at in range(MAX_SERVICES + 5))).routes) == MAX_SERVICES
    )


def test_predicates_and_filters_of_ones_own_are_expressions_as_in_spring() -> None:
    text = """
routes: []
discovery:
  locator:
    enabled: true
    route-id-prefix: own-
    url-expression: "'lb:https://' + serviceId"
    predicates:
    - name: Path
      args: {pattern: "'/svc/'+serviceId+'/**'"}
    - Header='X-Via', serviceId
    filters:
    - RewritePath='/svc/' + serviceId + '/?(?<rest>.*)', '/${rest}'
    - name: AddRequestHeader
      args: {name: "'X-Service'", value: "serviceId"}
"""
    found = table(text, "orders")
    assert [route.id for route in found.routes] == ["own-orders"]
    assert ask(found, "/svc/orders/1") is None
    match = ask(found, "/svc/orders/1", **{"X-Via": "orders"})
    assert match is not None
    assert (match.upstream_target, match.route.upstream.scheme) == ("/1", "https")


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("'a'", "a"),
        ("serviceId", "svc"),
        (" 'it''s ' + serviceId + '/' ", "it's svc/"),
        ("serviceId.toLowerCase()", "svc"),
        ("''", ""),
    ],
)
def test_expressions_are_texts_and_the_services_name(expression: str, value: str) -> None:
    assert evaluate(expression, "svc") == value


@pytest.mark.parametrize(
    "expression", ["", "a", "'a", "'a' +", "'a' 'b'", "metadata['x']", "T(java.lang.Runtime)", "+ 'a'"]
)
def test_any_other_expression_is_refused(expression: str) -> None:
    with pytest.raises(RuleViolation):
        evaluate(expression, "svc")


@pytest.mark.parametrize(
    ("locator", "rule"),
    [
        ("{enabled: maybe}", "locator"),
        ("{enabled: true, include-expression: \"metadata['edge'] == 'true'\"}", "locator"),
        ("{enabled: true, url-expression: \"'htp://' + serviceId\"}", "uri"),
        ("{enabled: true, url-expression: lb}", "locator"),
        ("{enabled: true, predicates: [Path=/x/**]}", "locator"),
        ("{enabled: true, filters: [\"StripPrefx='1'\"]}", "filter-name"),
        ("{enabled: true, enable: true}", "key"),
        ("{enabled: [true]}", "shape"),
        ("true", "shape"),
        ("{enabled: '${none}'}", "placeholder"),
    ],
)
def test_what_is_wrong_shows_when_the_file_is_loaded_not_when_a_service_comes(
    locator: str, rule: str
) -> None:
    with pytest.raises(RouteFileError) as refusal:
        parse(f"routes: []\ndiscovery: {{locator: {locator}}}".encode(), "routes.yaml", {})
    assert {(fault.line, fault.rule) for fault in refusal.value.issues} == {(2, rule)}


def test_a_table_without_a_locator_is_left_as_it_is() -> None:
    plain: Any = parse(b"routes: []", "routes.yaml", {})
    assert with_discovered_routes(plain, ["orders"]) is plain
