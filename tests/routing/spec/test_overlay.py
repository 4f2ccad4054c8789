"""A Config Server's sections over a route file's: one rule, one reader, and faults that say where."""

from __future__ import annotations

from typing import Any

import pytest
from multidict import CIMultiDict

from gateway.discovery.config_server.properties import properties_of
from gateway.routing.attributes import RequestAttributes
from gateway.routing.describe import table as describe
from gateway.routing.gates import GateRule
from gateway.routing.path import parse_target
from gateway.routing.spec.issues import RouteFileError
from gateway.routing.spec.loader import default_file, parse
from gateway.routing.table import RouteTable
from tests.support.config_server import answer_of, routes

NEW = "spring.cloud.gateway.server.webflux"

FILE = """
routes:
- {id: filed, uri: 'lb://filed', predicates: [Path=/filed/**], filters: [StripPrefix=1]}
default-filters: ['AddResponseHeader=X-File, 1']
services: {filed: 'http://127.0.0.1:1'}
cors:
  cors-configurations:
    '[/**]': {allowedOrigins: ['https://file.example'], maxAge: 5}
    '[/filed/**]': {allowedMethods: PUT}
gates: [{room: vip, calls: [GET /a/secret]}]
access: {public: [GET /a/open]}
rooms: {vip: {capacity: 3}}
discovery: {locator: {enabled: true, exclude: [config-server]}}
"""


def over(*sources: dict[str, Any], file: str = FILE) -> RouteTable:
    return parse(file.encode(), "routes.yaml", {}, properties_of(answer_of(*sources), {}))


def test_nothing_from_the_server_leaves_the_file_as_it_is() -> None:
    assert describe(over({})) == describe(parse(FILE.encode(), "routes.yaml", {}))


def test_routes_of_the_server_stand_instead_of_the_files() -> None:
    table = over(routes("a", "b"))
    assert [route.id for route in table.routes] == ["a", "b"]
    assert table.services == {"filed": ("http://127.0.0.1:1",)}


def test_default_filters_are_those_of_the_server_if_it_has_any() -> None:
    shown = [str(each) for each in over(routes("a")).routes[0].filters]
    assert ["X-File" in each for each in shown] == [True]
    table = over({f"{NEW}.default-filters[0]": "AddResponseHeader=X-Server, 1"})
    assert [route.id for route in table.routes] == ["filed"]
    shown = [str(each) for each in table.routes[0].filters]
    assert "X-Server" in shown[0]
    assert not any("X-File" in each for each in shown)


def test_cors_is_merged_by_pattern_those_of_the_server_first() -> None:
    cors = over({f"{NEW}.globalcors.cors-configurations[/**].allowed-origins": "https://server.example"}).cors
    assert list(cors) == ["/**", "/filed/**"]
    assert cors["/**"].allowed_origins == ("https://server.example",)
    assert cors["/**"].max_age is None, "a rule is taken whole"


def test_the_locator_is_merged_key_by_key() -> None:
    locator = over({f"{NEW}.discovery.locator.route-id-prefix": "x-"}).locator
    assert locator is not None
    assert (locator.prefix, locator.exclude) == ("x-", frozenset({"config-server"}))
    assert over({f"{NEW}.discovery.locator.enabled": False}).locator is None


def test_gates_access_and_rooms_are_the_files_alone() -> None:
    table = over({**routes("a"), "gates": "", "access.public[0]": "GET /a/**", "rooms.vip.capacity": 9})
    plain = parse(FILE.encode(), "routes.yaml", {})
    assert (table.gates, table.public, table.rooms) == (plain.gates, plain.public, plain.rooms)
    assert table.gate_for("GET", "/a/secret", "/a/secret") == GateRule("vip", renews_only=False)
    assert table.is_public("GET", "/a/open")
    assert not table.is_public("GET", "/a/other")


def test_the_shipped_gates_and_open_calls_hold_for_routes_of_the_server() -> None:
    shipped = default_file().read_text(encoding="utf-8")
    table = over({**routes("x"), f"{NEW}.routes[0].filters[0]": "StripPrefix=1"}, file=shipped)
    assert [route.id for route in table.routes] == ["x"]
    assert table.is_public("GET", "/api/v1/products")
    gate = table.gate_for("POST", "/x/api/v1/reservations", "/api/v1/reservations")
    assert gate == GateRule("default", renews_only=False)


@pytest.mark.parametrize(
    ("allowed", "found"), [({}, False), ({f"{NEW}.routes[0].metadata.allow-actuator": True}, True)]
)
def test_no_route_of_the_server_leads_into_an_actuator_unless_it_says_so(
    allowed: dict[str, Any], found: bool
) -> None:
    table = over({**routes("x"), f"{NEW}.routes[0].filters[0]": "StripPrefix=1", **allowed})
    headers = CIMultiDict({"Host": "localhost"})
    target = parse_target("/x/actuator/env", "localhost")
    facts = RequestAttributes("GET", target, headers, "127.0.0.1", "localhost", "http")
    assert (table.resolve(facts) is not None) is found


def issues(*sources: dict[str, Any]) -> list[tuple[str, int, str | None, str]]:
    with pytest.raises(RouteFileError) as refusal:
        over(*sources)
    return [(fault.file, fault.line, fault.route_id, fault.rule) for fault in refusal.value.issues]


def test_every_fault_names_source_line_property_and_route() -> None:
    broken = {
        **routes("a", "b"),
        f"{NEW}.routes[0].predicates[0]": "Pth=/a",
        f"{NEW}.routes[1].uri": "${nowhere}",
    }
    assert sorted(issues(broken)) == [
        ("first.yml", 3, "a", "predicate-name"),
        ("first.yml", 5, "b", "placeholder"),
    ]
    with pytest.raises(
        RouteFileError, match=r"first.yml:3: route 'a': .*webflux\.routes\[0\]\.predicates\[0\]: there is"
    ):
        over(broken)


def test_a_fault_of_a_route_as_a_whole_names_the_route() -> None:
    without = {f"{NEW}.routes[0].id": "a", f"{NEW}.routes[0].predicates[0]": "Path=/a"}
    with pytest.raises(
        RouteFileError, match=r"first.yml:1: route 'a': .*webflux\.routes\[0\]: uri is missing"
    ):
        over(without)


def test_two_routes_of_one_id_name_each_other() -> None:
    with pytest.raises(RouteFileError, match=r"routes\[1\]: .*routes\[0\] has a route of this id already"):
        over(routes("a", "a"))


def test_faults_of_the_file_come_before_those_of_the_server() -> None:
    with pytest.raises(RouteFileError) as refusal:
        over({f"{NEW}.discovery.locator.enabled": "maybe"}, file=FILE + "rootes: x\n")
    assert [fault.file for fault in refusal.value.issues] == ["routes.yaml", "first.yml"]
