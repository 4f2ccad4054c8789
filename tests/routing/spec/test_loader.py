"""Loading a route file: the whole table, or all of its faults at once with their places."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.callers import Bypass, ClaimRule, Lane, lane_of
from gateway.routing.gates import Challenge, GateRule, Prequeue, RoomLimits
from gateway.routing.spec import loader
from gateway.routing.spec.issues import RouteFileError, summarize
from gateway.routing.spec.loader import content_of, default_file, parse
from gateway.routing.table import RouteTable
from tests.routing.vectors import faults_of
from tests.support.route_files import load

GOOD = "routes:\n- {id: a, uri: 'lb://a', predicates: [Path=/a/**]}\n"


def read(text: str, environ: dict[str, str] | None = None) -> RouteTable:
    return parse(text.encode(), "routes.yaml", environ or {})


def issues(text: str) -> list[tuple[int, str | None, str]]:
    with pytest.raises(RouteFileError) as refusal:
        read(text)
    return [(fault.line, fault.route_id, fault.rule) for fault in refusal.value.issues]


def messages(text: str) -> str:
    with pytest.raises(RouteFileError) as refusal:
        read(text)
    return str(refusal.value)


def test_all_faults_are_reported_at_once_each_with_line_route_and_rule() -> None:
    assert issues("""\
rootes: x
routes:
- id: a
  uri: htp://x
  predicates: [Pth=/x, 'Path=/{x}/{x}']
  filters:
  - StripPrefix=x
  - StripPrefx=1
  - TokenRelay
  - name: AddRequestHeader
    args: {nme: X-A, value: b}
- id: b
  uri: lb://x
  predicates: [Path=/b]
  filters: ['AddRequestHeader=X-A, {y}']
- id: b
  urii: lb://x
  predicates: [Path=/**]
  order: first
- id: c
  uri: ${NOPE}
  predicates: []
  metadata: text
- text
gates:
- room: default
  calls:
  - POST /open
  - FETCH /x
- room: 'a b'
access: {publik: [], public: [POST /open]}
rooms: {vip: {capacity: -1, duration: long}}
services: {s: [h:80]}
cors: {cors-configurations: {x: {}, /y: {allowedOrigin: z}}}
""") == [
        (1, None, "key"),
        (4, "a", "uri"),
        (5, "a", "predicate-name"),
        (5, "a", "pattern"),
        (7, "a", "argument"),
        (8, "a", "filter-name"),
        (9, "a", "filter-name"),
        (10, "a", "argument"),
        (12, "b", "variable"),
        (16, "b", "uri"),
        (17, "b", "key"),
        (19, "b", "shape"),
        (20, "c", "shape"),
        (21, "c", "placeholder"),
        (23, "c", "metadata"),
        (24, "route-5", "shape"),
        (29, None, "call"),
        (30, None, "room"),
        (31, None, "key"),
        (31, None, "gated-and-public"),
        (32, None, "room"),
        (32, None, "room"),
        (33, None, "service"),
        (34, None, "pattern"),
        (34, None, "cors"),
    ]


@pytest.mark.parametrize(
    ("item", "near"),
    [
        ("predicates: [path=/a]", "'Path'"),
        ("predicates: [Paths=/a]", "'Path'"),
        ("predicates: [Path=/a, Metod=GET]", "'Method'"),
        ("predicates: [Path=/a]\n  filters: [StripPrefixes=1]", "'StripPrefix'"),
        ("predicates: [Path=/a]\n  filters: [rewrite-path=/a]", "'RewritePath'"),
        ("predicate: [Path=/a]", "'predicates'"),
        ("predicates: [Path=/a, Method=PSOT]", "'POST'"),
        ("predicates: [{name: Path, args: {pattrens: /a}}]", "'patterns'"),
    ],
)
def test_a_misspelt_name_is_told_with_the_nearest_and_all_there_are(item: str, near: str) -> None:
    text = messages(f"routes:\n- id: a\n  uri: lb://a\n  {item}\n")
    assert f"the nearest is {near}" in text
    assert "there are: " in text or "it takes" in text


@pytest.mark.parametrize(
    ("item", "hint"),
    [
        ("filters: ['AddRequestHeader=X-A, b: c': d]", "quotes"),
        ("filters: [StripPrefix: 1]", "write StripPrefix=1"),
        ("filters: [{name: StripPrefix, parts: 1}]", "below args"),
        ("filters: ['AddRequestHeader=X-A, a, b']", "long form"),
        ("filters: [{args: {parts: 1}}]", "no name"),
        ("filters: [[a]]", "must be a text"),
        ("filters: {a: b}", "must be a list"),
        ("filters: [{name: StripPrefix, args: 1}]", "mapping"),
        ("filters: [{name: StripPrefix, args: {parts: [1, 2]}}]", "one value"),
        ("filters: ['AddRequestHeader=X-A, #{1+1}']", "not evaluated"),
        ("filters: ['AddRequestHeader=Content-Length, 3']", "belongs to the connection"),
        ("filters: ['RemoveResponseHeader=Transfer-Encoding']", "belongs to the connection"),
        ("filters: ['AddRequestHeader=X A, 3']", "no name of a header"),
        ('filters: ["AddRequestHeader=X-A, a\\u0007b"]', "control character"),
        ("filters: ['AddResponseHeader=X-A, {\"a\": 1}']", "don't always capture"),
        ("filters: ['SetPath=/{a']", "brace"),
        ("filters: [SetStatus=nope]", "its name"),
        ("filters: [SetStatus=100]", "from 200 to 999"),
        ("filters: [SetStatus=CONTINUE]", "from 200 to 999"),
        ("filters: [SetStatus=switching_protocols]", "from 200 to 999"),
        ("filters: [SetStatus=EARLY_HINTS]", "from 200 to 999"),
        ('filters: ["SetStatus=\u00b2\u00b2\u00b2"]', "from 200 to 999"),
        ('filters: {"\u00b2": StripPrefix=1}', "must be a list"),
        (f"filters: {{? {'9' * 5000} : StripPrefix=1}}", "must be a list"),
        (f"filters: [{{name: StripPrefix, args: {{? _genkey_{'9' * 5000} : 1}}}}]", "has no argument"),
        ("filters: ['RedirectTo=200, /x']", "redirection"),
        ("filters: ['RedirectTo=302, /{x}']", "variables mean nothing"),
        ("filters: [RequestSize=much]", "size such as"),
        ("filters: ['DedupeResponseHeader=A, NOPE']", "RETAIN_FIRST"),
        ("filters: [{name: StripPrefix, args: {parts: {a: [{b: c}]}}}]", "a text or a list of texts"),
        ("filters: [{name: AddRequestHeader, args: {name: X-A, value: }}]", "value is missing"),
        ("filters: ['SetRequestHostHeader=a/b']", "no host"),
        ("filters: ['SetRequestHostHeader=a:b']", "no host"),
        ("filters: ['SetRequestHostHeader=[::1']", "no host"),
        ("filters: ['AddRequestParameter=a, b#c']", "part of a query"),
        ("metadata: {cors: text}", "cors must be a mapping"),
        ("uri: [a]", "twice"),
        ("filters: ['RewritePath=(a)(b)(c)(d)(e)(f)(g)(h)(i)(j), /$10$11$3', Nope=1]", "no filter 'Nope'"),
        ("order: 99999999999", "whole number"),
        ("enabled: maybe", "true or false"),
        ("metadata: {response-timeout: soon}", "milliseconds"),
        ("metadata: {allow-actuator: 'yes'}", "true or false"),
        ("metadata: {cors: {allowedOrigin: x}}", "'allowedOrigins'"),
    ],
)
def test_a_fault_says_what_to_write_instead(item: str, hint: str) -> None:
    assert hint in messages(f"routes:\n- id: a\n  uri: lb://a\n  predicates: [Path=/a]\n  {item}\n")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (GOOD + "- {id: a, uri: 'lb://b', predicates: [Path=/b]}\n", "line 2 has a route of this id already"),
        ("routes: [{id: a, uri: 'lb://a', predicates: ['Weight=g, 1', 'Weight=h, 1']}]", "one Weight only"),
        (
            "routes: [{id: a, uri: 'lb://a', predicates: ['Weight=g, 0']}]",
            "all weights of the group 'g' are 0",
        ),
        ("routes: [[a]]", "must have id, uri and predicates"),
        ("routes: [{id: a, uri: [x], predicates: [Path=/a]}]", "uri must be a text"),
        (f"routes: [{{id: {'x' * 201}, uri: 'lb://a', predicates: [Path=/a]}}]", "at most 200 characters"),
        (GOOD + "services: {a: [[x]]}", "must be a list of texts"),
        (GOOD + "services: {a: '${NOPE}'}", "is not set"),
        (GOOD + "access: {defaults: maybe}", "true or false"),
        (GOOD + "gates: text", "gates must be a list"),
        (GOOD + "gates: [text]", "a gate must be a mapping"),
        (GOOD + "rooms: {'a b': {}}", "no name of a room"),
        (GOOD + "rooms: {vip: {opens_at: 2026-12-01T20:00:00}}", "opens_at must be a moment with its zone"),
        (GOOD + "rooms: {vip: {opens_at: 2026-12-01}}", "opens_at must be a moment with its zone"),
        (GOOD + "rooms: {vip: {opens_at: 2026-02-30T20:00:00Z}}", "opens_at must be a moment with its zone"),
        (GOOD + "rooms: {vip: {opens_at: '9999-12-31T23:59:59-05:00'}}", "before the year 10000 in UTC"),
        (GOOD + "rooms: {vip: {rate: 1\u0663/m}}", "rate must be a whole number"),
        (GOOD + "rooms: {vip: {duration: \u0663h}}", "duration must be seconds"),
        (
            GOOD + "rooms: {vip: {lanes: [{name: a, share: .0, claim: x, values: [y]}]}}",
            "share must be",
        ),
        (GOOD + "rooms: {vip: {closes_at: true}}", "closes_at must be a moment with its zone"),
        (
            GOOD + "rooms: {vip: {opens_at: 2026-12-01T20:00:00+09:00, closes_at: 2026-12-01T11:00:00Z}}",
            "room 'vip' closes before it opens",
        ),
        (GOOD + "rooms: {vip: {prequeue: 30m}}", "rooms.vip.prequeue must be a mapping"),
        (GOOD + "rooms: {vip: {prequeue: {order: draw}}}", "rooms.vip.prequeue needs from"),
        (GOOD + "rooms: {vip: {prequeue: {from: 0}}}", "from must be seconds from 0.001"),
        (GOOD + "rooms: {vip: {prequeue: {from: 1h, order: luck}}}", "order must be draw or arrival"),
        (GOOD + "rooms: {vip: {prequeue: {from: 1h, beacon: x}}}", "a beacon needs order: draw"),
        (GOOD + "rooms: {vip: {prequeue: {from: 1h, order: draw, beacon: ''}}}", "beacon must be a text"),
        (
            GOOD + "rooms: {vip: {prequeue: {from: 1h, until: 1}}}",
            "there is no key in rooms.vip.prequeue 'until'",
        ),
        (GOOD + "rooms: {vip: {bypass: staff}}", "rooms.vip.bypass must be a list"),
        (GOOD + "rooms: {vip: {bypass: [staff]}}", "an item of rooms.vip.bypass must be a mapping"),
        (
            GOOD + "rooms: {vip: {bypass: [{claim: a, values: [b]}]}}",
            "an item of rooms.vip.bypass has no name",
        ),
        (GOOD + "rooms: {vip: {bypass: [{name: a b, claim: a, values: [b]}]}}", "name must be letters"),
        (GOOD + "rooms: {vip: {bypass: [{name: a}]}}", "a must have either claim and values, or networks"),
        (
            GOOD + "rooms: {vip: {bypass: [{name: a, claim: b, networks: [10.0.0.1]}]}}",
            "a must have either claim and values, or networks",
        ),
        (GOOD + "rooms: {vip: {bypass: [{name: a, claim: b}]}}", "needs both claim and values"),
        (GOOD + "rooms: {vip: {bypass: [{name: a, values: [b]}]}}", "needs both claim and values"),
        (GOOD + "rooms: {vip: {bypass: [{name: a, networks: []}]}}", "networks is empty"),
        (
            GOOD + "rooms: {vip: {bypass: [{name: a, networks: [10.9.0.1/16]}]}}",
            "no address or network such as",
        ),
        (GOOD + "rooms: {vip: {bypass: [{name: a, networks: [intranet]}]}}", "no address or network such as"),
        (
            GOOD
            + "rooms: {vip: {bypass: [{name: a, networks: [10.0.0.1]}, {name: a, networks: [10.0.0.2]}]}}",
            "has two rules 'a'",
        ),
        (GOOD + "rooms: {vip: {eligible: gold}}", "rooms.vip.eligible must be a mapping"),
        (GOOD + "rooms: {vip: {eligible: {claim: a}}}", "needs both claim and values"),
        (GOOD + "rooms: {vip: {eligible: {values: [a]}}}", "needs both claim and values"),
        (GOOD + "rooms: {vip: {eligible: {claim: a, values: [b], networks: [c]}}}", "networks"),
        (GOOD + "cors: {cors-configurations: {/a: text}}", "must be a mapping"),
        (GOOD + "spring: {cloud: {gateway: {rutes: []}}}", "the nearest is 'routes'"),
    ],
)
def test_a_fault_of_a_section_says_what_is_wrong(text: str, hint: str) -> None:
    assert hint in messages(text)


def test_a_variable_must_be_captured_whichever_pattern_matched() -> None:
    route = "routes:\n- id: a\n  uri: lb://a\n  predicates: ['Path=%s']\n  filters: ['SetPath=/{x}']\n"
    assert issues(route % "/a/{x},/b/{y}") == [(2, "a", "variable")]
    assert read(route % "/a/{x},/b/{x}").routes


@pytest.mark.parametrize(
    "text", ["", "routes:", "routes: ~", "services: {}", "routes: nonsense", "routes: {a: {}}"]
)
def test_a_file_without_routes_says_so_on_purpose_or_is_refused(text: str) -> None:
    assert issues(text)
    assert read("routes: []").routes == ()


def test_a_file_that_can_not_be_read_is_a_fault_too(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(RouteFileError) as refusal:
            load(path, {})
        assert [fault.rule for fault in refusal.value.issues] == ["file"]
        assert str(path) in str(refusal.value)


def test_nothing_is_gated_that_the_file_does_not_name() -> None:
    rule = GateRule("default", renews_only=False)
    path = "/api/v1/reservations"
    assert read(GOOD).gate_for("POST", path, path) is None
    assert read(GOOD).gates == read(GOOD + "gates: []\n").gates == ()
    own = read(GOOD + "gates: [{room: vip, calls: [POST /a], renews: [GET /a/**]}, {calls: GET /b}]\n")
    assert own.gate_for("POST", path, path) is None
    assert own.gate_for("POST", "/A/", "/x") == GateRule("vip", renews_only=False)
    assert own.gate_for("GET", "/a/b", "/a/b") == GateRule("vip", renews_only=True)
    assert own.gate_for("GET", "/x", "/b") == rule
    assert set(own.rooms) == {"default", "vip"}


def test_nothing_is_open_that_the_file_does_not_name() -> None:
    for path in ("/api/v1/products", "/api/v1/auth/login", "/health", "/a/v3/api-docs", "/v3/api-docs/a"):
        assert not read(GOOD).is_public("GET", path)
    assert not read(GOOD).is_public("POST", "/api/v1/tickets/5/use")
    table = read(GOOD + "access: {public: [GET /api/v1/notices/**]}\n")
    assert [str(call) for call in table.public] == ["GET /api/v1/notices/**"]
    assert table.is_public("GET", "/api/v1/notices/1")


def test_defaults_is_a_key_that_has_no_effect_any_more() -> None:
    off = read(GOOD + "access: {defaults: false, public: GET /a/x}\n")
    assert ([str(call) for call in off.public], off.warnings) == (["GET /a/x"], ())
    on = read(GOOD + "access:\n  defaults: true\n")
    assert on.public == ()
    assert [(warning.line, warning.rule) for warning in on.warnings] == [(4, "access")]
    assert "defaults: true has no effect" in on.warnings[0].message


@pytest.mark.parametrize(
    ("more", "both"),
    [
        (
            "gates: [{calls: [POST /api/v1/reservations]}]\naccess: {public: [POST /api/v1/reservations]}",
            True,
        ),
        ("gates: [{calls: [POST /api/v1/reservations]}]\naccess: {public: [/api/v1/**]}", True),
        (
            "gates: [{calls: [POST /api/v1/reservations]}]\naccess: {public: [GET /api/v1/reservations]}",
            False,
        ),
        ("access: {public: [POST /api/v1/reservations]}", False),
        ("gates: [{calls: [GET /api/v1/products/*]}]", False),
        ("gates: [{calls: [GET /a/*]}]\naccess: {public: [GET /a/b]}", True),
        ("gates: [{renews: [GET /a/*]}]\naccess: {public: [GET /a/b]}", False),
        ("gates: [{calls: [GET /x/**]}]\naccess: {public: [GET /X/y]}", True),
    ],
)
def test_a_call_is_gated_or_public(more: str, both: bool) -> None:
    if both:
        assert {rule for *_, rule in issues(f"{GOOD}{more}\n")} == {"gated-and-public"}
    else:
        assert read(f"{GOOD}{more}\n")


def test_rooms_have_limits_of_their_own_or_the_settings() -> None:
    table = read(GOOD + "rooms: {vip: {capacity: 10, duration: 2m}, big: {capacity: 0}, none: {}}\n")
    assert table.rooms == {
        "default": RoomLimits(),
        "vip": RoomLimits(10, 120.0),
        "big": RoomLimits(0, None),
        "none": RoomLimits(),
    }


def test_a_room_is_for_eligible_users() -> None:
    table = read(GOOD + "rooms: {vip: {eligible: {claim: tier, values: gold}}, none: {eligible: }}\n")
    assert table.eligible_of("vip") == ClaimRule("tier", ("gold",))
    assert table.eligible_of("none") is table.eligible_of("default") is table.eligible_of("unknown") is None
    assert table.wanted_claims() == {"tier": {"gold"}}


LANE = "{name: members, share: 0.3, claim: tier, values: [gold, silver]}"


def test_a_room_has_lanes() -> None:
    table = read(
        GOOD + f"rooms: {{vip: {{lanes: [{LANE}, {{name: b, share: '.7', claim: x, values: y}}]}}}}\n"
    )
    assert table.lanes_of("vip") == (
        Lane("members", 3000, ClaimRule("tier", ("gold", "silver"))),
        Lane("b", 7000, ClaimRule("x", ("y",))),
    )
    assert table.lanes_of("default") == table.lanes_of("unknown") == ()
    assert table.wanted_claims() == {"tier": {"gold", "silver"}, "x": {"y"}}
    assert lane_of(table.lanes_of("vip"), frozenset({("x", "y"), ("tier", "silver")})) == "members"
    assert lane_of(table.lanes_of("vip"), frozenset({("x", "y"), ("tier", "bronze")})) == "b"
    assert lane_of(table.lanes_of("vip"), frozenset()) is None


@pytest.mark.parametrize(
    ("lanes", "fault"),
    [
        ("gold", "rooms.vip.lanes must be a list"),
        ("[{share: 0.3, claim: a, values: b}]", "an item of rooms.vip.lanes has no name"),
        ("[{name: a, claim: a, values: b}]", "an item of rooms.vip.lanes has no share"),
        ("[{name: a, share: 0.3}]", "needs both claim and values"),
        ("[{name: a, share: 0.3, claim: a, values: b, color: red}]", "color"),
        ("[{name: default, share: 0.3, claim: a, values: b}]", "name must be letters, digits, - and _"),
        ("[{name: a b, share: 0.3, claim: a, values: b}]", "name must be letters, digits, - and _"),
        ("[{name: a, share: 0, claim: a, values: b}]", "share must be a number from 0.0001 to 1"),
        ("[{name: a, share: 0.00001, claim: a, values: b}]", "share must be a number from 0.0001 to 1"),
        ("[{name: a, share: 1.1, claim: a, values: b}]", "share must be a number from 0.0001 to 1"),
        (f"[{LANE}, {LANE}]", "has two lanes 'members'"),
        (f"[{LANE}, {{name: b, share: 0.7001, claim: x, values: y}}]", "add up to 1.0001"),
        (
            "[" + ", ".join(f"{{name: n{n}, share: 0.1, claim: a, values: b}}" for n in range(9)) + "]",
            "has 9 lanes; at most 8 are allowed",
        ),
    ],
)
def test_lanes_that_are_not_sound_are_named(lanes: str, fault: str) -> None:
    assert fault in messages(GOOD + f"rooms: {{vip: {{lanes: {lanes}}}}}\n")


def test_a_room_lets_callers_bypass_its_gate() -> None:
    table = read(
        GOOD + "rooms:\n  vip:\n    bypass:\n"
        "    - {name: staff, claim: role, values: [staff, 7]}\n"
        "    - {name: probes, networks: [10.9.0.0/16, '::ffff:10.1.0.0/112']}\n"
        "  none: {bypass: }\n"
    )
    staff, probes = table.bypass_of("vip")
    assert staff == Bypass("staff", by_claim=ClaimRule("role", ("staff", "7")))
    assert [str(network) for network in probes.networks] == ["10.9.0.0/16", "10.1.0.0/16"]
    assert table.bypass_of("none") == table.bypass_of("default") == table.bypass_of("unknown") == ()
    assert table.wanted_claims() == {"role": {"staff", "7"}}


def test_rooms_have_opening_times_and_a_pre_queue() -> None:
    table = read(
        GOOD
        + """rooms:
  vip:
    opens_at: 2026-12-01T20:00:00+09:00
    closes_at: 2026-12-01 14:00Z
    prequeue: {from: 30m, order: draw, beacon: lottery draw of 1 December}
  plain: {opens_at: off, prequeue: {from: 1h}}
"""
    )
    vip, plain = table.rooms["vip"], table.rooms["plain"]
    assert (vip.opens_at, vip.closes_at) == (1_796_122_800.0, 1_796_133_600.0)
    assert vip.prequeue == Prequeue(1800.0, "draw", "lottery draw of 1 December")
    assert (plain.opens_at, plain.closes_at, plain.prequeue) == (0.0, None, Prequeue(3600.0))


def test_services_are_lists_or_texts_or_nothing() -> None:
    text = "services:\n  a: [http://h:1, http://h:1/]\n  B: ${B_URLS:}\n  c: http://h:1, http://h:2\n  d:\n"
    assert read(GOOD + text).services == {
        "a": ("http://h:1",),
        "b": (),
        "c": ("http://h:1", "http://h:2"),
        "d": (),
    }
    assert read(GOOD + text, {"B_URLS": "http://x:1,http://y:2"}).services["b"] == (
        "http://x:1",
        "http://y:2",
    )


def test_metadata_sets_what_this_gateway_knows_and_keeps_the_rest() -> None:
    text = (
        "metadata: {response-timeout: 1500, connect-timeout: -1, cors: {allowedOrigins: 'https://a.test'}, "
        "own: {k: 1}}"
    )
    route = read(f"routes:\n- id: a\n  uri: lb://a\n  predicates: [Path=/a]\n  {text}\n").routes[0]
    assert (route.response_timeout, route.connect_timeout) == (1.5, float("inf"))
    assert route.cors is not None
    assert route.cors.allowed_origins == ("https://a.test",)
    assert route.metadata["own"] == {"k": 1}
    assert (route.allow_actuator, route.line) == (False, 2)


SPRING = """\
server: {port: 8080}
spring:
  application: {name: gateway}
  cloud:
    gateway:
      server.webflux:
        httpclient: {connect-timeout: 1000}
        default-filters: [AddResponseHeader=X-A, b]
        globalcors:
          cors-configurations:
            '[/**]': {allowedOrigins: 'https://a.test'}
        routes:
        - {id: a, uri: 'lb://a', predicates: [Path=/a/**]}
services: {a: http://h:1}
gates: []
"""


def test_springs_own_nesting_is_read_with_the_gateways_sections_beside_it() -> None:
    text = SPRING.replace("[AddResponseHeader=X-A, b]", "['AddResponseHeader=X-A, b']")
    table = read(text)
    assert [route.id for route in table.routes] == ["a"]
    assert [str(each) for each in table.routes[0].filters] == ["[AddResponseHeader X-A = 'b']"]
    assert table.services == {"a": ("http://h:1",)}
    assert table.cors["/**"].allowed_origins == ("https://a.test",)
    assert table.gates == ()


def test_routes_in_both_shapes_are_a_fault() -> None:
    text = "spring.cloud.gateway.routes: []\nroutes: []\n"
    assert [rule for *_, rule in issues(text)] == ["shape"]


def test_the_shipped_file_is_sound_with_and_without_instances() -> None:
    table = load(default_file(), {})
    assert all(not urls for urls in table.services.values())
    assert {route.upstream.service for route in table.routes} == set(table.services)
    name = "RESERVATION_SEAT_SERVICE_URLS"
    assert load(default_file(), {name: "http://h:1, http://h:2"}).services["reservation-seat-service"] == (
        "http://h:1",
        "http://h:2",
    )


def test_the_shipped_file_names_the_gates_and_open_calls_of_the_ticketing_services() -> None:
    shipped = load(default_file(), {})
    assert [(gate.room, [str(call) for call in gate.calls]) for gate in shipped.gates] == [
        ("default", ["POST /api/v1/reservations", "POST /api/v1/reservation-seats/**"])
    ]
    assert [str(call) for call in shipped.public] == [
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
    ]
    assert shipped.warnings == ()


_SCALARS: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(
        [
            "Path=/a",
            "StripPrefix=1",
            "lb://a",
            "POST /x",
            "${A:${B}}",
            "#{x}",
            "default",
            "a",
            "/**",
            "Host={a}.b",
            "",
        ]
    )
    | st.text(max_size=8)
)
_KEYS = st.sampled_from(
    re.findall(
        r"\S+",
        "routes id uri predicates filters name args gates room calls renews access public defaults rooms capacity "
        "services cors cors-configurations spring cloud metadata order enabled a.b[0].c [0] _genkey_0",
    )
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=5),
    max_leaves=25,
)


@given(st.dictionaries(_KEYS, _VALUES, min_size=1, max_size=6))
def test_whatever_a_file_holds_it_becomes_a_table_or_faults(content: dict[str, Any]) -> None:
    text = yaml.safe_dump(content, allow_unicode=True).encode("utf-8", "replace")
    table, found = faults_of(lambda: parse(text, "x.yaml", {"A": "1"}))
    assert (table is None) == bool(found)
    assert all(fault.line >= 1 and fault.message and fault.rule for fault in found)


@given(st.binary(max_size=200) | st.text(alphabet="{}[]:-&*!|>'\"#%@`, \n\tab<", max_size=80).map(str.encode))
def test_whatever_bytes_a_file_holds_it_becomes_a_table_or_faults(content: bytes) -> None:
    table, found = faults_of(lambda: parse(content, "x.yaml", {}))
    assert (table is None) == bool(found)


TWELVE = [
    "CacheRequestBody",
    "FrameworkRetry=3",
    "JsonToGrpc=a,b,c",
    "LocalResponseCache=1m,1MB",
    "ModifyRequestBody",
    "ModifyResponseBody",
    "RateLimit",
    "RemoveJsonAttributesResponseBody=a",
    "RequestHeaderToRequestUri=X-A",
    "SetRequestUri=a",
    "TokenRelay",
    "WebSessionSticky",
]


def test_of_many_faults_each_is_told_once_and_the_list_of_names_once() -> None:
    filters = "".join(f"  - {each}\n" for each in [*TWELVE, "Nonsense"])
    text = (
        f"routes:\n- id: a\n  uri: lb://a\n  predicates: [Path=/a, Version=1, Pth=/b]\n  filters:\n{filters}"
    )
    with pytest.raises(RouteFileError) as refusal:
        parse(text.encode(), "f", {})
    for texts in ([str(refusal.value)], list(summarize(refusal.value.issues))):
        whole = "\n".join(texts)
        assert all(whole.count(f"the filter {each.partition('=')[0]!r} is known") == 1 for each in TWELVE)
        assert whole.count("AddRequestHeader, ") == 1, "the filters there are"
        assert whole.count("Path, Method, ") == 1, "the predicates there are"
        assert whole.count("there is no filter 'Nonsense'") == 1
        assert whole.count("not supported here, because ") == 13
    assert len(refusal.value.issues) == 15


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (
            "predicates: [Version=1.1]",
            "'Version' is known from Spring Cloud Gateway, but not supported here, because",
        ),
        ("predicates: [ReadBody=a]", "routes are chosen before a body is read; choose by"),
        ("predicates: [CloudFoundryRouteService=]", "can be asked for with Header"),
        ("predicates: [StripPrefix=1]", "there is no predicate 'StripPrefix'; it is a filter"),
        ("predicates: [Path=/a]\n  filters: [StripContextPath]", "write StripPrefix"),
        ("predicates: [Path=/a]\n  filters: [stripcontextpath]", "'StripContextPath' is known"),
        ("predicates: [Path=/a]\n  filters: [WebSessionSticky]", "the gateway keeps no sessions"),
        ("predicates: [Path=/a]\n  filters: [Path=/a]", "there is no filter 'Path'; it is a predicate"),
        ("predicates: [Path=/a]\n  filters: [TokenRelais]", "the nearest is 'TokenRelay'"),
        ("predicates: [Path=/a]\n  uri: 'forward:/fallback'", "no pages that a route could lead to"),
        ("predicates: [Path=/a]\n  uri: 'sticky://shop'", "no sessions that could remember an instance"),
    ],
)
def test_what_is_known_from_spring_and_not_supported_says_why(item: str, said: str) -> None:
    uri = "" if "uri:" in item else "  uri: lb://a\n"
    assert said in messages(f"routes:\n- id: a\n{uri}  {item}\n")


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_what_is_read_again_and_again_is_a_regular_file(device: str) -> None:
    with pytest.raises(RouteFileError, match="can't be read: it is not a regular file"):
        content_of(Path(device))


def test_no_one_waits_for_a_pipe_unless_it_is_read_once(tmp_path: Path) -> None:
    pipe = tmp_path / "routes.yaml"
    os.mkfifo(pipe)
    with pytest.raises(RouteFileError, match="not a regular file"):
        content_of(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(GOOD,))
    writer.start()
    assert content_of(pipe, once=True) == GOOD.encode()
    writer.join()


def test_a_file_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "MAX_FILE_BYTES", 2**20)
    file = tmp_path / "routes.yaml"
    file.write_bytes(b"#" * 2**20)
    assert len(content_of(file)) == 2**20
    file.write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(RouteFileError, match="it is longer than 1 MiB"):
        content_of(file)
    with pytest.raises(RouteFileError, match="it is longer than 1 MiB"):
        content_of(Path("/dev/zero"), once=True)


def test_a_folder_and_a_missing_file_say_so(tmp_path: Path) -> None:
    for path, reason in ((tmp_path, "Is a directory"), (tmp_path / "none", "No such file")):
        with pytest.raises(RouteFileError, match=reason):
            content_of(path)


@pytest.mark.parametrize(
    ("identity", "sound"), [("token", False), ("visitor", True), ("either", True), (None, False)]
)
def test_a_gated_call_may_be_public_where_a_visitors_place_stands_for_the_token(
    identity: str | None, sound: bool
) -> None:
    rooms = "" if identity is None else f"rooms: {{vip: {{identity: {identity}}}}}\n"
    text = "routes: []\ngates: [{room: vip, calls: [POST /buy]}]\naccess: {public: [/buy]}\n" + rooms
    if sound:
        assert dict(parse(text.encode(), "routes.yaml", {}).visitor_rooms) == {"vip": identity}
    else:
        with pytest.raises(RouteFileError, match="gated"):
            parse(text.encode(), "routes.yaml", {})


@pytest.mark.parametrize("identity", ["guest", "", "[visitor]", "true"])
def test_an_unknown_identity_is_named_with_those_there_are(identity: str) -> None:
    text = f"routes: []\nrooms: {{vip: {{identity: {identity}}}}}\n"
    with pytest.raises(RouteFileError) as refused:
        parse(text.encode(), "routes.yaml", {})
    assert "identity must be token, visitor or either" in str(refused.value.issues)


@pytest.mark.parametrize(
    ("room", "fault"),
    [
        ("places_per_address: 1001", "places_per_address must be a whole number from 0 to 1000"),
        ("places_per_address: -1", "places_per_address must be a whole number from 0 to 1000"),
        ("challenge: {timeout: 2s}", "rooms.vip.challenge needs a url"),
        ("challenge: {url: check.example}", "url must be an http:// or https:// address"),
        (
            "challenge: {url: 'http://user:secret@check.example/'}",
            "url must be an http:// or https:// address",
        ),
        ("challenge: {url: 'http://check/', timeout: 0}", "timeout must be seconds from 0.001 to 5"),
        ("challenge: {url: 'http://check/', timeout: 5001ms}", "timeout must be seconds from 0.001 to 5"),
        ("challenge: {url: 'http://check/', timeout: 5.001}", "timeout must be seconds from 0.001 to 5"),
        ("challenge: {url: 'http://check/', timeout: 1m}", "timeout must be seconds from 0.001 to 5"),
        ("challenge: {url: 'http://check/', fail: maybe}", "fail must be open or closed"),
        ("challenge: {url: 'http://check/', retries: 3}", "retries"),
    ],
)
def test_what_is_checked_of_visitors_is_read_or_named_with_what_is_allowed(room: str, fault: str) -> None:
    text = f"routes: []\nrooms: {{vip: {{identity: visitor, {room}}}}}\n"
    with pytest.raises(RouteFileError) as refused:
        parse(text.encode(), "routes.yaml", {})
    assert fault in str(refused.value.issues)
    assert "secret" not in str(refused.value.issues)


def test_checks_of_visitors_have_defaults() -> None:
    text = (
        "routes: []\nrooms: {vip: {identity: visitor, challenge: {url: 'http://check:8080/a?b=c'}}, a: {}}\n"
    )
    table = parse(text.encode(), "routes.yaml", {})
    assert table.rooms["vip"].challenge == Challenge("http://check:8080/a?b=c", 2.0, True)
    assert set(table.checked_rooms) == {"vip"}


def test_claims_that_no_visitor_can_have_are_a_warning() -> None:
    for identity, warned in (("visitor", True), ("either", False), ("token", False)):
        room = f"{{identity: {identity}, eligible: {{claim: tier, values: [gold]}}}}"
        table = parse(f"routes: []\nrooms: {{vip: {room}}}\n".encode(), "routes.yaml", {})
        assert [issue.rule for issue in table.warnings] == ["room-identity"] * warned


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ("identity: visitor", True),
        ("identity: either, places_per_address: 3", True),
        ('identity: visitor, challenge: {url: "https://check.example"}', False),
        ("identity: either, eligible: {claim: member, values: [a]}", False),
        ("identity: token", False),
    ],
)
def test_rooms_by_name_that_anyone_may_make_are_warned_of(settings: str, warned: bool) -> None:
    text = f"""
    routes: [{{id: a, uri: "http://127.0.0.1:1", predicates: ["Path=/**"]}}]
    rooms: {{"sale-*": {{{settings}}}}}
    gates: [{{room: "sale-{{id}}", calls: ["POST /sales/{{id}}/orders"]}}]
    """
    found = [issue.rule for issue in parse(text.encode(), "routes.yaml", {}).warnings]
    assert ("rooms-by-name" in found) is warned


@pytest.mark.parametrize(
    ("key", "identity", "warned"),
    [
        ("visitor", "token", True),
        ("visitor", "visitor", False),
        ("visitor", "either", False),
        ("address", "token", False),
    ],
)
def test_a_limit_by_visitors_without_rooms_for_them_is_a_warning(
    key: str, identity: str, warned: bool
) -> None:
    limiter = f"{{name: RequestRateLimiter, args: {{replenishRate: 1, burstCapacity: 1, key: {key}}}}}"
    text = (
        f"routes:\n- {{id: a, uri: 'http://a', predicates: [Path=/a], filters: [{limiter}]}}\n"
        f"rooms: {{vip: {{identity: {identity}}}}}\n"
    )
    table = parse(text.encode(), "routes.yaml", {})
    assert [(issue.rule, issue.line) for issue in table.warnings] == [("rate-limit", 2)] * warned


@pytest.mark.parametrize("room", ["places_per_address: 3", "challenge: {url: 'http://check/'}"])
def test_checks_of_visitors_in_a_room_for_tokens_are_a_warning(room: str) -> None:
    for identity, warned in ((", identity: token", True), ("", True), (", identity: either", False)):
        table = parse(f"routes: []\nrooms: {{vip: {{{room}{identity}}}}}\n".encode(), "routes.yaml", {})
        assert any("has no effect" in str(issue) for issue in table.warnings) is warned
