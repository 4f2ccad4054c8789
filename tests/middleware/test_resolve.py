"""Finding what answers a call: what is remembered is what would be found."""

from __future__ import annotations

from inspect import getclosurevars

from gateway.context import LiveTable, Located
from gateway.errors import RouteNotFound
from gateway.middleware.resolve import refusing
from gateway.routing.path import parse_target
from gateway.routing.spec.loader import parse
from gateway.routing.table import Match
from tests.harness import Gateways

PLAIN = b"""
routes:
  - {id: a, uri: "http://127.0.0.1:1", predicates: [Path=/a/**, Method=GET]}
  - {id: b, uri: "http://127.0.0.1:1", predicates: [Path=/b/**], filters: [RequestHeaderSize=1KB]}
  - {id: c, uri: "http://127.0.0.1:1", predicates: [Path=/c/**], filters: ["RewritePath=/c/(.*), /$1", PrefixPath=/d]}
"""


def located(live: LiveTable, target: str, route: int = 0) -> Located:
    table = live.now.table
    parsed = parse_target(target)
    return Located(
        parsed, Match(table.routes[route], {}, target, parsed.path), refusing(RouteNotFound()), None
    )


def test_a_call_is_remembered_until_the_table_changes() -> None:
    live = LiveTable(parse(PLAIN, "routes.yaml", {}))
    found = located(live, "/a/1")
    live.now.remember("GET", "/a/1", found)
    assert live.now.located == {("GET", "/a/1"): found}
    live.replace(live.now.table)
    assert live.now.located == {}


def test_only_what_path_and_method_decide_is_remembered() -> None:
    live = LiveTable(parse(PLAIN, "routes.yaml", {}))
    live.now.remember("GET", "/b/1", located(live, "/b/1", route=1))
    assert live.now.located == {}
    by_header = PLAIN.replace(b"Method=GET", b"Header=X-Beta")
    live = LiveTable(parse(PLAIN, "routes.yaml", {}))
    live.now.remember("GET", "/a/1?access_token=secret", located(live, "/a/1?access_token=secret"))
    assert live.now.located == {}
    live = LiveTable(parse(by_header, "routes.yaml", {}))
    live.now.remember("GET", "/a/1", located(live, "/a/1"))
    assert live.now.located == {}


def test_a_call_whose_path_filters_rewrite_is_remembered_too() -> None:
    live = LiveTable(parse(PLAIN, "routes.yaml", {}))
    found = located(live, "/c/1", route=2)
    live.now.remember("GET", "/c/1", found)
    assert live.now.located == {("GET", "/c/1"): found}


async def test_own_calls_that_do_not_exist_are_not_remembered(gateways: Gateways) -> None:
    gateway = await gateways.start()
    locate = gateway.gateway.public._finding[0]
    plain = getclosurevars(locate).nonlocals["plain"]
    for path in ("/actuator/health", "/actuator/health/readiness"):
        assert (await gateway.nobody("OPTIONS", path)).status == 200
    known = set(plain)
    for number in range(5):
        for method, path in (
            ("GET", f"/api/v1/queue/x{number}"),
            ("PUT", f"/actuator/health/x{number}"),
            ("OPTIONS", f"/actuator/health/x{number}"),
            ("OPTIONS", f"/api/v1/queue/x{number}"),
        ):
            assert (await gateway.nobody(method, path)).status in {200, 404, 405}
    assert set(plain) == known == {("OPTIONS", "/actuator/health"), ("OPTIONS", "/actuator/health/readiness")}


def test_what_is_remembered_is_bounded() -> None:
    live = LiveTable(parse(PLAIN, "routes.yaml", {}))
    for number in range(10_000):
        live.now.remember("GET", f"/a/{number}", located(live, f"/a/{number}"))
        assert len(live.now.located) <= 4096
    live.now.remember("GET", "/a/" + "x" * 300, located(live, "/a/" + "x" * 300))
    assert all(len(raw) < 300 for _, raw in live.now.located)


async def test_a_call_is_found_the_second_time_as_the_first(gateways: Gateways) -> None:
    gateway = await gateways.start()
    user = gateway.user("someone")
    for _ in range(3):
        assert (await user("GET", "/api/v1/products/1")).status == 200
        assert (await user("POST", "/api/v1/reservations")).code == "NOT_IN_QUEUE"
        assert (await user("POST", "/shop/reservations.json")).code == "NOT_IN_QUEUE"
        assert (await gateway.nobody("POST", "/api/v1/products/1")).status == 401
        assert (await user("GET", "/nowhere")).status == 404
        assert (await user("POST", "/api/v1/queue/lineup")).status == 200
        assert (await user("POST", "/api/v1/queue/leave")).status == 204
    assert [seen["target"] for seen in gateways.service.seen] == ["/api/v1/products/1"] * 3
    assert len(gateway.gateway.context.tables.now.located) == 4
