"""What a route file is warned of, and above all what it is not."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from gateway.routing.discovered_routes import with_discovered_routes
from gateway.routing.patterns import compile_pattern
from gateway.routing.spec import warnings
from gateway.routing.spec.loader import default_file, parse
from gateway.routing.spec.warnings import NEEDS_ALL_ROUTES, _notation, covers, to_itself, without_instances
from gateway.routing.table import RouteTable
from tests.support.effort import least_seconds
from tests.support.route_files import load

ROOT = Path(__file__).parents[3]
MOMENT = "2026-12-01T20:00:00+09:00"
SHOP = """\
routes:
- {id: shop, uri: http://h, predicates: [Path=/shop/**], filters: [StripPrefix=1]}
- {id: orders, uri: http://h, predicates: [Path=/api/v1/orders/**]}
- {id: read-only, uri: http://h, predicates: ['Path=/news/{id}', 'Method=GET']}
- {id: moved, uri: http://h, predicates: [Path=/o/**, Method=POST], filters: ["RewritePath=/o/(?<x>.*), /v0/$\\\\{x}"]}
"""
NO_ANYTHING = SHOP.replace(", filters: [StripPrefix=1]", "")


def read(text: str) -> RouteTable:
    return parse(text.encode(), "routes.yaml", {})


def told(text: str) -> list[tuple[int, str]]:
    return [(warning.line, warning.rule) for warning in read(text).warnings]


@pytest.mark.parametrize(
    ("text", "line", "rule", "said"),
    [
        # gates
        (
            NO_ANYTHING + "gates: [{calls: [POST /api/v1/ordrs]}]",
            6,
            "gate-without-route",
            "/api/v1/orders/**",
        ),
        (
            NO_ANYTHING + "gates:\n- calls: [GET /shop/x]\n- room: a\n  calls: [GET /x]",
            9,
            "gate-without-route",
            "'GET /x'",
        ),
        (
            NO_ANYTHING + "gates: [{renews: [GET /api/v2/x]}]",
            6,
            "gate-without-route",
            "no route takes such a call",
        ),
        (NO_ANYTHING + "gates: [{calls: [POST /news/7]}]", 6, "gate-without-route", "takes only GET"),
        (NO_ANYTHING + "gates: [{calls: [GET /v0/x]}]", 6, "gate-without-route", "takes only POST"),
        (
            NO_ANYTHING + "gates: [{calls: [POST /api/v1/queue/lineup]}]",
            6,
            "gate-without-route",
            "/api/v1/queue/** itself",
        ),
        (SHOP + "gates: [{calls: [GET /shp/checkout]}]", 6, "gate-without-route", "nearest is /shop/** of"),
        (SHOP + "gates: [{room: vip}]", 6, "gate-empty", "neither calls nor renews"),
        (
            SHOP
            + "gates:\n- calls:\n  - 'GET /shop/{id:[0-9]+}'\n  - GET /shop/x\n- {room: b, calls: [GET /o/x]}",
            8,
            "gate-regex",
            "as if it had no regex",
        ),
        (
            SHOP + "gates:\n- calls: [GET /shop/**]\n- room: b\n  calls: [GET /shop/x]",
            9,
            "gate-shadowed",
            "in room default",
        ),
        (
            SHOP + "gates:\n- calls: [/shop/**]\n  renews:\n  - GET /Shop/x",
            9,
            "gate-shadowed",
            "under renews has no effect",
        ),
        (
            "routes:\n- {id: a, uri: http://h, predicates: [Path=/api/v1/reservations]}",
            2,
            "no-gates",
            "gates: []",
        ),
        (
            "routes:\n- {id: a, uri: http://h, predicates: [Path=/api/**]}",
            2,
            "no-gates",
            "gates: []",
        ),
        (
            "routes:\n- {id: a, uri: lb://reservation-service, predicates: [Path=/r/**], filters: [StripPrefix=1]}",
            2,
            "no-gates",
            "gates: []",
        ),
        (
            "routes:\n- {id: a, uri: http://h, predicates: [Path=/r/**], filters: ['RewritePath=/r/(?<x>.*), "
            "/api/v1/$\\{x}']}",
            2,
            "no-gates",
            "gates: []",
        ),
        # another notation
        (SHOP + "gates: [{calls: ['GET /shop/buy?step=2']}]", 6, "notation", "a query is not compared"),
        (SHOP + "gates: [{calls: ['GET /shop/#buy']}]", 6, "notation", "browsers send nothing of"),
        (SHOP + "gates: [{calls: ['GET /shop/.*']}]", 6, "notation", "'.*' is not read as a regex"),
        (SHOP + "gates: [{calls: ['GET /shop/[0-9]+/buy']}]", 6, "notation", "{name:regex}"),
        (
            SHOP + "gates: [{calls: ['GET /shop/<int:id>/buy']}]",
            6,
            "notation",
            "write {name} for any segment",
        ),
        (SHOP + "gates: [{calls: ['GET /shop/<id>']}]", 6, "notation", "write {name} for any segment"),
        (SHOP + "gates: [{calls: ['GET /shop/x$']}]", 6, "notation", "is not read as a regex"),
        (SHOP + "gates: [{calls: ['GET /shop/^x$']}]", 6, "notation", "is not read as a regex"),
        (SHOP + "gates: [{calls: ['GET /shop/(id)']}]", 6, "notation", "write {name} for any segment"),
        (SHOP + "gates: [{calls: ['GET /shop/$id']}]", 6, "notation", "write {name} for any segment"),
        (SHOP + "gates: [{calls: ['GET /shop/x;v=1']}]", 6, "notation", "matches only an encoded ';'"),
        (SHOP + "gates: [{calls: ['GET /shop/@id']}]", 6, "notation", "write {name} for any segment"),
        (SHOP + "gates: [{renews: ['GET /shop/(a|b)']}]", 6, "notation", "'(a|b)' is not read as a regex"),
        (SHOP + "gates: [{calls: ['GET /shop/:id/buy']}]", 6, "notation", "write {id} for any segment"),
        (SHOP + "access: {public: ['GET /shop/\\d+']}", 6, "notation", "is not read as a regex"),
        (SHOP + "- {id: late, uri: http://h, predicates: [Path=/late/.*]}", 6, "notation", "write * for"),
        # access
        (
            SHOP + "access: {public: [GET /shp/wait.html]}",
            6,
            "public-without-route",
            "/shop/** of route 'shop'",
        ),
        (
            SHOP + "access: {public: [GET /Shop/wait.html]}",
            6,
            "public-without-route",
            "no route takes such a call",
        ),
        (SHOP + "access: {public: [POST /news/1]}", 6, "public-without-route", "takes only GET"),
        (SHOP + "access: {public: [GET /health/**]}", 6, "public-without-route", "opens nothing"),
        (SHOP + "access: {public: [GET /api/v1/queue/status]}", 6, "public-own-call", "always need a token"),
        (SHOP + "access: {public: [/actuator/**]}", 6, "public-own-call", "MANAGEMENT_READS"),
        (SHOP + "access:\n  defaults: true", 7, "access", "no effect"),
        # rooms
        (
            SHOP + "gates: [{room: vpi, calls: [GET /shop/x]}]\nrooms: {vip: {capacity: 3}}",
            6,
            "room-name",
            "nearly 'vip'",
        ),
        (SHOP + "gates: [{room: defualt, calls: [GET /shop/x]}]", 6, "room-name", "nearly 'default'"),
        (
            SHOP + "gates: [{room: VIP, calls: [GET /shop/x]}]\nrooms: {vip: {capacity: 3}}",
            6,
            "room-name",
            "nearly 'vip'",
        ),
        (
            SHOP + "gates: [{room: vip, calls: [GET /shop/x]}]\nrooms: {vip: {}, vpi: {}}",
            7,
            "room-name",
            "'vpi' has no gate",
        ),
        (
            "routes:\n- {id: r, uri: http://h, predicates: [Path=/r], filters: ["
            "'RedirectTo=302, https://shop.example/api/v1/queue/stream?room=vpi']}\nrooms: {vip: {}}",
            2,
            "room-name",
            "there is no room 'vpi'",
        ),
        (SHOP + "rooms: {default: {duration: 1ms}}", 6, "room-duration", "lasts 0.001 s"),
        (
            SHOP + "rooms: {default: {bypass: [{name: all, networks: [10.0.0.0/8, 0.0.0.0/0]}]}}",
            6,
            "bypass-everyone",
            "room 'default' holds no one back",
        ),
        *(
            (
                SHOP + f"- {{id: late, uri: http://h, predicates: [Path=/late], metadata: {{{key}: 200}}}}",
                6,
                "metadata",
                f"is nearly {near!r}",
            )
            for key, near in (
                ("responseTimeout", "response-timeout"),
                ("response_timeout", "response-timeout"),
                ("connectTimeout", "connect-timeout"),
            )
        ),
        (
            SHOP + "rooms: {default: {prequeue: {from: 30m}}}",
            6,
            "room-opening",
            "has a pre-queue but no opens_at",
        ),
        (
            SHOP + f"rooms: {{default: {{opens_at: {MOMENT}, prequeue: {{from: 30m, order: draw}}}}}}",
            6,
            "room-opening",
            "the draw of room 'default' has no beacon",
        ),
        (SHOP + "rooms: {default: {duration: 240000}}", 6, "room-duration", "240000 s (2.8 days)"),
        # routes and services
        (
            SHOP + "- {id: late, uri: http://h, predicates: ['Path=/shop/{x}/y', Method=GET]}",
            6,
            "route-shadowed",
            "'shop' (line 2)",
        ),
        (
            SHOP + "- {id: late, uri: http://h, predicates: [Path=/news/7, Method=GET]}",
            6,
            "route-shadowed",
            "'read-only'",
        ),
        (
            SHOP + "- {id: own, uri: http://h, predicates: [Path=/API/v1/queue/**]}",
            6,
            "route-to-own-path",
            "/api/v1/queue/**",
        ),
        (
            SHOP + "- {id: own, uri: http://h, predicates: [Path=/metrics]}",
            6,
            "route-to-own-path",
            "/metrics/**",
        ),
        (
            SHOP + "- {id: lb, uri: 'lb://pay', predicates: [Path=/pay]}\nservices: {pya: http://h}",
            7,
            "service-without-route",
            "is 'pay'",
        ),
    ],
)
def test_a_mistake_that_spoils_a_sale_is_warned_of(text: str, line: int, rule: str, said: str) -> None:
    found = read(text).warnings
    assert [(warning.line, warning.rule) for warning in found] == [(line, rule)]
    assert said in found[0].message
    assert rule in (ROOT / "docs" / "reference" / "routes.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "more",
    [
        "",
        # by the path at the service, as sent, in another case, with a slash, in part
        "gates: [{calls: [POST /api/v1/reservations, GET /shop/checkout, POST /V0/a, /API/v1/Orders/, 'GET /{x}/7']}]",
        "gates: [{calls: [GET /orders, GET /api/v2/orders, /anything, GET /news/1, HEAD /news/1]}]",
        # Narrow before wide, the same room, another method, rooms in a series.
        "gates:\n- {room: vip, calls: [GET /shop/vip]}\n- {calls: [GET /shop/**]}",
        "gates:\n- {calls: [GET /shop/**]}\n- {calls: [GET /shop/x]}\n- {room: b, calls: [POST /shop/x]}",
        "gates:\n- {room: hall-1, calls: [GET /shop/1]}\n- {room: hall-2, calls: [/shop/2]}\nrooms: {hall-1: {}}",
        "gates: [{calls: [GET /shop/x], renews: [GET /shop/**]}]",
        "gates: []",
        "gates: [{calls: ['GET /shop/a?b', /shop/sale.*], renews: ['GET /shop/{id:[0-9]{2}}/{a:.*=?}']}]",
        # Here the regexes say which room counts.
        "gates:\n- {room: a, calls: ['/shop/{id:[0-9]+}']}\n- {room: b, calls: ['/shop/{name:[a-z]+}']}",
        "gates: [{calls: ['GET /shop/a(1.2)/x[1]/a:b', 'POST /shop/{id}:cancel', 'POST /shop/$batch']}]",
        "gates: [{calls: [GET /shop/.well-known/*.html], renews: ['/{name:(?:a|b)}/1']}]",
        "- {id: all, uri: http://h, predicates: [Path=/**]}",
        "- {id: any, uri: http://h, predicates: ['Path=/{service}/**'], filters: [StripPrefix=1]}",
        "rooms: {vip: {capacity: 3, duration: 24h}, vpi: {capacity: 300000}}",
        "rooms: {vip: {capacity: 3}, vpi: {capacity: 3}}",
        "access: {public: [GET /shop/**, 'GET /{any}/1', /**, GET /swagger-ui.html, /v3/api-docs/**]}",
        "access: {public: [POST /o/x], defaults: false}",
        "discovery: {locator: {enabled: true}}\ngates: [{calls: [GET /elsewhere]}]\nservices: {x: http://h}",
        "cors: {cors-configurations: {/other/**: {allowedOrigins: 'https://a.test'}}}",
    ],
)
def test_what_is_right_is_not_warned_of(more: str) -> None:
    assert told(SHOP + more) == []


@pytest.mark.parametrize(
    "late",
    [
        "predicates: ['Path=/shop/**,/other']",
        "predicates: [Path=/news/7]",
        "predicates: [Path=/news/7, 'Method=GET,POST']",
        "predicates: [Path=/news/]",
        "predicates: [Path=/shopping/**]",
        "predicates: [Path=/**]",
        "predicates: [Host=a.test]",
    ],
)
def test_a_route_that_some_request_reaches_is_not_shadowed(late: str) -> None:
    assert "route-shadowed" not in {rule for _, rule in told(SHOP + f"- {{id: late, uri: http://h, {late}}}")}


@pytest.mark.parametrize(
    "predicates",
    [
        "['Weight=g, 5', Path=/x/**]",
        "['Header=X-A', Path=/x/**]",
        "['Query=a', Path=/x/**]",
        "[Host=a.test, Path=/x/**]",
    ],
)
def test_a_route_with_further_conditions_shadows_only_routes_with_the_same(predicates: str) -> None:
    first = f"routes:\n- {{id: a, uri: http://h, predicates: {predicates}}}\n"
    assert told(first + "- {id: b, uri: http://h, predicates: [Path=/x/y]}") == []
    weighted = "Weight" in predicates
    assert told(first + f"- {{id: b, uri: http://h, predicates: {predicates}}}") == (
        [] if weighted else [(3, "route-shadowed")]
    )


@pytest.mark.parametrize(
    ("filters", "gated", "unmet"),
    [
        ("StripPrefix=1", "/b/x", True),
        ("StripPrefix=1", "/v1/x", False),
        ("StripPrefix=3", "/", False),
        ("StripPrefix=3", "/anything", True),
        ("PrefixPath=/p", "/p/a/v1/x", False),
        ("PrefixPath=/p", "/q/a/v1/x", True),
        ("'SetPath=/set/{x}'", "/set/7", False),
        ("'SetPath=/set/{x}'", "/get/7", True),
        ("'RewritePath=/a/v1/(?<r>.*), /z/$\\{r}'", "/z/7", False),
        ("'RewritePath=/a/v1/(?<r>.*), /z/$\\{r}'", "/y/7", True),
        ("'RewritePath=.*v1(?<r>.*), /z/$\\{r}'", "/y/7", False),
        ("'AddRequestHeader=A, b'", "/z", True),
    ],
)
def test_a_gate_may_be_met_by_the_path_at_the_service(filters: str, gated: str, unmet: bool) -> None:
    text = f"routes: [{{id: a, uri: http://h, predicates: ['Path=/a/v1/{{x}}'], filters: [{filters}]}}]\n"
    assert told(text + f"gates: [{{calls: [GET {gated}]}}]") == ([(2, "gate-without-route")] if unmet else [])


@pytest.mark.parametrize(
    ("one", "other", "all_of_it"),
    [
        ("/**", "/a/{b}/**", True),
        ("/a/**", "/a", True),
        ("/a/**", "/a/{*rest}", True),
        ("/a/**", "/**/a", False),
        ("/a/*", "/a/b", True),
        ("/a/*", "/a/{b}", True),
        ("/a/{b}", "/a/*", False),
        ("/a/{b}", "/a/", False),
        ("/a/*", "/a/**", False),
        ("/a/{b:[0-9]+}", "/a/7", True),
        ("/a/{b:[0-9]+}", "/a/x", False),
        ("/a/{b:[0-9]+}", "/a/{c}", False),
        ("/**/x", "/a/b/x", True),
        ("/**/x", "/a/b/y", False),
        ("/a/b*", "/a/bc", True),
        ("/a", "/A", False),
    ],
)
def test_one_pattern_covers_another(one: str, other: str, all_of_it: bool) -> None:
    assert covers(compile_pattern(one), compile_pattern(other)) is all_of_it


def test_the_files_that_are_shipped_and_shown_are_not_warned_of() -> None:
    assert load(default_file(), {}).warnings == ()
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    blocks = [
        block.partition("```")[0]
        for page in pages
        for block in page.read_text(encoding="utf-8").split("```yaml\n")[1:]
    ]
    shown = [block for block in blocks if block.startswith("routes:")]
    assert shown
    for block in shown:
        assert told(block) == []


def test_services_without_instances_are_told_once_with_the_nearest_name() -> None:
    routes = [
        {"id": str(at), "uri": f"lb://{name}", "predicates": [f"Path=/{at}"]}
        for at, name in enumerate(("shop", "shop", "pay", "docs"))
    ]
    text = yaml.safe_dump(
        {"routes": routes, "services": {"pay": "http://h:1", "shpo": "http://h:1", "docs": ""}}
    )
    found = without_instances(read(text))
    assert [(warning.route_id, warning.rule) for warning in found] == [
        ("0", "no-instances"),
        ("3", "no-instances"),
    ]
    assert "the nearest that has is 'shpo'" in found[0].message
    assert "NO_INSTANCE" in found[1].message


def test_a_route_that_answers_by_itself_needs_no_instance() -> None:
    text = "routes: [{id: a, uri: 'lb://a', predicates: [Path=/a], filters: ['RedirectTo=302, /b']}]"
    assert without_instances(read(text)) == ()


def test_routes_of_the_locator_are_told_as_well() -> None:
    table = read("routes: []\nservices: {shop: ''}\ndiscovery: {locator: {enabled: true}}")
    assert [warning.rule for warning in without_instances(with_discovered_routes(table, ()))] == [
        "no-instances"
    ]


@pytest.mark.parametrize(
    ("address", "circle"),
    [
        ("http://localhost:8080", True),
        ("http://127.0.0.1:8080", True),
        ("http://[::1]:8080", True),
        ("http://localhost:8081", False),
        ("http://gateway:8080", False),
    ],
)
def test_a_route_to_the_gateway_itself_is_told(address: str, circle: bool) -> None:
    fixed = read(f"routes: [{{id: a, uri: '{address}', predicates: [Path=/a]}}]")
    balanced = read(
        f"routes: [{{id: a, uri: 'lb://a', predicates: [Path=/a]}}]\nservices: {{a: '{address}'}}"
    )
    for table in (fixed, balanced):
        assert [warning.rule for warning in to_itself(table, 8080)] == ["leads-to-itself"] * circle


def test_rules_that_need_all_routes_are_rules() -> None:
    text = (ROOT / "docs" / "reference" / "routes.md").read_text(encoding="utf-8")
    assert all(f"`{rule}`" in text for rule in NEEDS_ALL_ROUTES)


@pytest.mark.parametrize("part", ["(.*", "[a", "{a:{", "?{", "[-"])
def test_a_long_pattern_is_not_looked_at_for_long(part: str) -> None:
    pattern = compile_pattern("/" + "a" * 10)
    long = dataclasses.replace(
        pattern,
        source="/" + part * 4000,
        segments=(dataclasses.replace(pattern.segments[0], text=part * 4000),),
    )
    assert least_seconds(lambda: _notation(long), 0.5) < 0.5


def test_a_large_file_is_not_looked_at_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warnings, "MAX_COMPARISONS", 150 * 40)
    routes = [{"id": f"r{at}", "uri": "http://h:1", "predicates": [f"Path=/r{at}/**"]} for at in range(150)]
    calls = [f"GET /r{at}/x" for at in range(41)]

    def cost(gated: int) -> int:
        gates = [{"calls": calls[:gated]}] if gated else []
        text = yaml.safe_dump({"routes": routes, "gates": gates}).encode()
        assert parse(text, "x", {}).warnings == ()
        return function_calls(lambda: parse(text, "x", {}))

    alone = cost(0)
    assert cost(40) < 10 * alone
    assert cost(41) < 1.5 * alone


def function_calls(act: Callable[[], object]) -> int:
    """The number of Python functions that ``act`` calls."""
    count = 0

    def on_event(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(on_event)
    try:
        act()
    finally:
        sys.setprofile(before)
    return count
