"""Rooms that a gate takes from its calls: from the path or from the query, read once and strictly."""

from __future__ import annotations

import pytest

from gateway.errors import BadRequest, RoomNotFound
from gateway.routing.gates import GateRule
from gateway.routing.room_templates import entry_of, template_of
from gateway.routing.spec.issues import RouteFileError
from gateway.routing.spec.loader import parse
from gateway.routing.table import RouteTable

ROUTES = """
routes:
  - {id: shop, uri: "http://shop", predicates: ["Path=/**"]}
gates:
  - room: "concert-{productId}"
    calls:
      - "POST /api/v1/products/{productId}/orders"
      - "POST /v2/{productId:[0-9]+}/orders"
      - "POST /v3/0-{productId:[0-9]{4}}/{_}/orders"
      - "POST /**/last-0{productId:[0-9]{1,3}}"
    renews: ["GET /api/v1/products/{productId}"]
  - {room: "seat-{query.seat-id}-x", calls: [POST /seats]}
  - {room: "row-{query.row.id:[0-9]{2}|[a-z]+}", calls: [POST /rows]}
  - {room: vip, calls: [POST /vip]}
rooms:
  "concert-*": {capacity: 7, identity: visitor}
  concert-17: {capacity: 9}
  "row-*": {}
"""


@pytest.fixture(scope="module")
def table() -> RouteTable:
    return parse(ROUTES.encode(), "routes.yaml", {})


def room_of(table: RouteTable, method: str, path: str, query: str = "") -> GateRule | None:
    return table.gate_for(method, path, path, raw_query=query)


@pytest.mark.parametrize(
    ("path", "room"),
    [
        ("/api/v1/products/17/orders", "concert-17"),
        ("/api/v1/products/Big_one-2/orders", "concert-Big_one-2"),
        ("/api/v1/products/0/orders", "concert-0"),
        ("/api/v1/products/0a/orders", "concert-0a"),
        ("/api/v1/products/_/orders", "concert-_"),
        ("/v3/0-0042/0042/orders", "concert-0042"),
        ("/v3/0-0000/0/orders", "concert-0000"),
        ("/a/b/last-042", "concert-42"),
        ("/api/v1/products/" + "x" * 40 + "/orders", "concert-" + "x" * 40),
        ("/vip", "vip"),
    ],
)
def test_a_variable_of_the_path_names_the_room(table: RouteTable, path: str, room: str) -> None:
    assert room_of(table, "POST", path) == GateRule(room, renews_only=False)


def test_a_call_that_only_renews_names_its_room_too(table: RouteTable) -> None:
    assert room_of(table, "GET", "/api/v1/products/17") == GateRule("concert-17", renews_only=True)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/products/" + "x" * 41 + "/orders",
        "/api/v1/products/a b/orders",
        "/api/v1/products/ü/orders",
        "/api/v1/products/17;a=b/orders",
        "/api/v1/products/1.7/orders",
        # Other spellings, which a lenient service may take for the same call: its value would be another one.
        "/API/v1/products/17/orders",
        "/api/v1/products/17/orders.json",
        "/api/v1/products/17/Orders/",
        # What a service reads as the number 17, for which there is another room.
        "/api/v1/products/017/orders",
        "/api/v1/products/00/orders",
        "/api/v1/products/1_7/orders",
        "/api/v1/products/" + "0" * 38 + "17/orders",
        "/v2/017/orders",
        "/017/last-007",
    ],
)
def test_a_value_that_can_not_be_read_strictly_names_no_room(table: RouteTable, path: str) -> None:
    with pytest.raises(RoomNotFound):
        room_of(table, "POST", path)


def test_the_client_and_the_service_must_mean_the_same_room(table: RouteTable) -> None:
    here, there = "/api/v1/products/1/orders", "/api/v1/products/2/orders"
    assert table.gate_for("POST", "/shop/1", here) == GateRule("concert-1", renews_only=False)
    assert table.gate_for("POST", here, here) == GateRule("concert-1", renews_only=False)
    with pytest.raises(RoomNotFound):
        table.gate_for("POST", here, there)


@pytest.mark.parametrize(
    ("query", "room"),
    [
        ("seat-id=9", "seat-9-x"),
        ("a=b&seat-id=9-A&c", "seat-9-A-x"),
        ("seat-id=%39", "seat-9-x"),
        ("seat-id=9&seat_id=8&seats[id]=7&xseat-id=6", "seat-9-x"),
    ],
)
def test_a_parameter_of_the_query_names_the_room(table: RouteTable, query: str, room: str) -> None:
    assert room_of(table, "POST", "/seats", query) == GateRule(room, renews_only=False)


@pytest.mark.parametrize(
    "query",
    [
        *("", "seat=9", "seat-id", "seat-id=", "seat-id=a%20b", "seat-id=%C3%BC", "SEAT-ID=9", "seat-id[]=9"),
        *("seat-id=09", "seat-id=1_7", "a=1;seat-id=9", "seat-id=9;a=1"),
    ],
)
def test_without_a_usable_parameter_there_is_no_room(table: RouteTable, query: str) -> None:
    with pytest.raises(RoomNotFound):
        room_of(table, "POST", "/seats", query)


@pytest.mark.parametrize(
    ("query", "room"),
    [("row.id=07", "row-07"), ("row.id=b", "row-b"), ("row.id=7", None), ("row.id=B", None)],
)
def test_a_parameter_may_have_a_regex(table: RouteTable, query: str, room: str | None) -> None:
    if room is None:
        with pytest.raises(RoomNotFound):
            room_of(table, "POST", "/rows", query)
    else:
        assert room_of(table, "POST", "/rows", query) == GateRule(room, renews_only=False)


@pytest.mark.parametrize(
    "query",
    [
        *("seat-id=9&seat-id=9", "seat-id=9&seat-id=", "seat-id=%zz"),
        # What PHP, ASP.NET, Rack or Node.js take for the same parameter.
        *("seat-id=9&Seat-ID=8", "seat-id=9&+seat-id=8", "seat-id=9&seat-id%00x=8", "seat-id=9&seat-id[]=8"),
        *("[seat-id]=8&seat-id=9", "seat-id=9&a=1;seat-id=8"),
    ],
)
def test_a_parameter_given_twice_or_malformed_is_refused(table: RouteTable, query: str) -> None:
    with pytest.raises(BadRequest):
        room_of(table, "POST", "/seats", query)


def test_settings_are_those_of_the_room_or_else_of_the_star(table: RouteTable) -> None:
    assert table.rooms["concert-5"].capacity == 7
    assert table.rooms["concert-17"].capacity == 9
    assert table.visitor_rooms.get("concert-5") == "visitor"
    assert "concert-17" not in table.visitor_rooms
    assert "cinema-5" not in table.rooms


def test_a_place_of_a_visitor_stands_for_the_token_in_the_rooms_of_a_template(table: RouteTable) -> None:
    path = "/api/v1/products/5/orders"
    rule = room_of(table, "POST", path)
    assert rule is not None
    assert table.place_stands_for_token(rule, "POST", path)


def test_the_entry_of_a_template_has_a_star() -> None:
    assert [entry_of(room) for room in ("vip", "a-{b}-c", "a-{query.b}")] == ["vip", "a-*-c", "a-*"]
    assert template_of("vip") is None


@pytest.mark.parametrize(
    ("changed", "to", "expected"),
    [
        (
            "concert-{productId}",
            "concert-{product}",
            "which 'POST /api/v1/products/{productId}/orders' does not",
        ),
        ("concert-{productId}", "{productId}", "is no name of a room"),
        ("concert-{productId}", "concert-{productId}-{productId}", "is no name of a room"),
        ("concert-{productId}", "concert-{}", "is no name of a room"),
        ("concert-{productId}", "c" * 17 + "{productId}", "is no name of a room"),
        ('"concert-*"', '"*"', "'\\*' is no name of a room"),
        ('"concert-*"', '"a-*-*"', "is no name of a room"),
        ("/v2/{productId:[0-9]+}/orders", "/v2/{*productId}", "does not capture in one segment"),
        ("[0-9]{2}|[a-z]+", "[0-9", "regex"),
    ],
)
def test_faults_of_templates_are_named(changed: str, to: str, expected: str) -> None:
    with pytest.raises(RouteFileError, match=expected):
        parse(ROUTES.replace(changed, to).encode(), "routes.yaml", {})


@pytest.mark.parametrize("query", ["row_id=b&row.id=b", "row.id=b&row%20id=c"])
def test_names_that_php_makes_equal_are_one_parameter(table: RouteTable, query: str) -> None:
    with pytest.raises(BadRequest):
        room_of(table, "POST", "/rows", query)


def test_values_that_may_be_spelled_in_several_ways_are_doubtful(table: RouteTable) -> None:
    texts = [str(each) for each in table.warnings if each.rule == "room-spelling"]
    assert len(texts) == 2
    assert "'POST /api/v1/products/{productId}/orders' lets {productId} be anything" in texts[0]
    assert "the parameter seat-id may be anything" in texts[1]
    # A regex of such a variable has an effect.
    assert not [each for each in table.warnings if each.rule == "gate-regex"]


@pytest.mark.parametrize(
    ("changed", "to", "expected"),
    [
        (
            '  "concert-*": {',
            '  "concerts-*": {',
            "rooms 'concert-*', which calls of this gate name, are not listed",
        ),
        ('  "concert-*": {', '  "concerts-*": {', "the nearest that is listed is 'concerts-*'"),
        ('  "concert-*": {', '  "concerts-*": {', "no gate names rooms 'concerts-*'"),
        ("  concert-17:", "  seat-*-x: {}\n  concert-17:", None),
    ],
)
def test_templates_without_settings_and_settings_without_a_gate_are_doubtful(
    changed: str, to: str, expected: str | None
) -> None:
    warnings = parse(ROUTES.replace(changed, to).encode(), "routes.yaml", {}).warnings
    texts = [str(each) for each in warnings if each.rule == "room-template"]
    assert any(expected in text for text in texts) if expected else not texts
